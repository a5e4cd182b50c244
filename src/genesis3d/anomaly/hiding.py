"""Hiding parts of a scan so that a network restores them from their context alone.

What hides them is what the network was trained to see through: its card's chain of transformations says.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genesis3d.anomaly.placing import anchored_index
from genesis3d.rng import Address, uniform01

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Geometry

    Unit = NDArray[np.float32]
    Mask = NDArray[np.bool_]

__all__ = ["Fill", "block_masks", "fill_of", "filling"]

Fill = Literal["auto", "noise", "lung"]
FAR = 1 << 20  # more voxels than any scan has along an axis


def fill_of(card: ModelCard, wanted: Fill) -> Fill:
    """Return ``wanted``, and for ``auto``: noise for a model trained to see through noise, else the level of lung."""
    if wanted != "auto":
        return wanted
    return "noise" if _painted_with_noise(card.chain) else "lung"


def filling(kind: Fill, unit: Unit, inside: Mask, geometry: Geometry) -> Unit:
    """Return what hides voxels of ``unit`` (C, D, H, W) in [0, 1], of the same shape.

    ``noise`` is one number in [0, 1) for each voxel, by its place in space: a crop of a scan gets the crop.  ``lung``
    is the median inside the lungs.
    """
    if kind == "lung":
        levels = np.array([np.median(channel[inside]) if inside.any() else 0 for channel in unit], np.float32)
        return np.broadcast_to(levels[:, None, None, None], unit.shape)
    first = anchored_index(geometry)
    d, h, w = (np.arange(n, dtype=np.int64) + f + FAR // 2 for n, f in zip(unit.shape[1:], first, strict=True))
    rows = (h[:, None] * FAR + w).astype(np.uint64)
    result = np.empty(unit.shape, np.float32)
    for channel, out in enumerate(result):
        for place, plane in zip(d.tolist(), out, strict=True):
            plane[:] = uniform01(Address(0, place, channel, "sweep").key(), rows)
    return result


def block_masks(geometry: Geometry, millimetres: float) -> Iterator[Mask]:
    """Yield eight masks (D, H, W) of blocks with sides of about ``millimetres``: every voxel lies in exactly one.

    Each mask holds every second block along each axis: an eighth of the scan, all around it visible.
    """
    first = anchored_index(geometry)
    odd = []
    for n, spacing, f in zip(geometry.shape, geometry.spacing, first, strict=True):
        side = max(1, round(millimetres / spacing))
        odd.append((np.arange(n) + f) // side % 2)
    for d, h, w in product((0, 1), repeat=3):
        yield (odd[0] == d)[:, None, None] & (odd[1] == h)[None, :, None] & (odd[2] == w)[None, None, :]


def _painted_with_noise(value: Any) -> bool:
    """Whether a chain, as plain values, paints boxes with noise anywhere."""
    if isinstance(value, dict):
        painted = value.get("name") in ("inpainting", "outpainting") and value.get("fill", "noise") == "noise"
        return painted or any(_painted_with_noise(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_painted_with_noise(item) for item in value)
