"""How far the surfaces of two masks lie apart, in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["SurfaceDistances", "surface_distances", "surface_points"]


@dataclass(frozen=True)
class SurfaceDistances:
    """Distances between two surfaces, mm; nan where a mask is empty and so has no surface.

    Attributes
    ----------
    hd95 : 95th percentile of the distances from one surface to the other; the larger of the two directions
    average : mean of the distances of both directions, each surface voxel counted once (average symmetric distance)
    hausdorff : the largest of all
    """

    hd95: float
    average: float
    hausdorff: float


def surface_points(mask: Mask, spacing: Vector) -> NDArray[np.float64]:
    """Return the centres (N, 3), mm, of the voxels of ``mask`` (D, H, W) with a face on what is not of it.

    The border of the array counts as outside.
    """
    inside = np.pad(mask, 1)
    core = mask.copy()
    for axis in range(3):
        for shift in (0, 2):
            window = [slice(1, -1)] * 3
            window[axis] = slice(shift, shift + mask.shape[axis])
            core &= inside[tuple(window)]
    points: NDArray[Any] = np.argwhere(mask & ~core)
    return np.asarray(points * np.asarray(spacing, dtype=np.float64))


def surface_distances(prediction: Mask, reference: Mask, spacing: Vector) -> SurfaceDistances:
    """Return the distances between the surfaces of two masks (D, H, W) on voxels of ``spacing`` (D, H, W), mm.

    They run from each surface voxel's centre to the nearest one of the other surface, exactly; the figures are those
    of MONAI's ``compute_hausdorff_distance(percentile=95)`` and ``compute_average_surface_distance(symmetric=True)``.
    """
    from scipy.spatial import cKDTree

    if not prediction.any() or not reference.any():
        return SurfaceDistances(float("nan"), float("nan"), float("nan"))
    ours, theirs = surface_points(prediction, spacing), surface_points(reference, spacing)
    there = np.asarray(cKDTree(theirs).query(ours)[0])
    back = np.asarray(cKDTree(ours).query(theirs)[0])
    both = np.concatenate([there, back])
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return SurfaceDistances(hd95, float(both.mean()), float(both.max()))
