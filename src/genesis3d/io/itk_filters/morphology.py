"""Binary morphology by distance transform: balls of any radius in millimetres at a cost that does not grow with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["bounds", "closed", "dilated", "distance_to", "eroded", "fill_cavities", "fill_slices", "opened"]


def distance_to(mask: Mask, spacing: Vector) -> NDArray[np.float32]:
    """Return, for each voxel, the millimetres to the nearest voxel of ``mask`` (D, H, W); at most 0 inside it.

    Maurer, Qi, Raghavan: A linear time algorithm for computing exact Euclidean distance transforms, PAMI 2003.
    """
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    image.SetSpacing(tuple(reversed(spacing)))
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(distance), dtype=np.float32)


def dilated(mask: Mask, spacing: Vector, radius: float) -> Mask:
    """Return ``mask`` (D, H, W) grown by a ball of ``radius`` mm."""
    if not mask.any():
        return mask.copy()
    box = bounds(mask, tuple(int(radius / s) + 1 for s in spacing))
    result = np.zeros_like(mask)
    result[box] = distance_to(mask[box], spacing) <= radius
    return result


def eroded(mask: Mask, spacing: Vector, radius: float) -> Mask:
    """Return ``mask`` (D, H, W) shrunk by a ball of ``radius`` mm; the border of the array does not shrink it."""
    if mask.all() or not mask.any():
        return mask.copy()
    box = bounds(mask, (1, 1, 1))
    result = np.zeros_like(mask)
    result[box] = mask[box] if mask[box].all() else distance_to(~mask[box], spacing) > radius
    return result


def opened(mask: Mask, spacing: Vector, radius: float) -> Mask:
    """Return ``mask`` without its parts thinner than a ball of ``radius`` mm."""
    return dilated(eroded(mask, spacing, radius), spacing, radius) & mask


def closed(mask: Mask, spacing: Vector, radius: float) -> Mask:
    """Return ``mask`` with its gaps narrower than a ball of ``radius`` mm filled, as if it went on past the border."""
    if not mask.any():
        return mask.copy()
    reach = tuple(int(radius / s) + 2 for s in spacing)
    box = bounds(mask, reach)
    padded = np.pad(mask[box], [(r, r) for r in reach], mode="edge")
    grown = distance_to(padded, spacing) <= radius
    shrunk = grown if grown.all() else distance_to(~grown, spacing) > radius
    result = np.zeros_like(mask)
    inner = tuple(slice(r, n - r) for r, n in zip(reach, padded.shape, strict=True))
    result[box] = shrunk[inner] | mask[box]
    return result


def bounds(mask: Mask, margin: tuple[int, ...] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """Return the box of the true voxels of ``mask`` (D, H, W), not empty, widened by ``margin`` inside the array."""
    box = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(0, int(hit[0]) - margin[axis]), int(hit[-1]) + 1 + margin[axis]))
    return box[0], box[1], box[2]


def fill_cavities(mask: Mask) -> Mask:
    """Return ``mask`` (D, H, W) with what it encloses on all sides filled."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(mask).view(np.uint8))
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(image, False, 1)) > 0)


def fill_slices(mask: Mask, largest: int | None = None) -> Mask:
    """Return ``mask`` (D, H, W) with the holes of each axial slice filled, at most ``largest`` pixels if given.

    A hole is closed in by the mask in the slice (4 neighbours) without reaching its border.
    """
    import SimpleITK as sitk

    filled = np.empty_like(mask)
    for index, part in enumerate(np.ascontiguousarray(mask).view(np.uint8)):
        image = sitk.BinaryFillhole(sitk.GetImageFromArray(part), fullyConnected=False, foregroundValue=1)
        filled[index] = sitk.GetArrayViewFromImage(image) > 0
        holes = filled[index] & ~mask[index]
        if largest is not None and int(holes.sum()) > largest:
            parts = sitk.ConnectedComponent(sitk.GetImageFromArray(holes.view(np.uint8)), False)
            labels = sitk.GetArrayViewFromImage(parts)
            filled[index] &= ~(holes & (np.bincount(labels.reshape(-1)) > largest)[labels])
    return filled
