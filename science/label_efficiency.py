"""The studies of labels and pre-training as results and one page.

python science/label_efficiency.py STUDIES

STUDIES holds a folder of genesis3d study for each science/studies/NAME.yaml that was run.  Writes
science/results/studies/NAME.json, docs/label-efficiency.md and its curves in docs/images.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from common import DOCS, ROOT, run_command

from genesis3d.files import write_atomic

RESULTS = ROOT / "science" / "results" / "studies"
INTRODUCTION = ROOT / "science" / "studies" / "README.md"


def section(name: str, folder: Path, docs: Path) -> str:
    """Return the report of one study as a section of the page; its curves go to ``docs``/images."""
    text = (folder / "report.md").read_text(encoding="utf-8")
    text = re.split(r"^## How to read it", text, flags=re.M)[0]

    def moved(match: re.Match[str]) -> str:
        picture = docs / "images" / f"study-{name}-{match[2]}"
        write_atomic(picture, (folder / match[2]).read_bytes())
        return f"![{match[1]}](images/{picture.name})"

    text = re.sub(r"!\[([^]]*)\]\(([^)]+)\)", moved, text)
    text = re.sub(r"^(#+) ", r"#\1 ", text, flags=re.M)
    lines = text.rstrip().splitlines()
    return "\n".join([lines[0], "", f"`science/studies/{name}.yaml`", *lines[1:], ""])


def introduction() -> str:
    """Return what stands before the reports, with the figures of science/third_of_steps.py put in."""
    text = INTRODUCTION.read_text(encoding="utf-8").rstrip()
    found = json.loads((RESULTS / "covid-lesions-third.json").read_text(encoding="utf-8"))
    for mark, name in (("THIRD_END", "at its end"), ("THIRD_SAME", "at the same step")):
        one = found[name]
        text = text.replace(mark, f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, help="folder of the studies' folders")
    parser.add_argument("--docs", type=Path, default=DOCS)
    given = parser.parse_args()
    parts = [introduction(), ""]
    for config in sorted((ROOT / "science" / "studies").glob("*.yaml")):
        folder = given.studies / config.stem
        if not (folder / "report.json").is_file():
            print(f"{config.stem}: not run")
            continue
        found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_atomic(RESULTS / f"{config.stem}.json", (json.dumps(found, indent=1) + "\n").encode())
        parts.append(section(config.stem, folder, given.docs))
    write_atomic(given.docs / "label-efficiency.md", ("\n".join(parts).rstrip() + "\n").encode())
    print(given.docs / "label-efficiency.md")


if __name__ == "__main__":
    run_command(main)
