"""Windows that stand in space rather than on a scan: a crop of the scan is seen through the same ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.inference.windows import Plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.inference.windows import Triple
    from genesis3d.volume import Geometry

__all__ = ["anchored_index", "anchored_windows"]


def anchored_index(geometry: Geometry) -> tuple[int, int, int]:
    """Return the index of voxel (0, 0, 0) of ``geometry`` on the endless grid of its directions through the origin.

    Two crops of one scan agree on it: rounded to a thousandth first, so that a half is not once up and once down.
    """
    axes = np.asarray(geometry.direction, dtype=np.float64)
    place = np.asarray(geometry.origin, dtype=np.float64) @ axes / np.asarray(geometry.spacing)
    d, h, w = (int(np.floor(round(float(p), 3) + 0.5)) for p in place)
    return d, h, w


def anchored_windows(
    geometry: Geometry, size: Triple, overlap: float, inside: NDArray[np.bool_], stride: int = 1
) -> Plan:
    """Return windows of ``size`` (D, H, W) at multiples of one step in space that cover ``inside`` (D, H, W).

    Neighbours share about ``overlap`` of a window.  The middles of the windows, as long as a step, tile the space; a
    window is taken when its middle holds a marked voxel.  It may reach past the scan.
    """
    first = anchored_index(geometry)
    steps = [max(stride, int(n * (1 - overlap)) // stride * stride) for n in size]
    margins = [(n - step) // 2 for n, step in zip(size, steps, strict=True)]
    marked = np.nonzero(inside)
    tiles = np.stack([(m + f) // step for m, f, step in zip(marked, first, steps, strict=True)])
    taken = _unique(tiles)
    starts = [
        (int(d) * steps[0] - first[0] - margins[0], int(h) * steps[1] - first[1] - margins[1],
         int(w) * steps[2] - first[2] - margins[2])
        for d, h, w in taken
    ]  # fmt: skip
    shape = geometry.shape
    box = [
        (max(0, min((s[a] for s in starts), default=0)),
         min(shape[a], max((s[a] + size[a] for s in starts), default=0)))
        for a in range(3)
    ]  # fmt: skip
    return Plan(shape, size, tuple(starts), (box[0], box[1], box[2]))


def _unique(tiles: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the different columns of ``tiles`` (3, N) as rows, in order."""
    if not tiles.size:
        return np.zeros((0, 3), np.int64)
    low = tiles.min(axis=1, keepdims=True)
    extent = (tiles - low).max(axis=1) + 1
    flat = np.unique(np.ravel_multi_index(tuple(tiles - low), tuple(extent)))
    return np.asarray(np.stack(np.unravel_index(flat, tuple(extent)), axis=1) + low.T)
