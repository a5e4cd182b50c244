"""``genesis3d segment``: a model over scans, labels into a folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Set
from genesis3d.cli.showing import settings
from genesis3d.errors import ConfigError

Scans = Annotated[list[str] | None, typer.Argument(help="scans, DICOM folders, zips, or folders of these")]
Model = Annotated[
    str | None, typer.Option(help="run directory, .safetensors model file or name of a model of the library")
]
OutDir = Annotated[str | None, typer.Option(help="folder for the results; the same command goes on where it stopped")]
Quality = Annotated[str | None, typer.Option(help="fast, balanced (default) or best")]
Format = Annotated[str | None, typer.Option(help=".nii.gz (default), .nrrd, .mha, .seg.nrrd, dicom (SEG) or .zarr")]
Mask = Annotated[str | None, typer.Option(help="only inside this mask, on the grid of the one scan")]
Box = Annotated[str | None, typer.Option(help="only inside Z0,Y0,X0,Z1,Y1,X1: first voxel and end")]
Channels = Annotated[
    str | None, typer.Option(help="ends of names of registered files that are channels of a case: _0000,_0001")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's command on ``app``."""
    app.command("segment")(segment_command)


def segment_command(
    scans: Scans = None,
    model: Model = None,
    out_dir: OutDir = None,
    quality: Quality = None,
    format: Format = None,
    mask: Mask = None,
    box: Box = None,
    channels: Channels = None,
    probabilities: Annotated[bool | None, typer.Option("--probabilities", help="also write them")] = None,
    entropy: Annotated[bool | None, typer.Option("--entropy", help="also write the uncertainty")] = None,
    largest: Annotated[bool | None, typer.Option("--largest", help="largest part of each class alone")] = None,
    fill: Annotated[bool | None, typer.Option("--fill", help="fill enclosed holes of each class")] = None,
    skip_air: Annotated[bool | None, typer.Option(help="leave out the air around the patient (default)")] = None,
    overwrite: Annotated[bool | None, typer.Option("--overwrite", help="redo what other settings made")] = None,
    device: Device = None,
    precision: Precision = None,
    config: ConfigFile = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Label SCANS with a segmentation model: one file of labels each, and a table of volumes. Not for clinical use."""
    from genesis3d.workflows.segment_settings import SegmentConfig

    given: dict[str, Any] = {"scans": scans or None, "model": model, "out_dir": out_dir, "quality": quality}
    given |= {"format": format, "mask": mask, "box": _box(box), "channels": _list(channels)}
    given |= {"probabilities": probabilities, "entropy": entropy, "largest": largest, "fill": fill}
    given |= {"skip_air": skip_air, "overwrite": overwrite, "device": device, "precision": precision}
    raise typer.Exit(_run(SegmentConfig.parse(settings(config, given, set_), "segment"), json))


def _box(text: str | None) -> list[list[int]] | None:
    if text is None:
        return None
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6:
        raise ConfigError(f"--box: expected six whole numbers Z0,Y0,X0,Z1,Y1,X1, got {text!r}")
    return [numbers[:3], numbers[3:]]


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _run(config: Any, json: bool) -> int:
    """Segment and show the events; return 1 when a case failed."""
    from genesis3d.cli.cases import run_cases
    from genesis3d.workflows.segment import segment

    return run_cases("segment", lambda control: segment(config, control), json)
