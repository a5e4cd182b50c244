"""Boxes of the two paintings: drawing them, their union, and fitting the hidden share under a limit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genesis3d.errors import ConfigError

__all__ = ["covered", "draw_boxes", "fit", "union"]

Boxes = tuple[NDArray[np.int32], NDArray[np.int32]]


def draw_boxes(
    rng: np.random.Generator, dims: tuple[int, ...], low: list[int], high: list[int], going: NDArray[np.bool_],
    margin: int, what: str,
) -> Boxes:  # fmt: skip
    """Return first voxel and stop, (K, 3) int32 each, of boxes of evenly drawn extent ``low`` to ``high`` and place.

    Boxes keep ``margin`` voxels from the border; where not ``going`` they are empty.  Raises ConfigError if the
    largest box and its margins do not fit ``dims``.
    """
    for axis, size, extent in zip("DHW", dims, high, strict=True):
        if extent + 2 * margin > size:
            raise ConfigError(
                f"{what}: expected at least {extent + 2 * margin} voxels along {axis} for boxes of up to {extent} with "
                f"a margin of {margin}, got {size}"
            )
    u = rng.random((2, len(going), 3))
    lowest, sizes = np.asarray(low), np.asarray(dims)
    extent = lowest + (u[0] * (np.asarray(high) - lowest + 1)).astype(np.int64)
    start = margin + (u[1] * (sizes - extent - 2 * margin + 1)).astype(np.int64)
    keep = going[:, None]
    return np.where(keep, start, 0).astype(np.int32), np.where(keep, start + extent, 0).astype(np.int32)


def union(start: NDArray[np.int32], stop: NDArray[np.int32], dims: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the mask (D, H, W) of the voxels inside any box."""
    mask = np.zeros(dims, dtype=bool)
    for (a, b, c), (d, e, f) in zip(start.tolist(), stop.tolist(), strict=True):
        mask[a:d, b:e, c:f] = True
    return mask


def covered(start: NDArray[np.int32], stop: NDArray[np.int32], dims: tuple[int, ...]) -> float:
    """Return the share of ``dims`` inside any box, exact, on the grid of the boxes' own faces."""
    faces = [np.unique(np.concatenate([start[:, axis], stop[:, axis]])) for axis in range(3)]
    first = np.stack([np.searchsorted(faces[axis], start[:, axis]) for axis in range(3)], 1)
    last = np.stack([np.searchsorted(faces[axis], stop[:, axis]) for axis in range(3)], 1)
    cells = tuple(max(len(face) - 1, 0) for face in faces)
    inside = union(first.astype(np.int32), last.astype(np.int32), cells)
    d, h, w = (np.diff(face).astype(np.float64) for face in faces)
    return float(np.einsum("dhw,d,h,w", inside.astype(np.float64), d, h, w) / math.prod(dims))


def fit(boxes: Boxes, dims: tuple[int, ...], enough: Callable[[float], bool], grow: bool) -> Boxes:
    """Return ``boxes`` scaled about their centres by one common factor, the closest to 1 at which ``enough`` holds.

    ``enough`` judges the covered share; ``grow`` says whether larger boxes satisfy it.  Faces move to whole voxels
    inside the sub-volume (outwards when growing, inwards when shrinking), so that the share moves one way only.
    """
    if enough(covered(*boxes, dims)):
        return boxes
    near, far = 1.0, 2.0 if grow else 0.0
    while not enough(covered(*(best := _scaled(boxes, far, dims)), dims)):
        near, far = far, 2 * far
    for _ in range(7):  # a face moves by less than a voxel in the last step
        middle = (near + far) / 2
        scaled = _scaled(boxes, middle, dims)
        if enough(covered(*scaled, dims)):
            best, far = scaled, middle
        else:
            near = middle
    return best


def _scaled(boxes: Boxes, factor: float, dims: tuple[int, ...]) -> Boxes:
    start, stop = (face.astype(np.float64) for face in boxes)
    middle, half = (start + stop) / 2, (stop - start) / 2 * factor
    outwards = factor > 1
    low = np.floor(middle - half) if outwards else np.ceil(middle - half)
    high = np.ceil(middle + half) if outwards else np.maximum(np.floor(middle + half), low)
    there = (stop > start).all(axis=1, keepdims=True)
    low, high = np.maximum(low, 0) * there, np.minimum(high, np.asarray(dims)) * there
    return low.astype(np.int32), high.astype(np.int32)
