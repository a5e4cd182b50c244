"""Disease painted into healthy lungs, for a network that finds lungs however ill: whole lobes, effusions, the pleura.

A scan is HU on a grid; ``near`` says of each voxel which lung is nearer, ``depth`` is the millimetres below the surface
of the lungs, negative outside.  What is painted ends in the partial volume outside the lungs: no dark seam is left that
would give the lung away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]

KINDS = {"level": 0.45, "peripheral": 0.2, "blobs": 0.27, "whole": 0.08}  # and how often
SEAM = 5.0  # mm outside the lungs in which partial volume goes with what is painted
AIRWAY, WALL = -800.0, -150.0  # HU outside the lungs between which a voxel is such partial volume


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector, size: float) -> Array:
    """Return noise of about unit variance that changes over ``size`` mm, float32 of ``shape``."""
    import torch
    from torch.nn import functional

    knots = [max(2, round(n * s / size) + 1) for n, s in zip(shape, spacing, strict=True)]
    coarse = torch.from_numpy(rng.standard_normal(knots).astype(np.float32))[None, None]
    fine = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)
    return np.asarray(fine[0, 0].numpy() * np.float32(1.6))


def with_disease(
    rng: np.random.Generator, hu: Array, near: Array, depth: Array, spacing: Vector, most: int = 3
) -> Array:
    """Return ``hu`` (D, H, W) with 1 to ``most`` layers of disease in one lung or both."""
    inside = depth > 0
    result = hu.copy()
    sides = [side for side in (1, 2) if (inside & (near == side)).any()]
    if not sides:
        return result
    seam = (depth > -SEAM) & ~inside & (hu > AIRWAY) & (hu < WALL)
    reach = (inside | seam).astype(np.float32)
    for _ in range(rng.integers(1, most + 1)):
        one = np.ones_like(hu) if rng.random() < 0.4 else (near == rng.choice(sides)).astype(np.float32)
        weight = _extent(rng, inside & (one > 0), depth, spacing) * one * reach
        tissue = _tissue(rng, hu.shape, spacing)
        weight *= _strength(rng, hu.shape, spacing)
        result += weight * np.maximum(tissue - result, 0)
    return result


def _extent(rng: np.random.Generator, lung: NDArray[np.bool_], depth: Array, spacing: Vector) -> Array:
    """Return the weight in [0, 1] of one layer, wherever ``lung`` is."""
    kind, shape = rng.choice(list(KINDS), p=list(KINDS.values())), lung.shape
    if kind == "whole":
        return np.ones(shape, np.float32)
    uneven = smooth_field(rng, shape, spacing, rng.uniform(15, 60))
    if kind == "peripheral":
        field = rng.uniform(3, 25) - depth + 5 * uneven
        if rng.random() < 0.6:
            field = np.minimum(field, _level(rng, lung, spacing) + 6 * uneven)
    elif kind == "blobs":
        cut = np.quantile(uneven[lung], rng.uniform(0.3, 0.97))
        field = (uneven - cut) * rng.uniform(8, 25)
    else:
        field = _level(rng, lung, spacing) + rng.uniform(0, 12) * uneven
    return np.asarray(np.clip(field / rng.uniform(2, 12) + 0.5, 0, 1), np.float32)


def _level(rng: np.random.Generator, lung: NDArray[np.bool_], spacing: Vector) -> Array:
    """Return the mm beyond a plane that cuts a share of ``lung`` off: often its base or its back, as fluid does."""
    ways = {(-1.0, 0.6): 0.3, (-1.0, 0.0): 0.25, (0.0, 1.0): 0.2, (1.0, 0.0): 0.15, (0.0, -1.0): 0.1}
    up, back = list(ways)[rng.choice(len(ways), p=list(ways.values()))]
    normal = np.array([up, back, 0.0]) + rng.normal(0, 0.35, 3)
    normal /= np.linalg.norm(normal)
    axes = (np.arange(n, dtype=np.float32) * s * c for n, s, c in zip(lung.shape, spacing, normal, strict=True))
    z, y, x = np.ix_(*axes)
    along = (z + y + x).astype(np.float32)
    return np.asarray(along - np.quantile(along[lung], rng.uniform(0.05, 0.9)), np.float32)


def _tissue(rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector) -> Array:
    """Return HU of fluid or consolidated lung, as uneven and noisy as tissue is."""
    uneven = smooth_field(rng, shape, spacing, rng.uniform(6, 20)) * rng.uniform(0, 20)
    noise = rng.standard_normal(shape).astype(np.float32) * rng.uniform(2, 25)
    return np.asarray(rng.uniform(-10, 65) + uneven + noise, np.float32)


def _strength(rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector) -> Array | float:
    """Return how much of the air is gone: all (with air in the bronchi or not), some (ground glass), or in a net."""
    kind = rng.random()
    if kind < 0.4:
        return 1.0
    fine = smooth_field(rng, shape, spacing, rng.uniform(5, 9))
    if kind < 0.6:
        return np.asarray(1 - np.clip(fine - rng.uniform(1.0, 2.0), 0, 1), np.float32)
    if kind < 0.85:
        return np.asarray(np.clip(rng.uniform(0.15, 0.7) * (1 + 0.25 * fine), 0, 1), np.float32)
    net = np.clip(1.6 - np.abs(fine) * rng.uniform(2, 4), 0.1, 1)
    return np.asarray(net * rng.uniform(0.3, 0.9), np.float32)


def scanned(rng: np.random.Generator, hu: Array) -> Array:
    """Return ``hu`` as another scanner might have it: scale, contrast agent, slices, kernel, noise, view, range."""
    from scipy.ndimage import uniform_filter

    hu = (hu + 1000) * rng.uniform(0.93, 1.07) - 1000 + rng.normal(0, 20)
    if rng.random() < 0.4:
        hu = hu + np.maximum(hu - 30, 0) * rng.uniform(-0.5, 1.0)
    if rng.random() < 0.3:
        hu = uniform_filter(hu, (3, 1, 1) if rng.random() < 0.5 else (1, 3, 3))
    elif rng.random() < 0.2:
        hu = hu + rng.uniform(0.3, 1.0) * (hu - uniform_filter(hu, (1, 3, 3)))
    if rng.random() < 0.6:
        noise = rng.standard_normal(hu.shape).astype(np.float32)
        hu = hu + noise * rng.uniform(5, 60)
    if rng.random() < 0.4:
        hu = np.minimum(hu, rng.uniform(80, 400))
    return np.asarray(_viewed(rng, hu) if rng.random() < 0.2 else hu, np.float32)


def _viewed(rng: np.random.Generator, hu: Any) -> Any:
    """Return what a narrow circle of reconstruction shows; air around it."""
    _, h, w = hu.shape
    middle = rng.normal(0.5, 0.12, 2) * (h, w)
    y, x = np.ix_(np.arange(h) - middle[0], np.arange(w) - middle[1])
    far = np.hypot(y, x) > rng.uniform(0.4, 0.7) * max(h, w)
    return np.where(far, -1024, hu)
