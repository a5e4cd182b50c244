"""Commands of the group anomaly: restore a scan, map what a model could not explain."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Scan, Set
from genesis3d.cli.showing import settings, show

MODEL = Annotated[
    str, typer.Option("--model", help="run directory, .safetensors model file or name of a model of the library")
]
OVERLAP = Annotated[float | None, typer.Option(help="share of a window that the next covers again, 0 to 0.9")]
Plugin = Annotated[list[str] | None, typer.Option(help="Python file or module with a recipe of your own")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("restore")(restore_command)
    app.command("anomaly")(anomaly_command)
    app.command("recipes")(recipes_command)


def restore_command(
    scan: Scan,
    model: MODEL,
    out: Annotated[str, typer.Option("--out", help="file to write: .nii.gz, .nii, .nrrd, .mha or .mhd")],
    overlap: OVERLAP = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Restore SCAN with a model and write the result on the scan's own grid."""
    from genesis3d.workflows.restore import RestoreConfig, restore

    given = {"scan": scan, "model": model, "out": out, "overlap": overlap, "device": device, "precision": precision}
    show(restore(RestoreConfig.parse(settings(config, given, set_), "restore")), json)


def anomaly_command(
    scan: Scan,
    out_dir: Annotated[str, typer.Option("--out-dir", help="folder for the results")],
    model: Annotated[
        str | None,
        typer.Option("--model", help="run directory, .safetensors file or name of a model; the recipe hu needs none"),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="how the score is made (genesis3d recipes); its settings by --set recipe.KEY=VALUE"),
    ] = None,
    lungs: Annotated[
        str | None,
        typer.Option(help="auto, classical, network, body, none (whole scan), or a mask file on the scan's grid"),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="smallest score of a region, in the score's unit")] = None,
    overlap: OVERLAP = None,
    device: Device = None,
    precision: Precision = None,
    plugin: Plugin = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Map what is amiss in SCAN: score, regions and a report, by one of several recipes. Not for clinical use."""
    from genesis3d.registry import load_plugin
    from genesis3d.workflows.anomaly import AnomalyConfig, anomaly

    for one in plugin or []:
        load_plugin(one)
    given: dict[str, Any] = {"scan": scan, "model": model, "out_dir": out_dir, "lungs": lungs, "threshold": threshold}
    given |= {"overlap": overlap, "device": device, "precision": precision}
    if recipe is not None:
        given["recipe"] = {"name": recipe}
    show(anomaly(AnomalyConfig.parse(settings(config, given, set_), "anomaly")), json)


def recipes_command(
    name: Annotated[str | None, typer.Argument(help="one recipe, with its settings; empty: all")] = None,
) -> None:
    """Say which recipes of anomaly maps there are, what they need, and their settings."""
    from genesis3d.anomaly.base import RECIPES

    for recipe in RECIPES if name is None else [RECIPES.get(name)]:
        model = {"nothing": "no model", "restoration": "a model that restores", "opacity": "a model of opacity"}
        print(f"{recipe.name}: {(recipe.__doc__ or '').splitlines()[0]} Needs {model[recipe.needs]}.")
        for key, field in recipe.model_fields.items() if name is not None else ():
            print(f"  {key} = {field.default!r}: {field.description}")
