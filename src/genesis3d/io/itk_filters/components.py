"""Connected components of a mask, largest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["components"]


def components(mask: NDArray[np.bool_], least: int = 1, neighbours: int = 26) -> tuple[NDArray[np.int32], list[int]]:
    """Label the connected parts of ``mask`` (D, H, W) that have at least ``least`` voxels.

    Returns
    -------
    labels (D, H, W) int32, 0 outside, 1 the largest part, 2 the next; and the number of voxels of each part.
    ``neighbours`` is 26 (corners touch) or 6 (faces only).
    """
    import SimpleITK as sitk

    if not mask.any():
        return np.zeros(mask.shape, np.int32), []
    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    found = sitk.ConnectedComponent(image, neighbours == 26)
    ordered = sitk.RelabelComponent(found, minimumObjectSize=least, sortByObjectSize=True)
    labels = np.asarray(sitk.GetArrayFromImage(ordered), dtype=np.int32)
    return labels, [int(n) for n in np.bincount(labels.reshape(-1))[1:]]
