"""Commands around anomaly maps: many scans in one go, and two dates of a patient compared."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Set
from genesis3d.cli.showing import settings, show

Folder = Annotated[str, typer.Argument(help="folder that genesis3d anomaly wrote")]
Scans = Annotated[list[str] | None, typer.Argument(help="scans, DICOM folders, zips, or folders of these")]
OutDir = Annotated[str | None, typer.Option(help="folder for the results; the same command goes on where it stopped")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("anomaly-batch")(batch_command)
    app.command("anomaly-dates")(dates_command)


def batch_command(
    scans: Scans = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="run directory, .safetensors file or name of a model; the recipe hu needs none"),
    ] = None,
    out_dir: OutDir = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="how the score is made (genesis3d recipes); its settings by --set recipe.KEY=VALUE"),
    ] = None,
    lungs: Annotated[str | None, typer.Option(help="auto, classical, network, body or none (whole scans)")] = None,
    threshold: Annotated[float | None, typer.Option(help="smallest score of a region, in the score's unit")] = None,
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="redo what other settings made")] = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Map many SCANS: a folder with maps and report each, and a table of all of them. Not for clinical use."""
    from genesis3d.cli.cases import run_cases
    from genesis3d.workflows.anomaly_batch import AnomalyBatchConfig, anomaly_batch

    given: dict[str, Any] = {"scans": scans or None, "model": model, "out_dir": out_dir, "lungs": lungs}
    given |= {"threshold": threshold, "overwrite": overwrite, "device": device, "precision": precision}
    given["recipe"] = None if recipe is None else {"name": recipe}
    parsed = AnomalyBatchConfig.parse(settings(config, given, set_), "anomaly-batch")
    raise typer.Exit(run_cases("anomaly-batch", lambda control: anomaly_batch(parsed, control), json))


def dates_command(
    first: Folder,
    second: Folder,
    out_dir: Annotated[str, typer.Option("--out-dir", help="folder for the results")],
    motion: Annotated[str | None, typer.Option(help="affine (default) or rigid")] = None,
    first_scan: Annotated[str | None, typer.Option(help="scan of FIRST, of a map made without a model")] = None,
    second_scan: Annotated[str | None, typer.Option(help="scan of SECOND, of a map made without a model")] = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Compare the maps in FIRST and SECOND, two dates of a patient: gone, shrunk, grown, new. Not for clinical use."""
    from genesis3d.workflows.anomaly_dates_config import DatesConfig
    from genesis3d.workflows.anomaly_dates_files import compare_folders

    given = {"first": first, "second": second, "out_dir": out_dir, "motion": motion}
    given |= {"first_scan": first_scan, "second_scan": second_scan}
    show(compare_folders(DatesConfig.parse(settings(config, given, set_), "anomaly-dates")), json)
