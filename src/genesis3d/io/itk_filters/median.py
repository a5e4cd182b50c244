"""The median of a small neighbourhood: takes out single bright voxels and thin vessels, keeps edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["median"]


def median(array: NDArray[Any], radius: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the median over ``2 radius + 1`` voxels along each axis of ``array`` (D, H, W); borders repeat."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
    return np.asarray(sitk.GetArrayFromImage(sitk.Median(image, tuple(reversed(radius)))), dtype=np.float32)
