"""Commands of the group anomaly: restore a scan, map what a model could not explain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genesis3d.cli.showing import settings, show

SCAN = Annotated[str, typer.Argument(help="DICOM folder, zip, NIfTI, NRRD or MetaImage file.")]
MODEL = Annotated[
    str, typer.Option("--model", help="Run directory, .safetensors model file or name of a model of the library.")
]
OVERLAP = Annotated[float | None, typer.Option(help="Share of a window that the next covers again, 0 to 0.9.")]
DEVICE = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PRECISION = Annotated[str | None, typer.Option(help="auto, 32, bf16 or 16.")]
CONFIG = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win.")]
SET = Annotated[list[str] | None, typer.Option("--set", help="One setting as KEY=VALUE; may be repeated.")]
JSON = Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("restore")(restore_command)
    app.command("anomaly")(anomaly_command)


def restore_command(
    scan: SCAN,
    model: MODEL,
    out: Annotated[str, typer.Option("--out", help="File to write: .nii.gz, .nii, .nrrd, .mha or .mhd.")],
    overlap: OVERLAP = None,
    device: DEVICE = None,
    precision: PRECISION = None,
    config: CONFIG = None,
    set_: SET = None,
    json: JSON = False,
) -> None:
    """Restore SCAN with a model and write the result on the scan's own grid."""
    from genesis3d.workflows.restore import RestoreConfig, restore

    given = {"scan": scan, "model": model, "out": out, "overlap": overlap, "device": device, "precision": precision}
    show(restore(RestoreConfig.parse(settings(config, given, set_), "restore")), json)


def anomaly_command(
    scan: SCAN,
    model: MODEL,
    out_dir: Annotated[str, typer.Option("--out-dir", help="Folder for the results.")],
    lungs: Annotated[
        str | None, typer.Option(help="auto, none (whole scan), or a mask file on the scan's grid.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Smallest score of a region, in HU for CT.")] = None,
    overlap: OVERLAP = None,
    device: DEVICE = None,
    precision: PRECISION = None,
    config: CONFIG = None,
    set_: SET = None,
    json: JSON = False,
) -> None:
    """Map what a model could not explain in SCAN: difference, score, regions and a report. Not for clinical use."""
    from genesis3d.workflows.anomaly import AnomalyConfig, anomaly

    given = {"scan": scan, "model": model, "out_dir": out_dir, "lungs": lungs, "threshold": threshold}
    given |= {"overlap": overlap, "device": device, "precision": precision}
    show(anomaly(AnomalyConfig.parse(settings(config, given, set_), "anomaly")), json)
