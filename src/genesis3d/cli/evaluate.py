"""Commands of the group evaluate: results against references."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Scan, Set
from genesis3d.cli.showing import settings, show
from genesis3d.errors import ConfigError

OUT_DIR = Annotated[str | None, typer.Option("--out-dir", help="folder for tables (CSV, JSON) and plots")]
CLASSES = Annotated[
    str | None, typer.Option(help="what is looked for, as VALUE=NAME by commas, e.g. 1=liver,2=tumour; default: found")
]


MODEL = Annotated[
    str | None, typer.Option("--model", help="model to be judged: it is applied to the scans of the first argument")
]
PART = Annotated[str | None, typer.Option(help="with a model: all, or held_out (those its data's split holds out)")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    group = typer.Typer(help="Compare results with references: figures per case and in summary.", no_args_is_help=True)
    group.command("segmentation")(segmentation_command)
    group.command("classification")(classification_command)
    group.command("anomaly")(anomaly_command)
    app.add_typer(group, name="evaluate")
    app.command("insert")(insert_command)


def segmentation_command(
    predictions: Annotated[
        str | None,
        typer.Argument(help="label file or folder of such; with --model scans, or a data set of labels, too"),
    ] = None,
    references: Annotated[str | None, typer.Argument(help="label file, or folder of files called alike")] = None,
    model: MODEL = None,
    part: PART = None,
    classes: CLASSES = None,
    out_dir: OUT_DIR = None,
    resample: Annotated[
        bool | None, typer.Option("--resample", help="put predictions on other grids onto that of the reference")
    ] = None,
    device: Device = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare segmentations with references: Dice, IoU, HD95, surface distance, volume error, by case and class."""
    from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
    from genesis3d.workflows.evaluate_table import as_text

    given: dict[str, Any] = {"out_dir": out_dir, "resample": resample, "part": part, "model": model}
    given["classes"] = None if classes is None else parsed_classes(classes)
    if model is None:
        given |= {"predictions": predictions, "references": references}
    elif predictions is not None:
        given["data"] = labelled_data(predictions, references)
    if device is not None:
        set_ = [f"segment.device={device}", *(set_ or [])]
    made = EvaluateSegmentationConfig.parse(settings(config, given, set_), "evaluate segmentation")
    result = show(evaluate_segmentation(made), json)
    if result and not json:
        print(as_text(result["summary"]))


def classification_command(
    scores: Annotated[
        str | None,
        typer.Argument(help="CSV of scores; with --model a folder of a folder a class, or a CSV with path and class"),
    ] = None,
    model: MODEL = None,
    part: PART = None,
    out_dir: OUT_DIR = None,
    threshold: Annotated[float | None, typer.Option(help="score from which on a case is of the second class")] = None,
    device: Device = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare scores with classes: AUC, average precision, accuracy, F1, sensitivity, specificity, with intervals."""
    from genesis3d.workflows.evaluate_classification import EvaluateClassificationConfig, evaluate_classification

    given: dict[str, Any] = {"out_dir": out_dir, "threshold": threshold, "device": device, "part": part, "model": model}
    if model is None:
        given["scores"] = scores
    elif scores is not None:
        given["data"] = {"folder" if Path(scores).is_dir() else "table": scores}
    made = EvaluateClassificationConfig.parse(settings(config, given, set_), "evaluate classification")
    result = show(evaluate_classification(made), json)
    if result and not json:
        for row in result["summary"]:
            interval = "" if row.get("low") is None else f"  [{row['low']:.3f}, {row['high']:.3f}]"
            value = "-" if row["value"] is None else f"{row['value']:.3f}"
            print(f"{row['class']:<20} {row['figure']:<18} {value:>8}{interval}")


def anomaly_command(
    scans: Annotated[
        str, typer.Option("--scans", help="scan, folder of scans, or a pattern such as 'DIR/case-?.nii.gz'")
    ],
    out_dir: Annotated[str, typer.Option("--out-dir", help="folder for tables and plots; done maps stay done")],
    lesions: Annotated[
        str | None, typer.Option(help="masks, folder or pattern, called as the scans; a scan without is healthy")
    ] = None,
    lungs: Annotated[str | None, typer.Option(help="lung masks, called likewise; default: found")] = None,
    excluded: Annotated[str | None, typer.Option(help="masks of voxels that count nowhere, called likewise")] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="model; may be repeated")] = None,
    recipe: Annotated[list[str] | None, typer.Option("--recipe", help="recipe; may be repeated")] = None,
    own: Annotated[
        bool | None, typer.Option("--own/--no-own", help="beside lung masks given also the lungs found")
    ] = None,
    device: Device = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare anomaly maps with lesions: every recipe beside the HU baseline, per case and mean."""
    from genesis3d.workflows.evaluate_anomaly import EvaluateAnomalyConfig, evaluate_anomaly

    given: dict[str, Any] = {"scans": scans, "out_dir": out_dir, "lesions": lesions, "lungs": lungs, "own": own}
    given |= {"excluded": excluded, "models": model, "recipes": recipe}
    if device is not None:
        set_ = [f"settings.device={device}", *(set_ or [])]
    made = EvaluateAnomalyConfig.parse(settings(config, given, set_), "evaluate anomaly")
    show(evaluate_anomaly(made), json)


def insert_command(
    scan: Scan,
    out: Annotated[str, typer.Option("--out", help="file to write: the scan with opacities")],
    mask_out: Annotated[str, typer.Option("--mask-out", help="file to write: their mask")],
    lungs: Annotated[str | None, typer.Option(help="auto (found), or a mask file on the scan's grid")] = None,
    volume_ml: Annotated[float | None, typer.Option(help="volume of all regions together in mL")] = None,
    share_percent: Annotated[float | None, typer.Option(help="in place of a volume: share of one lung in %")] = None,
    contrast: Annotated[float | None, typer.Option(help="mean change inside in HU")] = None,
    seed: Annotated[int | None, typer.Option(help="which of all possible opacities")] = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Put opacities of exactly known extent into the healthy CT SCAN, to measure anomaly maps by."""
    from genesis3d.workflows.insert import InsertConfig, insert

    given = {"scan": scan, "out": out, "mask_out": mask_out, "lungs": lungs, "volume_ml": volume_ml}
    given |= {"share_percent": share_percent, "contrast": contrast, "seed": seed}
    show(insert(InsertConfig.parse(settings(config, given, set_), "insert")), json)


def labelled_data(scans: str, labels: str | None) -> dict[str, Any]:
    """Return the setting ``data`` for scans and their labels, or for a data set that holds both."""
    if labels is not None:
        return {"images": [scans], "labels": [labels]}
    described = Path(scans).suffix == ".json" or (Path(scans) / "dataset.json").is_file()
    return {"dataset": scans} if described else {"images": [scans]}


def parsed_classes(text: str) -> list[dict[str, Any]]:
    """Return classes as plain values from ``1=liver,2=tumour`` or ``1,2``; raises ConfigError."""
    found = []
    for part in text.split(","):
        value, _, name = part.partition("=")
        if not value.strip().isdigit():
            raise ConfigError(f"--classes: expected VALUE=NAME by commas, got {part.strip()!r}")
        found.append({"value": int(value), "name": name.strip() or f"label {int(value)}"})
    return found
