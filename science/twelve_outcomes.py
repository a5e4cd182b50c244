"""What each training scheme restores: models against the twelve outcomes, on scans that none of them was trained on.

python science/twelve_outcomes.py SCAN... --runs DIR [--data DATA] [--windows 16] [--steps 400]

A scheme of Models Genesis, section 4.1, is one run in DIR, all of one configuration and length; those that are missing
are trained when DATA (folder with chest_ct/ and dicom/lidc-0001.zip) is given.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from common import CONFIG, DOCS, ROOT, run_command, trained, training_scans

from genesis3d.events import Finished, Stepped
from genesis3d.transforms import chain_preset
from genesis3d.workflows.gallery import GalleryConfig, gallery
from genesis3d.workflows.gallery_rows import INPUT
from genesis3d.workflows.gallery_table import MEAN, MEASURES, as_markdown
from genesis3d.workflows.pretrain_config import PretrainConfig

# Scheme -> chain; the combined one is that of the shipped model's configuration.
SCHEMES = {"combined": "moderate", "identity": "identity", "non-linear": "nonlinear", "shuffling": "shuffling",
           "in-painting": "inpainting", "out-painting": "outpainting"}  # fmt: skip
SHIPPED = "shipped"
Record = dict[str, Any]


def scheme_runs(folder: Path, data: Path | None, steps: int) -> dict[str, Path]:
    """Return the run of each scheme, trained first where it is missing and ``data`` is given."""
    runs = {}
    for scheme, chain in SCHEMES.items():
        config = None
        if data is not None:
            base = PretrainConfig.from_yaml(CONFIG)
            config = base.replaced(cases=training_scans(data), chain=chain_preset(chain), steps=steps)
        runs[scheme] = trained(folder / f"run-{chain}", config)
    return runs


def measured(scan: Path, models: dict[str, Path], windows: int, seed: int, precision: str) -> list[Record]:
    """Return the records of one scan."""
    given = tuple(f"{label}={path}" for label, path in models.items())
    config = GalleryConfig(scan=str(scan), models=given, windows=windows, seed=seed, precision=precision)
    for event in gallery(config):
        if isinstance(event, Stepped) and event.step % 16 == 0:
            print(f"{label_of(scan)}: {event.step} of {event.total}", flush=True)
        if isinstance(event, Finished):
            return list(event.result["table"])
    raise AssertionError("a gallery ends with Finished")


def over_scans(tables: dict[str, list[Record]]) -> list[Record]:
    """Return the means over the scans, outcome by outcome and model by model; ratios by their mean."""
    found: dict[tuple[str, str], list[Record]] = {}
    for table in tables.values():
        for record in table:
            found.setdefault((record["outcome"], record["model"]), []).append(record)
    return [
        {"outcome": outcome, "model": model} | {m: float(np.mean([r[m] for r in each])) for m in MEASURES}
        for (outcome, model), each in found.items()
    ]


def verdicts(table: list[Record]) -> list[str]:
    """Return one sentence for each of shipped and combined: whether it beats identity and every single scheme."""
    means = {record["model"]: record for record in table if record["outcome"] == MEAN}
    others = [scheme for scheme in SCHEMES if scheme != "combined"]
    said = []
    for model in (SHIPPED, "combined"):
        for measure, better in (("mse", min), ("ratio", min), ("psnr", max), ("ssim", max)):
            rival = better(others, key=lambda other: means[other][measure])
            ours, theirs = means[model][measure], means[rival][measure]
            wins = better(ours, theirs) == ours and ours != theirs
            form = MEASURES[measure][1]
            said.append(
                f"{model}, {MEASURES[measure][0]}, mean over the outcomes: {form.format(ours)} against "
                f"{form.format(theirs)} of the best single scheme ({rival}): {'better' if wins else 'not better'}"
            )
    return said


def page(result: dict[str, Any]) -> str:
    """Return the result in Markdown."""
    table, scans = result["mean"], result["scans"]
    by_scan = [
        {"outcome": scan, "model": r["model"], "ratio": r["ratio"]}
        for scan, records in result["tables"].items()
        for r in records
        if r["outcome"] == MEAN
    ]
    lines = [
        "# The twelve outcomes by training scheme",
        "",
        "A sub-volume can meet twelve outcomes (Models Genesis, Fig. 1): none or some of non-linear, local shuffling, "
        "and one of the two paintings. Each model restores the same transformed sub-volumes of scans that it was not "
        f"trained on ({', '.join(scans)}; {result['windows']} sub-volumes of 64 x 64 x 32 voxels of each, by seed "
        f"{result['seed']}). `{SHIPPED}` is genesis-chest-ct ({result['steps'][SHIPPED]} steps behind its weights); "
        "the others are one training each of the same configuration and length "
        f"({result['length']} steps), differing in the chain alone: `combined` as the shipped model, the others with "
        "one transformation or none. Of every run the weights count that were best on its own held-out sub-volumes. "
        "One of the scans (lidc-0002) served to choose them; no weights were fitted to it.",
        "",
        "```",
        f"python science/twelve_outcomes.py {' '.join(f'{s}.nii.gz' for s in scans)} --runs runs --data DATA "
        f"--windows {result['windows']} --precision {result['precision']}",
        "```",
        "",
        *(f"- {sentence}" for sentence in result["verdicts"]),
        "",
    ]
    for measure, (title, _) in MEASURES.items():
        if measure != "mse":
            lines += [f"## {title[0].upper()}{title[1:]}", "", as_markdown(table, measure), ""]
    lines += [
        "## By scan: error over the best constant's, mean over the outcomes",
        "",
        as_markdown(by_scan, "ratio"),
        "",
    ]
    lines += [
        f"`{INPUT}` is what comes in, left as it is; its PSNR has no finite value for the identity, which its mean "
        "leaves out. The full-size network (width 32) from the same configuration: not measured (needs a GPU).",
        "",
    ]
    return "\n".join(lines)


def label_of(scan: Path) -> str:
    """Return the name of a scan without its suffixes."""
    return scan.name.partition(".")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, nargs="+", help="scans that no model was trained on")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the schemes' runs")
    parser.add_argument("--shipped", default="genesis-chest-ct", help="the model that ships: name, file or run")
    parser.add_argument("--data", type=Path, help="train the runs that are missing on these scans")
    parser.add_argument("--steps", type=int, default=400, help="length of those trainings")
    parser.add_argument("--windows", type=int, default=16, help="sub-volumes of each scan")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--precision", default="32", help="32 or bf16: faster on processors that have it")
    parser.add_argument("--out", type=Path, default=ROOT / "science" / "results" / "twelve-outcomes.json")
    parser.add_argument("--page", type=Path, default=DOCS / "twelve-outcomes.md")
    given = parser.parse_args()
    from genesis3d.networks.model_file import read_card

    models = {SHIPPED: given.shipped} | scheme_runs(given.runs, given.data, given.steps)
    tables = {
        label_of(scan): measured(scan, models, given.windows, given.seed, given.precision) for scan in given.scans
    }
    mean = over_scans(tables)
    result = {
        "scans": list(tables), "windows": given.windows, "seed": given.seed, "precision": given.precision,
        "length": given.steps,
        "steps": {label: read_card(path).step for label, path in models.items()},
        "verdicts": verdicts(mean), "mean": mean, "tables": tables,
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    given.page.write_text(page(result), encoding="utf-8")
    print("\n".join([*result["verdicts"], str(given.out), str(given.page)]))


if __name__ == "__main__":
    run_command(main)
