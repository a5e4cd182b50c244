"""The last steps of a score on the scan's own grid: median, lungs, and the rim that is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.io.itk_filters.median import median
from genesis3d.io.itk_filters.morphology import bounds, eroded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["THICK", "finished", "masked", "without_rim"]

THICK = 4.0  # mm from which on a slice is not mixed with its neighbours


def finished(values: NDArray[Any], scan: Volume, lungs: Volume, smooth: int = 1) -> Volume:
    """Return the score that ``values`` make: what is above 0, after a median, inside the lungs.

    Parameters
    ----------
    values : (C, D, H, W) on the grid of ``scan``; the largest of several channels counts
    lungs : labels (1, D, H, W), above 0 inside
    smooth : radius in voxels of the median, 0 for none (a slice is not mixed with another more than 4 mm away)

    Returns
    -------
    (1, D, H, W) float32, in whole HU for CT in HU.
    """
    inside = lungs.data[0] > 0
    score = np.zeros(inside.shape, np.float32)
    if inside.any():
        box = bounds(inside, (1, 1, 1))
        part = np.maximum(values[(slice(None), *box)].max(axis=0), 0)
        if smooth:
            part = median(part, (smooth if scan.geometry.spacing[0] <= THICK else 0, smooth, smooth))
        part[~inside[box]] = 0
        score[box] = np.rint(part) if scan.unit == "HU" else part
    return scan.with_data(score, name=f"{scan.name} score", notes=())


def masked(values: NDArray[np.float32], scan: Volume, lungs: Volume, unit: str | None = None) -> Volume:
    """Return ``values`` (1, D, H, W) as a score in ``unit``, 0 outside the lungs."""
    data = np.where(lungs.data > 0, values, np.float32(0))
    return scan.with_data(data, name=f"{scan.name} score", unit=unit, notes=())


def without_rim(score: Volume, lungs: Volume, rim_mm: float) -> Volume:
    """Return ``score`` with the outermost ``rim_mm`` of the lungs 0: a voxel there is part lung and part wall."""
    if rim_mm <= 0:
        return score
    inside = lungs.data[0] > 0
    kept = eroded(inside, score.geometry.spacing, rim_mm)
    return score.with_data(np.where(kept, score.data, np.float32(0)))
