"""A coarse copy of a scan to find large organs on, and the way back to its own grid, without large temporaries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Triple = tuple[int, int, int]

__all__ = ["coarse_volume", "coarsen", "factors", "refine"]


def factors(spacing: tuple[float, float, float], target: float) -> Triple:
    """Return how many voxels to average along each axis so that ``spacing`` comes closest to ``target`` mm."""
    d, h, w = (max(1, round(target / s)) for s in spacing)
    return d, h, w


def coarsen(data: NDArray[Any], factor: Triple, low: float, high: float) -> NDArray[np.float32]:
    """Return block means of ``data`` (D, H, W) clipped to [low, high]; blocks at the far border may be partial."""
    depth, height, width = data.shape
    h, w = np.arange(0, height, factor[1]), np.arange(0, width, factor[2])
    area = np.outer(np.diff([*h, height]), np.diff([*w, width])).astype(np.float32)
    result = np.empty((-(-depth // factor[0]), len(h), len(w)), np.float32)
    for index in range(result.shape[0]):
        slab = data[index * factor[0] : (index + 1) * factor[0]].astype(np.float32)
        np.nan_to_num(slab, copy=False, nan=low)
        mean = np.clip(slab, low, high, out=slab).mean(axis=0)
        result[index] = np.add.reduceat(np.add.reduceat(mean, h, axis=0), w, axis=1) / area
    return result


def coarse_volume(volume: Volume, factor: Triple, low: float, high: float) -> Volume:
    """Return :func:`coarsen` of a volume's first channel with its geometry; blocks at the far border count as whole."""
    data, own = coarsen(volume.data[0], factor, low, high), volume.geometry
    z, y, x = (s * f for s, f in zip(own.spacing, factor, strict=True))
    s, p, left = (float(v) for v in own.to_world(tuple((f - 1) / 2 for f in factor)))
    return replace(
        volume, data=data[None], geometry=replace(own, shape=data.shape, spacing=(z, y, x), origin=(s, p, left))
    )


def refine(labels: NDArray[np.uint8], factor: Triple, shape: Triple) -> NDArray[np.uint8]:
    """Return coarse ``labels`` on the grid of ``shape`` (D, H, W): per label, linear interpolation above one half."""
    weights = [_linear(coarse, f, n) for coarse, f, n in zip(labels.shape, factor, shape, strict=True)]
    result = np.zeros(shape, np.uint8)
    for value in np.unique(labels[labels > 0]):
        part = (labels == value).astype(np.float32)
        for index, row in enumerate(weights[0]):
            near = np.flatnonzero(row)
            if not part[near].any():
                continue
            flat = np.tensordot(row[near], part[near], axes=1)
            result[index][weights[1] @ flat @ weights[2].T > 0.5] = value
    return result


def _linear(coarse: int, factor: int, fine: int) -> NDArray[np.float32]:
    """Return the (fine, coarse) matrix of linear interpolation between the centres of blocks of ``factor`` voxels."""
    where = np.clip((np.arange(fine) + 0.5) / factor - 0.5, 0, coarse - 1)
    below = np.minimum(where.astype(int), max(coarse - 2, 0))
    above = np.minimum(below + 1, coarse - 1)
    matrix = np.zeros((fine, coarse), np.float32)
    rows = np.arange(fine)
    np.add.at(matrix, (rows, below), (1 - (where - below)).astype(np.float32))
    np.add.at(matrix, (rows, above), (where - below).astype(np.float32))
    return matrix
