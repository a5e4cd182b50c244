"""A box of a scan on another grid, by one matrix an axis: averaged where that is coarser, else interpolated.

Places are millimetres along the array's own axes, from the outer side of its first voxel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Vector = tuple[float, float, float]

__all__ = ["axis_weights", "centres_of", "cut_out", "grid_over"]


def axis_weights(n: int, spacing: float, centres: NDArray[np.float64], width: float) -> tuple[slice, Array]:
    """Return a range of an axis of ``n`` voxels, and the (m, k) shares of its k voxels in m samples.

    A sample is the mean over ``width`` mm around its centre, or, where voxels are no smaller than that, interpolated
    linearly; past the border the last voxel goes on.
    """
    places = np.clip(centres, 0.5 * spacing, (n - 0.5) * spacing) / spacing
    half = max(width / spacing, 1.0) / 2
    first = max(0, int(np.floor(places.min() - half - 0.5)))
    last = min(n, int(np.ceil(places.max() + half + 0.5)) + 1)
    voxels = np.arange(first, last)
    if width > spacing:
        above = np.minimum(places[:, None] + half, voxels + 1.0)
        shares = np.maximum(above - np.maximum(places[:, None] - half, voxels), 0.0)
    else:
        shares = np.maximum(1.0 - np.abs(places[:, None] - 0.5 - voxels), 0.0)
    return slice(first, last), (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def centres_of(middle: float, count: int, spacing: float) -> NDArray[np.float64]:
    """Return the middles in mm of ``count`` samples ``spacing`` mm apart around ``middle``."""
    return np.asarray(middle + (np.arange(count) - (count - 1) / 2) * spacing, dtype=np.float64)


def grid_over(n: int, own: float, spacing: float) -> NDArray[np.float64]:
    """Return the middles in mm of samples ``spacing`` mm apart that fill an axis of ``n`` voxels of ``own`` mm."""
    return centres_of(n * own / 2, max(1, round(n * own / spacing)), spacing)


def cut_out(
    data: NDArray[Any], spacing: Vector, centres: list[NDArray[np.float64]], widths: Vector,
    unit: Callable[[NDArray[Any]], Array] | None = None,
) -> Array:  # fmt: skip
    """Return ``data`` (D, H, W) at ``centres`` (mm, an array an axis), each sample ``widths`` mm wide.

    ``unit`` maps values before they are averaged; nothing but the box that is needed is read.
    """
    axes = [axis_weights(*one) for one in zip(data.shape, spacing, centres, widths, strict=True)]
    box = np.asarray(data[tuple(part for part, _ in axes)])
    values = box.astype(np.float32) if unit is None else unit(box)
    (_, depth), (_, rows), (_, columns) = axes
    flat = depth @ values.reshape(len(values), -1)
    planes = rows @ flat.reshape(len(depth), *values.shape[1:])
    result: Array = planes @ np.ascontiguousarray(columns.T)
    return result
