"""Commands of the group evaluate: results against references."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Json, Set
from genesis3d.cli.showing import settings, show
from genesis3d.errors import ConfigError

OUT_DIR = Annotated[str | None, typer.Option("--out-dir", help="folder for tables (CSV, JSON) and plots")]
CLASSES = Annotated[
    str | None, typer.Option(help="what is looked for, as VALUE=NAME by commas, e.g. 1=liver,2=tumour; default: found")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    group = typer.Typer(help="Compare results with references: figures per case and in summary.", no_args_is_help=True)
    group.command("segmentation")(segmentation_command)
    app.add_typer(group, name="evaluate")


def segmentation_command(
    predictions: Annotated[str | None, typer.Argument(help="label file, or folder of label files")] = None,
    references: Annotated[str | None, typer.Argument(help="label file, or folder of files called alike")] = None,
    classes: CLASSES = None,
    out_dir: OUT_DIR = None,
    resample: Annotated[
        bool | None, typer.Option("--resample", help="put predictions on other grids onto that of the reference")
    ] = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare segmentations with references: Dice, IoU, HD95, surface distance, volume error, by case and class."""
    from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
    from genesis3d.workflows.evaluate_table import as_text

    given: dict[str, Any] = {"predictions": predictions, "references": references, "out_dir": out_dir}
    given |= {"resample": resample, "classes": None if classes is None else parsed_classes(classes)}
    made = EvaluateSegmentationConfig.parse(settings(config, given, set_), "evaluate segmentation")
    result = show(evaluate_segmentation(made), json)
    if result and not json:
        print(as_text(result["summary"]))


def parsed_classes(text: str) -> list[dict[str, Any]]:
    """Return classes as plain values from ``1=liver,2=tumour`` or ``1,2``; raises ConfigError."""
    found = []
    for part in text.split(","):
        value, _, name = part.partition("=")
        if not value.strip().isdigit():
            raise ConfigError(f"--classes: expected VALUE=NAME by commas, got {part.strip()!r}")
        found.append({"value": int(value), "name": name.strip() or f"label {int(value)}"})
    return found
