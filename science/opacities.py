"""Opacities that are put into healthy lungs: ground glass and consolidation of known extent.

An opacity is a union of rotated ellipsoids with an uneven border, more often near the pleura, that blends the lung
towards soft tissue: faintly (ground glass) or fully (consolidation).  Sub-volumes are (D, H, W) float32, HU of
[-1000, 200] as [0, 1].
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Vector = tuple[float, float, float]

LOW, SPAN = -1000.0, 1200.0  # HU at 0, and from 0 to 1
PLEURA = 8.0  # mm over which the chance of a centre falls with depth under the pleura
RADII = (5.0, 38.0)  # mm
TISSUE = (-30.0, 60.0)  # HU
AIR, DENSE = 0.01, 0.5  # a lung's voxels without its vessels: not the flattened air around the body, not tissue


def unit(hu: NDArray[Any]) -> Array:
    """Return HU of the window as [0, 1], float32."""
    return np.asarray(((hu.astype(np.float32) - LOW) / SPAN).clip(0, 1))


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector, size: float) -> Array:
    """Return noise of about unit variance that changes over ``size`` mm, float32 of ``shape``."""
    import torch
    from torch.nn import functional

    knots = [max(2, round(n * s / size) + 1) for n, s in zip(shape, spacing, strict=True)]
    coarse = torch.from_numpy(rng.standard_normal(knots).astype(np.float32))[None, None]
    fine = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)
    return np.asarray(fine[0, 0].numpy() * np.float32(1.6))


def lungs_of(x: Array) -> NDArray[np.bool_]:
    """Return where ``x`` is lung: dark, in the plane of the slices."""
    from scipy.ndimage import uniform_filter

    dark = (x > AIR) & (x < DENSE)
    return np.asarray(uniform_filter(dark.astype(np.float32), size=(1, 3, 3)) > 0.5)


def depth_in(lungs: NDArray[Any], spacing: Vector) -> Array:
    """Return the distance in mm of each voxel from where ``lungs`` end; 0 outside."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(lungs, sampling=spacing), dtype=np.float32)


def opacity(rng: np.random.Generator, lungs: Array, depth: Array, spacing: Vector) -> Array:
    """Return the weight in [0, 1] of one opacity; zero if there is no lung."""
    shape = lungs.shape
    near = np.exp(-depth / PLEURA) if rng.random() < 0.55 else np.ones(shape, np.float32)
    chance = np.cumsum((near * lungs).ravel())
    if chance[-1] <= 0:
        return np.zeros(shape, np.float32)
    index = np.unravel_index(np.searchsorted(chance, rng.random() * chance[-1]), shape)
    centre, radius = np.array(index) * spacing, np.exp(rng.uniform(*np.log(RADII)))
    inside: NDArray[Any] = np.full(shape, -9e9, np.float32)
    for _ in range(rng.integers(1, 5)):
        moved = centre + rng.normal(0, 0.6 * radius, 3) * (rng.random() > 0.3)
        inside = np.maximum(inside, _ellipsoid(rng, shape, spacing, moved, radius))
    inside += smooth_field(rng, shape, spacing, rng.uniform(8, 24)) * radius * rng.uniform(0.1, 0.35)
    edge = rng.uniform(2, 6) * (2 if rng.random() < 0.25 else 1)
    return np.asarray(np.clip(inside / edge + 0.5, 0, 1))


def _ellipsoid(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector, centre: NDArray[Any], radius: float
) -> NDArray[Any]:
    """Return the depth in mm (about) inside an ellipsoid about ``centre``."""
    radii = radius * np.exp(rng.uniform(-0.7, 0.5, 3))
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    form = turn @ np.diag(1 / radii**2) @ turn.T
    axes = (np.arange(n, dtype=np.float32) * s - c for n, s, c in zip(shape, spacing, centre, strict=True))
    z, y, x = np.ix_(*axes)
    square = form[0, 0] * z * z + form[1, 1] * y * y + form[2, 2] * x * x
    square = square + 2 * (form[0, 1] * z * y + form[0, 2] * z * x + form[1, 2] * y * x)
    return np.asarray((1 - np.sqrt(np.maximum(square, 0))) * radii.min())


def with_texture(rng: np.random.Generator, x: Array, lungs: Array, spacing: Vector) -> Array:
    """Return ``x`` with a smooth uneven density in its lungs, which is no opacity."""
    field = smooth_field(rng, x.shape, spacing, rng.uniform(6, 24))
    return np.asarray(np.clip(x + field * rng.uniform(0.05, 0.15) * lungs, 0, 1))


def with_opacities(
    rng: np.random.Generator, x: Array, lungs: Array, depth: Array, spacing: Vector, most: int = 6
) -> tuple[Array, Array]:
    """Return ``x`` with 1 to ``most`` opacities in its ``lungs`` (0 or 1), and their weight in [0, 1].

    ``depth`` is the distance in mm from where the lungs end, ``spacing`` mm along (D, H, W).
    """
    result, weight = x.copy(), np.zeros_like(x)
    soft = np.clip(depth / 4, 0, 1) if rng.random() < 0.5 else (lungs > 0).astype(np.float32)
    for _ in range(rng.integers(1, most + 1)):
        one = opacity(rng, lungs, depth, spacing) * soft
        dense = rng.random() > 0.65
        strength = rng.uniform(0.45, 1) if dense else rng.uniform(0.12, 0.45)
        tissue = (rng.uniform(*TISSUE) - LOW) / SPAN
        texture = 1 + (0.12 if dense else 0.35) * smooth_field(rng, x.shape, spacing, rng.uniform(6, 24))
        if rng.random() < 0.4:
            texture = texture + 0.2 * rng.standard_normal(x.shape).astype(np.float32) * (0.5 if dense else 1)
        result += np.clip(one * strength * texture, 0, 1) * np.maximum(tissue - result, 0)
        weight = np.maximum(weight, one)
    return result, weight
