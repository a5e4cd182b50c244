"""Grey opening: bright structures thinner than a ball vanish, all else keeps its value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["grey_opened"]


def grey_opened(array: NDArray[Any], spacing: tuple[float, float, float], radius_mm: float) -> NDArray[np.float32]:
    """Return ``array`` (D, H, W) opened by a ball of ``radius_mm``; along thick slices the ball has no extent."""
    import SimpleITK as sitk

    radius = [int(radius_mm / s + 0.5) for s in reversed(spacing)]
    image = sitk.GetImageFromArray(np.ascontiguousarray(array, dtype=np.float32))
    opened = sitk.GrayscaleMorphologicalOpening(image, radius, sitk.sitkBall)
    return np.asarray(sitk.GetArrayFromImage(opened), dtype=np.float32)
