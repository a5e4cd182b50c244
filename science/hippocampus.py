"""Two halves of the hippocampus in MR, trained from scratch on a processor: 160 cases, tested on 40 others.

python science/hippocampus.py DATA [--threads 2]

DATA holds open/hippocampus_mr/images and labels (Medical Segmentation Decathlon, task 4).  Trains by
science/hippocampus.yaml on the split of science/hippocampus-split.json, segments the 40 cases with the last weights,
writes science/results/hippocampus.json and docs/hippocampus.md.  The 40 choose nothing: neither weights nor settings.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import DOCS, ROOT, run_command

from genesis3d.errors import RunError
from genesis3d.evaluation.segmentation import FIGURES as TITLES
from genesis3d.events import Event, Failed, Finished
from genesis3d.files import write_atomic
from genesis3d.labels import named
from genesis3d.networks.card import library_versions
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
from genesis3d.workflows.finetune import FinetuneConfig, finetune
from genesis3d.workflows.segment import SegmentConfig, segment

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = ROOT / "science" / "hippocampus.yaml"
SPLIT = ROOT / "science" / "hippocampus-split.json"
GOAL = 0.885
CLASSES = {1: "anterior", 2: "posterior"}
FIGURES = ("dice", "hd95_mm", "assd_mm")
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

    result: Record | None = None
    for event in events:
        if isinstance(event, Failed):
            raise RunError(event.message)
        if isinstance(event, Finished):
            result = dict(event.result)
        elif (event.kind != "stepped" or event.step % every == 0) and (line := plain_line(event)):
            print(line, flush=True)
    if result is None:
        raise RunError("a workflow ended without its result")
    return result


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
        classes=tuple(named(value, name) for value, name in CLASSES.items()), out_dir=str(run / "evaluation"),
    )  # fmt: skip
    return result_of(evaluate_segmentation(judged))


def gathered(config: FinetuneConfig, report: Record, found: Record) -> Record:
    """Return everything the page says, and each case's figures."""
    figures = [row for row in found["summary"] if row["figure"] in FIGURES and row["class"] in CLASSES.values()]
    dice = [row["mean"] for row in found["summary"] if row["figure"] == "dice" and row["class"] in CLASSES.values()]
    return {
        "dice": float(np.mean(dice)), "goal": GOAL, "cases": found["cases"], "failed": found["failed"],
        "minutes": report["seconds"] / 60, "steps": report["step"], "threads": config.threads,
        "hardware": report["hardware"], "processor": processor(), "parameters": report["parameters"],
        "test": {"mirror": MIRROR, "overlap": OVERLAP}, "figures": figures,
        "config": {key: value for key, value in config.to_dict().items() if key != "data"},
        "versions": library_versions(), "rows": found["rows"],
    }  # fmt: skip


def processor() -> str:
    """Return what the processor calls itself, and its cores."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{named or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def page(result: Record) -> str:
    """Return the result in Markdown."""
    config, network = result["config"], result["config"]["network"]
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
            f"| {TITLES[row['figure']]}, {row['class']} | {row['mean']:.3f} ± {row['sd']:.3f} |"
            for row in result["figures"]
        ),
        f"| training | {result['steps']:,} steps, {result['minutes']:.1f} minutes, {result['threads']} thread(s) of "
        f"{result['processor']} |",
        f"| network | unet3d, width {network['width']}, {network['norm']} norm, "
        f"{result['parameters'] / 1e6:.2f} million parameters, {result['hardware']['precision']} |",
        f"| sub-volumes | {config['batch']} a step of {' x '.join(map(str, config['sampling']['patch']))} voxels |",
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
    result = gathered(config, report, tested(given.run_dir, given.data))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(given.out, (json.dumps(result, indent=1) + "\n").encode())
    write_atomic(given.page, page(result).encode())
    print(f"mean Dice {result['dice']:.4f} in {result['minutes']:.1f} minutes; {given.out}, {given.page}")


if __name__ == "__main__":
    run_command(main)
