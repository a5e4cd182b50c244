"""Trachea and main bronchi: a region grown from the topmost round column of air, with a guard against leaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import dilated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["airways"]

LUMEN = (60.0, 900.0)  # mm^2 of a trachea's cross-section, with room for partial volume
MIDLINE = 35.0  # mm a trachea may lie from the middle of the body
PERSISTS = 16.0  # mm a column must go down to be a trachea
LEAK = 110.0  # mL beyond which the grown region is no airway but lung
TRACHEA = 8.0  # mL that a trachea in view has at least
WALL = 2.5  # mm of wall and partial volume taken away with the lumen


def airways(hu: NDArray[np.float32], air: Mask, body: Mask, spacing: Vector) -> Mask:
    """Return trachea and main bronchi with their walls, inside ``air``; empty when no trachea is in view.

    Parameters
    ----------
    hu : (D, H, W) in canonical order (slices from feet to head), Hounsfield units, about 2 mm
    air, body : (D, H, W) masks on the same grid
    spacing : mm along D, H, W
    """
    millilitre = float(np.prod(spacing)) / 1000
    found = np.zeros_like(air)
    for seed in _columns(air, body, spacing):
        part = _grown(hu, air, seed, LEAK / millilitre)
        found |= part
        if part.sum() * millilitre >= TRACHEA:  # what was found before it is throat
            break
    return dilated(found, spacing, WALL) & air


def _grown(hu: NDArray[np.float32], air: Mask, seed: tuple[int, int, int], most: float) -> Mask:
    """Return the largest region around ``seed`` under a falling threshold that stays below ``most`` voxels."""
    for threshold in (-870, -890, -910, -930, -950, -970):
        labels, sizes = components(air & (hu < threshold), neighbours=6)
        label = labels[seed]
        if label and sizes[label - 1] < most:
            part: Mask = labels == label
            return part
    return np.zeros_like(air)


def _columns(air: Mask, body: Mask, spacing: Vector) -> Iterator[tuple[int, int, int]]:
    """Yield a voxel in each column of round parts of air near the midline, from the head downwards."""
    need = max(2, round(PERSISTS / spacing[0]))
    chain: list[tuple[int, int, int]] = []
    for index in range(air.shape[0] - 1, -1, -1):
        centres = _round_parts(air[index], body[index], spacing)
        last = chain[-1] if chain else None
        follow = [c for c in centres if last is None or _apart(c, last[1:], spacing) < 12]
        if not follow:
            chain = [(index, *centres[0])] if centres else []
            continue
        near = last or (index, *follow[0])
        chain.append((index, *min(follow, key=lambda c: _apart(c, near[1:], spacing))))
        if len(chain) == need:
            yield chain[need // 2]


def _apart(a: tuple[int, ...], b: tuple[int, ...], spacing: Vector) -> float:
    return float(np.hypot((a[0] - b[0]) * spacing[1], (a[1] - b[1]) * spacing[2]))


def _round_parts(air: Mask, body: Mask, spacing: Vector) -> list[tuple[int, int]]:
    """Return an inner voxel (h, w) of each part of ``air`` in one slice that has the size and place of a trachea."""
    if not body.any():
        return []
    middle = float(np.median(np.nonzero(body)[1]))
    labels, sizes = components(air[None], neighbours=6)
    area = spacing[1] * spacing[2]
    found = []
    for label in range(1, len(sizes) + 1):
        if not LUMEN[0] <= sizes[label - 1] * area <= LUMEN[1]:
            continue
        h, w = np.nonzero(labels[0] == label)
        height, width = np.ptp(h) * spacing[1] + spacing[1], np.ptp(w) * spacing[2] + spacing[2]
        full = sizes[label - 1] * area / (height * width)
        off = abs(float(w.mean()) - middle) * spacing[2]
        if off <= MIDLINE and max(height, width) < 2.4 * min(height, width) and full > 0.55:
            inner = int(np.argmin((h - h.mean()) ** 2 + (w - w.mean()) ** 2))
            found.append((int(h[inner]), int(w[inner])))
    return found
