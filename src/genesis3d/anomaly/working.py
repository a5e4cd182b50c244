"""The grid a recipe works on, anchored in space, and the way back to the scan's own.

Voxels stand at multiples of the spacing of the scan's own world coordinate along each axis, wherever the scan begins:
a crop of a scan gives the crop of its working grid, but for cells that its border cuts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.volume import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Vector = tuple[float, float, float]
    Box = tuple[slice, slice, slice]

__all__ = ["SPACING", "from_working", "to_working", "working_mask"]

SPACING: Vector = (6.0, 2.0, 2.0)  # mm
ALIKE = (0.25, 0.1, 0.1)  # relative difference up to which an axis keeps the scan's own voxels, unblurred
SLACK = 1e-4  # of a voxel


@dataclass(frozen=True, eq=False)
class _Axis:
    """Cells along one axis: ``weights`` (m, n) float32 of n voxels, size and first centre in mm."""

    weights: NDArray[np.float32]
    spacing: float
    first: float


def to_working(
    scan: Volume,
    spacing: Vector = SPACING,
    phase_mm: float = 0.0,
    clip: tuple[float, float] | None = None,
) -> Volume:
    """Return ``scan`` on voxels of ``spacing`` (mm along D, H, W), float32 (C, d, h, w).

    Along an axis that becomes coarser a voxel is the mean over its box, along one that becomes finer it is
    interpolated linearly; an axis whose spacing is about the wanted one keeps the scan's own voxels.

    Parameters
    ----------
    scan : canonical, any real dtype
    phase_mm : shift of the cells along D: thin slices can be averaged to thick ones at several phases
    clip : smallest and largest value taken from the scan, before averaging; voxels without a value are the smallest
    """
    grid = scan.geometry
    axes = [_axis(grid, i, spacing[i], phase_mm if i == 0 else 0.0) for i in range(3)]
    first = [(axis.first - start) / own for axis, start, own in zip(axes, _starts(grid), grid.spacing, strict=True)]
    s, p, left = (float(v) for v in grid.to_world((first[0], first[1], first[2])))
    shape, sizes = tuple(len(axis.weights) for axis in axes), tuple(axis.spacing for axis in axes)
    work = Geometry(shape, sizes, (s, p, left), grid.direction)  # type: ignore[arg-type]  # three of each
    data = np.stack([_averaged(channel, axes, clip) for channel in scan.data])
    return type(scan)(data, work, scan.modality, scan.unit, scan.name)


def working_mask(
    mask: Volume, spacing: Vector = SPACING, phase_mm: float = 0.0, share: float = 0.5
) -> NDArray[np.bool_]:
    """Return where at least ``share`` of a working voxel lies in ``mask`` (above 0), as :func:`to_working` has them."""
    inside = mask.with_data((mask.data > 0).view(np.uint8))
    found: NDArray[np.bool_] = to_working(inside, spacing, phase_mm).data[0] >= share
    return found


def from_working(volume: Volume, like: Volume, box: Box | None = None) -> NDArray[np.float32]:
    """Return ``volume`` (C, d, h, w) linearly interpolated on the grid of ``like``: (C, D, H, W) float32.

    Beyond its border its edge voxels go on; outside ``box`` (slices of ``like``), if given, it is 0.
    """
    shape = like.geometry.shape
    parts = box or (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2]))
    result = np.zeros((volume.channels, *shape), np.float32)
    depth, rows, columns = (_interpolation(volume.geometry, like.geometry, i)[parts[i]] for i in range(3))
    plane_of = _in_plane(rows, columns)
    for channel, out in zip(volume.data, result, strict=True):
        planes: dict[int, NDArray[np.float32]] = {}
        for index, weights in zip(range(*parts[0].indices(shape[0])), depth, strict=True):
            near = np.flatnonzero(weights)
            planes = {k: planes[k] if k in planes else plane_of(channel[k]) for k in near.tolist()}
            out[index][parts[1:]] = sum(weights[k] * plane for k, plane in planes.items())
    return result


def _starts(grid: Geometry) -> NDArray[np.float64]:
    """Return the world coordinate in mm of voxel (0, 0, 0) along each axis of ``grid``."""
    return np.asarray(grid.origin, dtype=np.float64) @ np.asarray(grid.direction, dtype=np.float64)


def _axis(grid: Geometry, axis: int, wanted: float, phase: float) -> _Axis:
    n, own, start = grid.shape[axis], grid.spacing[axis], float(_starts(grid)[axis])
    if abs(own / wanted - 1) <= ALIKE[axis]:
        return _Axis(np.eye(n, dtype=np.float32), own, start)
    low, high = (start - own / 2 - phase) / wanted, (start + (n - 0.5) * own - phase) / wanted
    cells = np.arange(int(np.floor(low + SLACK)), max(int(np.ceil(high - SLACK)), int(np.floor(low + SLACK)) + 1))
    centres = (cells + 0.5) * wanted + phase
    voxels = start + np.arange(n) * own
    weights = _boxes(centres, voxels, wanted, own) if own < wanted else _between((centres - start) / own, n)
    return _Axis(weights, wanted, float(centres[0]))


def _boxes(centres: NDArray[Any], voxels: NDArray[Any], cell: float, voxel: float) -> NDArray[np.float32]:
    """Return which share of each cell each voxel fills, (m, n); what lies past the scan is left out."""
    above = np.minimum(centres[:, None] + cell / 2, voxels + voxel / 2)
    below = np.maximum(centres[:, None] - cell / 2, voxels - voxel / 2)
    shared = np.maximum(above - below, 0.0)
    shared[shared < SLACK * voxel] = 0.0
    return np.asarray(shared / shared.sum(axis=1, keepdims=True), dtype=np.float32)


def _between(places: NDArray[Any], n: int) -> NDArray[np.float32]:
    """Return the (m, n) matrix of linear interpolation at fractional ``places`` (m,) among n voxels."""
    inside = np.clip(np.round(places, 9), 0, n - 1)  # voxel on voxel stays so
    below = np.minimum(inside.astype(np.int64), max(n - 2, 0))
    above = np.minimum(below + 1, n - 1)
    matrix = np.zeros((len(places), n), np.float32)
    rows = np.arange(len(places))
    np.add.at(matrix, (rows, below), (1 - (inside - below)).astype(np.float32))
    np.add.at(matrix, (rows, above), (inside - below).astype(np.float32))
    return matrix


def _interpolation(work: Geometry, scan: Geometry, axis: int) -> NDArray[np.float32]:
    start, own = _starts(scan)[axis], scan.spacing[axis]
    voxels = start + np.arange(scan.shape[axis]) * own
    return _between((voxels - _starts(work)[axis]) / work.spacing[axis], work.shape[axis])


def _averaged(data: NDArray[Any], axes: list[_Axis], clip: tuple[float, float] | None) -> NDArray[np.float32]:
    """Return ``data`` (D, H, W) in cells, slice by slice: the scan is never held in float32 as a whole."""
    depth, plane_of = axes[0].weights, _in_plane(axes[1].weights, axes[2].weights)
    result = np.empty(tuple(len(axis.weights) for axis in axes), np.float32)
    slices: dict[int, NDArray[Any]] = {}
    for index, weights in enumerate(depth):
        near = np.flatnonzero(weights).tolist()
        slices = {k: slices[k] if k in slices else plane_of(_taken(data[k], clip)) for k in near}
        result[index] = sum(weights[k] * plane for k, plane in slices.items())
    return result


def _in_plane(rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return what makes ``rows @ plane @ columns.T`` of a plane; few weights of either are not 0."""
    from scipy.sparse import csr_array

    down, across = csr_array(rows), csr_array(columns)

    def plane_of(plane: NDArray[Any]) -> NDArray[np.float32]:
        half = np.ascontiguousarray((down @ plane).T)
        return np.asarray((across @ half).T, dtype=np.float32)

    return plane_of


def _taken(plane: NDArray[Any], clip: tuple[float, float] | None) -> NDArray[np.float32]:
    values: NDArray[np.float32] = plane.astype(np.float32)
    if clip is not None:
        np.clip(values, *clip, out=values)
    np.nan_to_num(values, copy=False, nan=0.0 if clip is None else clip[0])
    return values
