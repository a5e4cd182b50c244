"""Lungs found by rules, and what a network finds dense beside them: the border of the one, the reach of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.lung_doubts import LEFT, RIGHT
from genesis3d.io.itk_filters.morphology import closed, dilated, opened
from genesis3d.io.itk_filters.tidying import filled, largest_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint8]
    Vector = tuple[float, float, float]

__all__ = ["united"]

LIKELY = 0.65  # probability of lung from which on a voxel is added: liver and muscle are often taken for likely
THIN = 4.0  # mm radius: additions thinner than such a ball are the network's coarser border, no disease
BORDER = 4.0  # mm that an addition regains of what the opening rounded off
LEAST = 3.0  # mL of an addition
GAPS = 5.0  # mm radius of the closing between lung and additions


def united(rules: Labels, probabilities: NDArray[Any], spacing: Vector) -> Labels:
    """Return the lungs of ``rules`` with the thick parts that the network takes for lung beside them.

    Parameters
    ----------
    rules : (D, H, W), 1 left, 2 right
    probabilities : (3, D, H, W) of background, left and right lung
    spacing : mm along D, H, W
    """
    likely = (probabilities[0] < 1 - LIKELY) & (rules == 0)
    labels, sizes = components(opened(likely, spacing, THIN))
    large = np.array([False, *(n * float(np.prod(spacing)) / 1000 >= LEAST for n in sizes)])
    added = dilated(large[labels], spacing, BORDER) & likely
    sides = np.where(probabilities[RIGHT] > probabilities[LEFT], RIGHT, LEFT).astype(np.uint8)
    result = np.where(rules > 0, rules, np.where(added, sides, 0)).astype(np.uint8)
    if added.any():
        for side in (LEFT, RIGHT):
            gaps = closed(result == side, spacing, GAPS) & dilated(added, spacing, 2 * GAPS)
            result[gaps & (result == 0)] = side
    return filled(largest_parts(result, (LEFT, RIGHT)), (LEFT, RIGHT))
