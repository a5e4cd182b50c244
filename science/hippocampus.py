"""Two halves of the hippocampus in MR, trained from scratch on a processor: 160 cases, tested on 40 others.

python science/hippocampus.py DATA [--threads 2]

DATA holds open/hippocampus_mr/images and labels (Medical Segmentation Decathlon, task 4).  Trains by
science/hippocampus.yaml on the split of science/hippocampus-split.json, segments the 40 cases with the last weights,
writes science/results/hippocampus.json and docs/hippocampus.md.  The 40 choose nothing: neither weights nor settings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import DOCS, ROOT, run_command

from genesis3d.errors import RunError
from genesis3d.events import Event, Failed, Finished
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
from genesis3d.workflows.finetune import FinetuneConfig, finetune
from genesis3d.workflows.segment import SegmentConfig, segment

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = ROOT / "science" / "hippocampus.yaml"
SPLIT = ROOT / "science" / "hippocampus-split.json"
GOAL = 0.885
MIRROR, OVERLAP = "w", 0.5  # left and right hippocampi mirror each other
Record = dict[str, Any]


def config_for(data: Path, threads: int | None) -> FinetuneConfig:
    """Return the configuration with the paths of this machine."""
    config = FinetuneConfig.from_yaml(CONFIG)
    folder = data / "open" / "hippocampus_mr"
    split = config.data.split.replaced(file=str(SPLIT))
    target = config.data.replaced(images=(str(folder / "images"),), labels=(str(folder / "labels"),), split=split)
    return config.replaced(data=target, threads=threads or config.threads)


def result_of(events: Iterator[Event], every: int = 100) -> Record:
    """Return the result of a workflow, with a line now and then; a failure is an error."""
    from genesis3d.cli.progress import plain_line

    for event in events:
        if isinstance(event, Failed):
            raise RunError(event.message)
        if isinstance(event, Finished):
            return dict(event.result)
        if (event.kind != "stepped" or event.step % every == 0) and (line := plain_line(event)):
            print(line, flush=True)
    raise RunError("a workflow ended without its result")


def trained(run: Path, config: FinetuneConfig) -> Record:
    """Return the report of the run, trained unless it is there; one that was stopped goes on."""
    directory = RunDir(run)
    if directory.state() != "finished":
        begun = directory.begun()
        result_of(finetune(None if begun else config, run, resume=begun))
    report: Record = json.loads((run / "report.json").read_text(encoding="utf-8"))
    return report


def tested(run: Path, data: Path) -> Record:
    """Return the figures of the held-out cases, segmented whole."""
    folder, out = data / "open" / "hippocampus_mr", run / "test"
    names = json.loads(SPLIT.read_text(encoding="utf-8"))["validate"]
    scans = tuple(str(folder / "images" / f"{name}.nii.gz") for name in names)
    model = run / "checkpoints" / "last.safetensors"
    made = SegmentConfig(scans=scans, model=str(model), out_dir=str(out), mirror=MIRROR, overlap=OVERLAP,
                         skip_air=False, overwrite=True)  # fmt: skip
    result_of(segment(made))
    judged = EvaluateSegmentationConfig(
        predictions=str(out), references=str(folder / "labels"),
        classes=({"value": 1, "name": "anterior"}, {"value": 2, "name": "posterior"}), out_dir=str(run / "evaluation"),
    )  # fmt: skip
    return result_of(evaluate_segmentation(judged))


def summary(found: Record) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation of each figure by class."""
    return {f"{row['class']} {row['figure']}": {"mean": row["mean"], "sd": row["sd"]} for row in found["summary"]}


def page(result: Record) -> str:
    """Return the result in Markdown."""
    verdict = "met" if result["dice"] >= GOAL and result["minutes"] <= 60 else "missed"
    lines = [
        "# Hippocampus: a segmentation trained on a processor",
        "",
        "Anterior and posterior hippocampus in MR, Medical Segmentation Decathlon task 4 (CC BY-SA 4.0): 160 cases to "
        "train on, 40 to test (`science/hippocampus-split.json`), from scratch. The 40 choose nothing: the weights are "
        "those of the last step, averaged over the last ones, and the settings were found on 32 of the 160.",
        "",
        "```",
        "python science/hippocampus.py DATA",
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| mean Dice of 40 cases, both classes | **{result['dice']:.4f}** (aim {GOAL}: {verdict}; nnU-Net publishes "
        ".90 and .89) |",
        *(
            f"| {name} | {value['mean']:.4f} ± {value['sd']:.4f} |"
            for name, value in result["figures"].items()
            if value["mean"] is not None and value["sd"] is not None
        ),
        f"| training | {result['steps']:,} steps, {result['minutes']:.1f} minutes, {result['threads']} thread(s) of "
        f"{result['processor']} |",
        f"| network | {result['network']}, {result['parameters'] / 1e6:.2f} million parameters, {result['precision']} |",
        f"| sub-volumes | {result['batch']} a step of {' x '.join(str(n) for n in result['patch'])} voxels |",
        f"| at test | windows share {OVERLAP:.0%}, mean with the left-right mirror image |",
        "",
        "All settings: `science/hippocampus.yaml`; figures of each case: `science/results/hippocampus.json`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with open/hippocampus_mr")
    parser.add_argument("--run-dir", type=Path, default=ROOT / "runs" / "hippocampus")
    parser.add_argument("--threads", type=int, help="processor threads; default: as the configuration says")
    parser.add_argument("--out", type=Path, default=ROOT / "science" / "results" / "hippocampus.json")
    parser.add_argument("--page", type=Path, default=DOCS / "hippocampus.md")
    given = parser.parse_args()
    config = config_for(given.data, given.threads)
    report = trained(given.run_dir, config)
    print(json.dumps(report)[:2000])
    found = tested(given.run_dir, given.data)
    print(json.dumps(found)[:2000])


if __name__ == "__main__":
    run_command(main)
