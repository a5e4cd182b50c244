"""Segmentations tidied class by class: stray parts removed, holes closed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import bounds, fill_cavities

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["filled", "largest_parts"]


def largest_parts(labels: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    """Return ``labels`` (D, H, W) with only the largest connected part (26 neighbours) of each of ``values``."""
    result = labels.copy()
    for value in values:
        mask = labels == value
        if mask.any():
            box = bounds(mask)
            stray = mask[box] & (components(mask[box])[0] != 1)
            result[box][stray] = 0
    return result


def filled(labels: NDArray[Any], values: Sequence[int]) -> NDArray[Any]:
    """Return ``labels`` (D, H, W) with the background that one of ``values`` encloses on all sides given to it."""
    result = labels.copy()
    for value in values:
        mask = labels == value
        if mask.any():
            box = bounds(mask, (1, 1, 1))
            holes = fill_cavities(mask[box]) & (labels[box] == 0)
            result[box][holes] = value
    return result
