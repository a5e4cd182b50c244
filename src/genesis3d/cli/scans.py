"""``genesis3d info`` and ``genesis3d convert``: what a scan is, and the same scan in another format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from genesis3d.io import SeriesInfo
    from genesis3d.volume import Volume

Scan = Annotated[Path, typer.Argument(help="DICOM folder, zip of one, DICOM, NIfTI, NRRD, MHA or MHD file")]
Series = Annotated[str | None, typer.Option(help="series UID; without it the largest is taken")]
Channel = Annotated[int | None, typer.Option(help="which of several time points, components or colours, from 0")]

PERCENTILES = (0.5, 5, 50, 95, 99.5)
BODY_AXES = (("superior", "inferior"), ("posterior", "anterior"), ("left", "right"))


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command()(info)
    app.command()(convert)


def info(
    scan: Scan,
    series: Series = None,
    channel: Channel = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, sizes and spacings as (D, H, W)")] = False,
) -> None:
    """Say what a scan is: series, size, spacing, place, modality, values, and what was repaired or assumed."""
    from genesis3d.io import list_series, read_volume

    found = list_series(scan)
    several = _channels(found, series)
    volume = read_volume(scan, series=series, channel=0 if channel is None and several > 1 else channel)
    facts = _facts(volume)
    if channel is None and several > 1:
        facts["notes"].insert(0, f"the scan holds {several} channels; the values are those of channel 0")
    facts["series"] = [_entry(item) for item in found]
    print(json.dumps(facts, indent=2) if as_json else _text(scan, facts, found))


def convert(
    scan: Scan,
    out: Annotated[Path, typer.Argument(help="file to write: .nii.gz, .nii, .nrrd, .mha or .mhd")],
    series: Series = None,
    channel: Channel = None,
    labels: Annotated[bool, typer.Option("--labels", help="store whole numbers in the smallest type")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace OUT if it is there")] = False,
) -> None:
    """Save a scan in another format, on its own grid and with its own values."""
    from genesis3d.io import read_volume, write_volume

    if out.exists() and not overwrite:
        raise ScanError(f"{out}: is there already; give another name or --overwrite")
    volume = read_volume(scan, series=series, channel=channel)
    write_volume(volume, out, labels=labels)
    for note in volume.notes:
        print(f"note: {note}")
    print(f"{out}: {volume.geometry.describe()}, {volume.data.dtype}")


def _channels(found: list[SeriesInfo], uid: str | None) -> int:
    return next((item.channels for item in found if uid in (None, item.uid)), 1)


def _entry(item: SeriesInfo) -> dict[str, Any]:
    return {
        "uid": item.uid,
        "description": item.description,
        "modality": item.modality,
        "slices": item.slices,
        "shape": item.shape,
        "spacing": item.spacing,
        "channels": item.channels,
        "problem": item.problem,
    }


def _facts(volume: Volume) -> dict[str, Any]:
    import numpy as np

    from genesis3d.volume import obliquity_degrees

    values = volume.data[np.isfinite(volume.data)] if volume.data.dtype.kind == "f" else volume.data.reshape(-1)
    sample = values[:: max(1, values.size // 2_000_000)]
    grid = volume.geometry
    return {
        "name": volume.name,
        "shape": grid.shape,
        "spacing": grid.spacing,
        "origin": grid.origin,
        "direction": grid.direction,
        "axes": [_axis(grid.direction, axis) for axis in range(3)],
        "obliquity_degrees": obliquity_degrees(grid),
        "modality": volume.modality,
        "unit": volume.unit,
        "series_uid": volume.series,
        "dtype": str(volume.data.dtype),
        "range": [values.min().item(), values.max().item()],
        "percentiles": {str(p): float(np.percentile(sample, p)) for p in PERCENTILES},
        "notes": list(volume.notes),
    }


def _axis(direction: tuple[tuple[float, ...], ...], axis: int) -> str:
    column = [row[axis] for row in direction]
    nearest = max(range(3), key=lambda i: abs(column[i]))
    return BODY_AXES[nearest][column[nearest] < 0]


def _text(scan: Path, facts: dict[str, Any], found: list[SeriesInfo]) -> str:
    unit = f" {facts['unit']}" if facts["unit"] else ""
    low, high = facts["range"]
    lines = [
        f"{scan}",
        f"  size         {_backwards(facts['shape'], '{}')} voxels (x by y by z)",
        f"  spacing      {_backwards(facts['spacing'], '{:.6g}')} mm",
        f"  origin       {_backwards(facts['origin'], '{:.6g}', ', ')} mm (towards left, posterior, superior)",
        f"  axes         x to {facts['axes'][2]}, y to {facts['axes'][1]}, z to {facts['axes'][0]}, "
        f"oblique by {facts['obliquity_degrees']:.2f} degrees",
        *(f"  {'direction' if i == 0 else '':<12} {_backwards(row, '{:9.6f}', ' ')}" for i, row in _rows(facts)),
        f"  modality     {facts['modality'] or 'unknown'}, {facts['unit'] or 'no unit'}",
        f"  values       {facts['dtype']}, {low:g} to {high:g}{unit}",
        f"  percentiles  {', '.join(f'{p} %: {v:g}' for p, v in facts['percentiles'].items())}",
    ]
    lines += [f"  note         {note}" for note in facts["notes"]]
    lines += [f"  series       {item.label()}{f' [{item.uid}]' if item.uid else ''}" for item in found]
    return "\n".join(lines)


def _rows(facts: dict[str, Any]) -> list[tuple[int, tuple[float, ...]]]:
    return list(enumerate(reversed(facts["direction"])))


def _backwards(values: tuple[Any, ...], each: str, between: str = " x ") -> str:
    return between.join(each.format(value) for value in reversed(values))
