"""Another grid for labels: the nearest voxel's, or the class with the largest share of the new voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.io.itk_filters.resample import grid_of_spacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry, Volume

__all__ = ["labels_onto", "resampled_labels"]


def labels_onto(labels: Volume, grid: Geometry, outside: int) -> Volume:
    """Return ``labels`` (any integers) on ``grid``, each voxel that of the nearest, ``outside`` where there is none."""
    import SimpleITK as sitk

    from genesis3d.io.itk import image_from_volume, volume_from_image

    target = sitk.Image([int(n) for n in reversed(grid.shape)], sitk.sitkUInt8)
    target.SetSpacing(grid.spacing[::-1])
    target.SetOrigin(grid.origin[::-1])
    target.SetDirection(np.asarray(grid.direction, dtype=np.float64)[::-1, ::-1].ravel().tolist())
    image = image_from_volume(labels)
    moved = sitk.Resample(image, target, sitk.Transform(), sitk.sitkNearestNeighbor, float(outside))
    return type(labels)(volume_from_image(moved).data, grid, name=labels.name, source=labels.source)


def resampled_labels(indices: Volume, spacing: tuple[float, float, float], ignore: int) -> Volume:
    """Return class ``indices`` (1, D, H, W) uint8 on voxels of ``spacing`` mm, on the grid of ``resampled``.

    The class with the largest share of a new voxel wins.  Along an axis that becomes coarser its share is what it
    covers of the new voxel, along one that becomes finer its indicator is interpolated linearly.  A new voxel is
    labelled where those not ``ignore`` (unlabelled) have half of it, or of one old voxel: a slice painted alone is
    still there on a coarser grid.
    """
    grid = grid_of_spacing(indices.geometry, spacing)
    data: NDArray[np.uint8] = indices.data[0]
    ratios = np.divide(spacing, indices.geometry.spacing)
    weights = [_weights(n, m, r) for n, m, r in zip(data.shape, grid.shape, ratios, strict=True)]
    present = [int(v) for v in np.flatnonzero(np.bincount(data.ravel(), minlength=256)) if v != ignore]
    first = present[0] if present else ignore
    result = np.full(grid.shape, first, dtype=np.uint8)
    rest = np.zeros(grid.shape, dtype=np.float32)
    box, share = _share(data != ignore, weights)
    rest[box] = share
    unlabelled = rest < 0.5 / max(1.0, float(ratios.max()))
    best = np.zeros(grid.shape, dtype=np.float32)
    for value in present[1:]:
        box, share = _share(data == value, weights)
        rest[box] -= share
        wins = share > best[box]
        np.copyto(best[box], share, where=wins)
        np.copyto(result[box], np.uint8(value), where=wins)
    np.copyto(result, np.uint8(first), where=rest >= best)
    result[unlabelled] = ignore
    return type(indices)(result[None], grid, name=indices.name, source=indices.source)


def _weights(old: int, new: int, ratio: float) -> NDArray[np.float32]:
    """Return the share (new, old) that each old voxel has of each new one, centre on centre."""
    center = (old - 1) / 2 + (np.arange(new) - (new - 1) / 2) * ratio
    at = np.arange(old)
    if ratio > 1:
        low, high = center[:, None] - ratio / 2, center[:, None] + ratio / 2
        weights = np.clip(np.minimum(high, at + 0.5) - np.maximum(low, at - 0.5), 0, None)
    else:
        weights = np.clip(1 - np.abs(np.clip(center, 0, old - 1)[:, None] - at), 0, None)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _share(
    inside: NDArray[np.bool_], weights: list[NDArray[np.float32]]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """Return the part of the new grid that ``inside`` (D, H, W) reaches, and its share of the voxels there."""
    columns = np.asarray(inside.any(axis=0))
    where = [np.flatnonzero(v) for v in (inside.any(axis=(1, 2)), columns.any(axis=1), columns.any(axis=0))]
    if not where[0].size:
        return (slice(0, 0),) * 3, np.zeros((0, 0, 0), dtype=np.float32)
    reached = [np.flatnonzero(w[:, at].any(axis=1)) for w, at in zip(weights, where, strict=True)]
    box = tuple(slice(int(at[0]), int(at[-1]) + 1) for at in reached)
    down, across = weights[1][box[1]], weights[2][box[2]]
    rows, cols = (slice(int(at[0]), int(at[-1]) + 1) for at in where[1:])
    planes = np.empty((where[0].size, down.shape[0], across.shape[0]), dtype=np.float32)
    for plane, index in zip(planes, where[0], strict=True):
        np.matmul(down[:, rows] @ inside[index, rows, cols].astype(np.float32), across[:, cols].T, out=plane)
    return box, np.tensordot(weights[0][box[0]][:, where[0]], planes, axes=1)
