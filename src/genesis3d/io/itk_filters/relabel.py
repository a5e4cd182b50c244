"""Another grid for labels: the nearest voxel's, or the class with the largest share of the new voxel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.io.itk_filters.resample import resampled_onto

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


def resampled_labels(indices: Volume, grid: Geometry, ignore: int) -> Volume:
    """Return class ``indices`` (1, D, H, W) uint8 on ``grid``, which covers the same part of space.

    A class's share of a new voxel is its indicator, smoothed where the grid is coarser, interpolated linearly; the
    largest wins.  A new voxel is labelled where those not ``ignore`` (unlabelled) have half of it, or of one old
    voxel: a slice painted alone is still there on a coarser grid.
    """
    data: NDArray[np.uint8] = indices.data[0]
    present = [int(v) for v in np.flatnonzero(np.bincount(data.ravel(), minlength=256)) if v != ignore]
    best = np.zeros(grid.shape, dtype=np.float32)
    result = np.full(grid.shape, present[0] if present else ignore, dtype=np.uint8)
    labelled = _share(indices, data != ignore, grid) if (data == ignore).any() else None
    rest = np.ones(grid.shape, dtype=np.float32) if labelled is None else labelled.copy()
    for value in present[1:]:
        share = _share(indices, data == value, grid)
        rest -= share
        wins = share > best
        np.copyto(best, share, where=wins)
        np.copyto(result, np.uint8(value), where=wins)
    if present:
        np.copyto(result, np.uint8(present[0]), where=rest >= best)
    if labelled is not None:
        shrink = float(np.max(np.divide(grid.spacing, indices.geometry.spacing)))
        result[labelled < 0.5 / max(1.0, shrink)] = ignore
    return type(indices)(result[None], grid, name=indices.name, source=indices.source)


def _share(like: Volume, inside: NDArray[Any], grid: Geometry) -> NDArray[np.float32]:
    share: NDArray[np.float32] = resampled_onto(like.with_data(inside.astype(np.uint8)), grid, 0.0).data[0]
    return share
