"""From single pictures in space to one regular grid, or a sentence why not.

Slices are sorted by the projection of their positions on the normal of their planes (DICOM PS3.3, C.7.6.2.1.1), never
by name or number.  What is repaired is said; what would be wrong in space is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.headers import DicomFile, Frame
from genesis3d.volume import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Picture", "Stack", "build_stack"]

# Two slices closer than this are at one place: positions are written with five or more decimals.
SAME_MM = 1e-3
# Directions written with six decimals and the noise of oblique planning stay below this.
PARALLEL = 2e-3
# Slices may lie off the even grid by rounding of their written positions (one decimal), no more.
ROUNDING_MM = 0.06
ROUNDING_SHARE = 0.1
SILENT_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame and the file that holds it."""

    file: DicomFile
    frame: Frame


@dataclass(frozen=True)
class Stack:
    """Pictures on a regular grid: ``volumes[channel][d]`` from the first slice to the last, and what was repaired."""

    geometry: Geometry
    volumes: tuple[tuple[Picture, ...], ...]
    notes: tuple[str, ...] = ()


def build_stack(pictures: Sequence[Picture], same: Callable[[Picture, Picture], bool]) -> Stack:
    """Return ``pictures``, all of one series, as a grid; ``same`` tells whether two of them hold the same values.

    Raises
    ------
    ScanError
        One clause (without the path) saying why the pictures are no regular grid: different sizes, no place in
        space, mixed orientations, gantry tilt, missing slices, uneven spacing, repeated positions.
    """
    pictures, notes = _without_copies(pictures)
    row, column = _axes(pictures)
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    places = np.array([p.frame.position for p in pictures], dtype=np.float64)
    height = places @ normal
    layers, doubled = _layers(pictures, height, same)
    firsts = np.array([layer[0].frame.position for layer in layers], dtype=np.float64)
    step, said = _step(firsts, normal, layers)
    spacing_rows, spacing_columns = _pixel_spacing(pictures)
    columns = np.stack([normal, column, row], axis=1)[::-1]
    geometry = Geometry(
        shape=(len(layers), pictures[0].file.rows, pictures[0].file.columns),
        spacing=(step, spacing_rows, spacing_columns),
        origin=(float(firsts[0][2]), float(firsts[0][1]), float(firsts[0][0])),
        direction=tuple(tuple(float(v) for v in line) for line in columns),  # type: ignore[arg-type]
    )
    volumes = tuple(zip(*layers, strict=True))
    return Stack(geometry, volumes, (*notes, *doubled, *said))


def _without_copies(pictures: Sequence[Picture]) -> tuple[list[Picture], tuple[str, ...]]:
    seen: dict[tuple[str, int], Picture] = {}
    for picture in pictures:
        seen.setdefault((picture.file.instance or str(picture.file.path), picture.frame.index), picture)
    kept = list(seen.values())
    copies = len(pictures) - len(kept)
    note = (f"{copies} copies of slices that are there already were left out",) if copies else ()
    sizes = {(p.file.rows, p.file.columns, p.file.samples) for p in kept}
    if len(sizes) > 1:
        several = " and ".join(sorted({f"{columns} x {rows}" for rows, columns, _ in sizes})[:3])
        raise ScanError(f"its slices differ in size ({several} pixels)")
    return kept, note


def _axes(pictures: Sequence[Picture]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if any(p.file.mosaic for p in pictures):
        raise ScanError("its slices are tiled into mosaics; export them as single slices")
    lost = sum(p.frame.position is None or p.frame.orientation is None for p in pictures)
    if lost:
        kind = pictures[0].file.kind
        count = f"{lost} of its {len(pictures)} pictures have" if len(pictures) > 1 else "it has"
        raise ScanError(f"{count} no position and orientation in space ({kind})")
    both = np.array([p.frame.orientation for p in pictures], dtype=np.float64)
    if np.abs(both - both[0]).max() > PARALLEL:
        kinds = len({tuple(np.round(o / (2 * PARALLEL)).astype(int)) for o in both})
        raise ScanError(f"its slices have mixed orientations ({max(kinds, 2)} different planes)")
    row, column = both[0][:3], both[0][3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.isfinite(both).all() or abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2:
        raise ScanError(f"its orientation is no pair of unit vectors ({both[0].tolist()})")
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > 1e-3:
        raise ScanError(f"its rows and columns are not perpendicular ({both[0].tolist()})")
    return row, column


def _pixel_spacing(pictures: Sequence[Picture]) -> tuple[float, float]:
    spacings = [p.frame.spacing for p in pictures]
    if any(s is None or not all(np.isfinite(v) and v > 0 for v in s) for s in spacings):
        raise ScanError("its pixel spacing is missing or not positive")
    values = np.array(spacings, dtype=np.float64)
    if np.abs(values / values[0] - 1).max() > 1e-4:
        raise ScanError(f"its slices differ in pixel spacing ({values.min():g} to {values.max():g} mm)")
    return float(values[0][0]), float(values[0][1])


def _layers(
    pictures: Sequence[Picture], height: NDArray[np.float64], same: Callable[[Picture, Picture], bool]
) -> tuple[list[list[Picture]], tuple[str, ...]]:
    layers: list[list[Picture]] = []
    last = -np.inf
    for index in np.argsort(height, kind="stable"):
        if height[index] - last > SAME_MM:
            layers.append([])
            last = height[index]
        layers[-1].append(pictures[index])
    if len(layers) == 1 and len(pictures) > 1:
        raise ScanError(f"its {len(pictures)} slices all lie at one position: a time series of one slice, not a volume")
    doubled: tuple[str, ...] = ()
    if len({len(layer) for layer in layers}) > 1:
        before = len(pictures)
        layers = [_distinct(layer, same) for layer in layers]
        doubled = (f"{before - sum(map(len, layers))} slices that repeat another in place and values were left out",)
    counts = [len(layer) for layer in layers]
    if min(counts) != max(counts):
        raise ScanError(
            f"slices are repeated unevenly ({len(pictures)} slices at {len(layers)} positions, "
            f"{min(counts)} to {max(counts)} at each)"
        )
    for layer in layers:
        layer.sort(key=lambda picture: picture.frame.order)
    return layers, doubled


def _distinct(layer: list[Picture], same: Callable[[Picture, Picture], bool]) -> list[Picture]:
    kept: list[Picture] = []
    for picture in layer:
        if not any(same(picture, other) for other in kept):
            kept.append(picture)
    return kept


def _step(
    firsts: NDArray[np.float64], normal: NDArray[np.float64], layers: list[list[Picture]]
) -> tuple[float, tuple[str, ...]]:
    if len(firsts) == 1:
        return _thickness(layers[0][0].file)
    height = firsts @ normal
    _require_straight(firsts, normal, layers)
    gaps = np.diff(height)
    step = float((height[-1] - height[0]) / (len(height) - 1))
    off = float(np.abs(height - (height[0] + step * np.arange(len(height)))).max())
    if off > min(ROUNDING_MM, ROUNDING_SHARE * step) and off > SILENT_SHARE * step:
        raise ScanError(_uneven(gaps))
    said = f"slice positions are off an even grid of {step:.4g} mm by up to {off:.2g} mm (rounding); taken as even"
    return step, (said,) if off > SILENT_SHARE * step else ()


def _thickness(file: DicomFile) -> tuple[float, tuple[str, ...]]:
    if file.thickness is not None and np.isfinite(file.thickness) and file.thickness > 0:
        return file.thickness, (f"a single slice; its thickness of {file.thickness:g} mm is taken as spacing",)
    return 1.0, ("a single slice of unknown thickness; 1 mm is taken as spacing",)


def _require_straight(firsts: NDArray[np.float64], normal: NDArray[np.float64], layers: list[list[Picture]]) -> None:
    way = firsts - firsts[0]
    aside = np.linalg.norm(way - np.outer(way @ normal, normal), axis=1)
    drift, length = float(aside.max()), float(np.linalg.norm(way[-1]))
    angle = float(np.degrees(np.arcsin(min(1.0, drift / length)))) if length else 0.0
    pixel = min(layers[0][0].frame.spacing or (1.0,))
    if drift > 0.5 * pixel or angle > 1.0:
        raise ScanError(
            f"its slices are shifted against each other by {drift:.1f} mm over the stack (sheared by {angle:.1f} "
            "degrees, as by a tilted gantry): no rigid grid; correct the tilt first"
        )


def _uneven(gaps: NDArray[np.float64]) -> str:
    least = float(np.median(gaps[gaps <= gaps.min() * 1.5]))
    wide = gaps[gaps > 1.5 * least]
    whole = np.abs(gaps / least - np.round(gaps / least)).max() < 0.05
    if whole and wide.size and len(gaps) - wide.size >= wide.size:
        missing = int(np.round(wide / least - 1).sum())
        slices, where = (f"{missing} slices are", "gaps of up to") if missing > 1 else ("a slice is", "a gap of")
        return f"{slices} missing ({where} {gaps.max():.4g} mm between slices {least:.4g} mm apart)"
    return f"the distance between its slices varies from {gaps.min():.4g} to {gaps.max():.4g} mm"
