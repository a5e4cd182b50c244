"""``genesis3d calibrate``: what a model's anomaly scores are on healthy scans, kept in a copy of the model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Set
from genesis3d.cli.showing import settings, show

Scans = Annotated[list[str] | None, typer.Argument(help="healthy scans, DICOM folders, zips, or folders of these")]
Model = Annotated[
    str | None, typer.Option(help="run directory, .safetensors model file or name of a model of the library")
]
Recipes = Annotated[
    list[str] | None,
    typer.Option("--recipe", help="recipe to calibrate, may be repeated; else the model's usual one, and hu for CT"),
]
Lungs = Annotated[
    str | None, typer.Option(help="auto, classical, network, body, none, or a folder of masks called as the scans")
]
Exclude = Annotated[
    str | None, typer.Option(help="folder of masks, called as the scans, of what is not healthy; or one mask")
]
Thicknesses = Annotated[
    list[float] | None, typer.Option("--thickness", help="mm that thinner slices are averaged to; may be repeated")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's command on ``app``."""
    app.command("calibrate")(calibrate_command)


def calibrate_command(
    scans: Scans = None,
    model: Model = None,
    out: Annotated[str | None, typer.Option(help="model file to write, .safetensors")] = None,
    recipe: Recipes = None,
    lungs: Lungs = None,
    exclude: Exclude = None,
    thickness: Thicknesses = None,
    leave_out_dense: Annotated[
        float | None, typer.Option(help="leave scans out with more than this percentage of dense lung")
    ] = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Measure anomaly scores on healthy SCANS and write MODEL with them, for z, p and healthy flag rates."""
    from genesis3d.workflows.calibrate import calibrate
    from genesis3d.workflows.calibrate_config import CalibrateConfig

    given: dict[str, Any] = {"scans": scans or None, "model": model, "out": out, "recipes": recipe or None}
    given |= {"lungs": lungs, "exclude": exclude, "thicknesses": thickness or None}
    given |= {"leave_out_dense": leave_out_dense, "device": device, "precision": precision}
    show(calibrate(CalibrateConfig.parse(settings(config, given, set_), "calibrate")), json)
