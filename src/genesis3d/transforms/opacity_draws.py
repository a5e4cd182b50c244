"""The small parameters of synthetic opacities, drawn on the CPU: what each is, not yet where a scan has its lungs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genesis3d.rng import Address
from genesis3d.transforms.base import Params

if TYPE_CHECKING:
    from genesis3d.transforms.opacity import Opacity

__all__ = ["CONSOLIDATION", "GROUND_GLASS", "NODULAR", "PARTS", "PLEURA", "RETICULATION", "draw_opacities"]

GROUND_GLASS, CONSOLIDATION, RETICULATION, NODULAR = range(4)
PARTS = 4  # most ellipsoids of one opacity
PLEURA = 8.0  # mm: mean depth of those that begin near the pleura
MANY = 3  # times as many nodules where they are lung-wide
BESIDE = 2  # most further opacities beside a lung-wide one


def draw_opacities(settings: Opacity, address: Address) -> Params:
    """Return the parameters of ``settings.most`` opacities (K), of which the first ``count`` are used.

    Lengths are in mm, strengths 0 (lung) to 1 (soft tissue).  A lung-wide one comes first.
    """
    rng, k = address.generator(), settings.most
    weights = np.array(settings.weights)
    pattern = rng.choice(4, k, p=weights / weights.sum())
    wide = np.zeros(k, bool)
    wide[0] = rng.random() < settings.wide
    count = rng.integers(1, k + 1)
    radius = _log_uniform(rng, settings.radius_mm, k)
    dense = pattern == CONSOLIDATION
    params = {
        "count": min(count, 1 + BESIDE) if wide[0] else count,
        "pattern": pattern, "wide": wide, "radius": radius, "key": rng.integers(0, 2**63, k),
        "strength": np.where(dense, rng.uniform(*settings.dense, k), rng.uniform(*settings.faint, k)),
        "texture": np.where(dense, rng.uniform(0.05, 0.2, k), rng.uniform(0.2, 0.45, k)),
        "mix": rng.uniform(0, 2 * np.pi, k),
        "soft_rim": rng.random() < 0.35, "noise": rng.uniform(5, 35), "within": rng.exponential(PLEURA),
        "fine": rng.uniform(3, 8), "coarse": rng.uniform(12, 24), "lump": rng.uniform(8, 24),
        "field_key": rng.integers(0, 2**63),
    }  # fmt: skip
    params |= _outlines(settings, rng, radius, pattern == RETICULATION) | _inner(settings, rng, pattern, wide)
    return {key: np.asarray(value) for key, value in params.items()}


def _outlines(
    settings: Opacity, rng: np.random.Generator, radius: NDArray[np.float64], under: NDArray[np.bool_]
) -> Params:
    """Return where opacities begin and how their outlines run; ``cut`` is mm to a fissure, infinite without one.

    Those ``under`` (K) the pleura lie there more often than others.
    """
    k = len(radius)
    offset = rng.normal(0, 0.6, (k, PARTS, 3)) * (rng.random((k, PARTS, 1)) > 0.3)
    radii = radius[:, None, None] * np.exp(rng.uniform(-0.7, 0.5, (k, PARTS, 3)))
    edge = rng.uniform(*settings.edge_mm, k) * np.where(rng.random(k) < 0.25, 2, 1)
    direction = rng.standard_normal((k, 3))
    return {
        "place": rng.random(k), "near": rng.random(k) < np.where(under, np.sqrt(settings.pleural), settings.pleural),
        "parts": rng.integers(1, PARTS + 1, k), "offset": offset * radius[:, None, None],
        "form": _forms(rng, radii), "least": radii.min(axis=2), "edge": edge,
        "lumps": rng.uniform(0.1, 0.35, k) * radius,
        "direction": direction / np.linalg.norm(direction, axis=1, keepdims=True),
        "cut": np.where(rng.random(k) < 0.3, rng.uniform(-0.2, 0.6, k) * radius, np.inf),
        "ragged": rng.uniform(0, 0.6, k) * edge, "extent": rng.uniform(*settings.extent, k),
        "drift": rng.uniform(0.5, 2.5, k),
        "peripheral": rng.random(k) < np.where(under, 0.8, 0.4), "drift_size": rng.uniform(24, 80, k),
    }  # fmt: skip


def _inner(settings: Opacity, rng: np.random.Generator, pattern: NDArray[np.int64], wide: NDArray[np.bool_]) -> Params:
    """Return what lies inside: HU, nets of septa, bronchi that stay open, nodules."""
    k = len(pattern)
    low, high = settings.nodules
    number = rng.integers(low, high + 1, k)
    drawn: dict[str, Any] = {
        "tissue": rng.uniform(*settings.tissue_hu, k),
        "period": rng.uniform(*settings.period_mm), "septum": rng.uniform(*settings.septum_mm),
        "haze": rng.uniform(0.1, 0.4, k), "septa": rng.uniform(0.3, 0.9, k),
        "core": np.where(rng.random(k) < 0.35, rng.uniform(0.2, 0.6, k), 0) * (pattern == GROUND_GLASS),
        "bronchi": (rng.random(k) < 0.5) & (pattern == CONSOLIDATION),
        "nodules": np.where(wide, MANY * number, number), "nodule_strength": rng.uniform(0.25, 1.0, k),
        "nodule_radius": np.sort(_log_uniform(rng, settings.nodule_mm, (k, 2))),
    }  # fmt: skip
    return drawn


def _log_uniform(
    rng: np.random.Generator, limits: tuple[float, float], shape: int | tuple[int, ...]
) -> NDArray[np.float64]:
    """Return lengths drawn evenly on a log scale."""
    low, high = (math.log(limit) for limit in limits)
    return np.asarray(np.exp(rng.uniform(low, high, shape)))


def _forms(rng: np.random.Generator, radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the symmetric matrices (..., 3, 3) of turned ellipsoids with ``radii`` (..., 3) in mm."""
    turn, _ = np.linalg.qr(rng.standard_normal((*radii.shape, 3)))
    return np.asarray((turn / radii[..., None, :] ** 2) @ np.swapaxes(turn, -1, -2))
