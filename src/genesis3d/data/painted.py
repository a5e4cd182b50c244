"""What the voxels that nobody painted mean: background, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["only_painted_slices", "painted_slices", "painting_axis"]


def painted_slices(painted: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Return for each axis of ``painted`` (D, H, W) which of its slices carry paint."""
    columns = np.asarray(painted.any(axis=0))
    return [np.asarray(painted.any(axis=(1, 2))), np.asarray(columns.any(axis=1)), np.asarray(columns.any(axis=0))]


def painting_axis(painted: NDArray[np.bool_], spacing: tuple[float, float, float]) -> int:
    """Return the axis across whose slices somebody painted: that with the fewest painted slices.

    Of equals it is that of the thickest slices, then the first.
    """
    counts = [int(slices.sum()) for slices in painted_slices(painted)]
    return min(range(3), key=lambda axis: (counts[axis], -spacing[axis], axis))


def only_painted_slices(indices: NDArray[np.uint8], painted: NDArray[Any], axis: int) -> NDArray[np.uint8]:
    """Return class ``indices`` (D, H, W) with 255 on every slice of ``axis`` on which nothing is ``painted``."""
    slices = painted_slices(painted)[axis]
    result = indices.copy()
    chosen: list[Any] = [slice(None)] * 3
    chosen[axis] = ~slices
    result[tuple(chosen)] = IGNORE
    return result
