"""Commands of the group anomaly: restore a scan, map what a model could not explain."""

from __future__ import annotations

from typing import Annotated

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Scan, Set
from genesis3d.cli.showing import settings, show

MODEL = Annotated[
    str, typer.Option("--model", help="run directory, .safetensors model file or name of a model of the library")
]
OVERLAP = Annotated[float | None, typer.Option(help="share of a window that the next covers again, 0 to 0.9")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("restore")(restore_command)
    app.command("anomaly")(anomaly_command)


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
    model: MODEL,
    out_dir: Annotated[str, typer.Option("--out-dir", help="folder for the results")],
    lungs: Annotated[
        str | None, typer.Option(help="auto, none (whole scan), or a mask file on the scan's grid")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="smallest score of a region, in HU for CT")] = None,
    overlap: OVERLAP = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Map what a model could not explain in SCAN: difference, score, regions and a report. Not for clinical use."""
    from genesis3d.workflows.anomaly import AnomalyConfig, anomaly

    given = {"scan": scan, "model": model, "out_dir": out_dir, "lungs": lungs, "threshold": threshold}
    given |= {"overlap": overlap, "device": device, "precision": precision}
    show(anomaly(AnomalyConfig.parse(settings(config, given, set_), "anomaly")), json)
