"""Regions that grow in a lung along the shortest ways inside it, on a coarse grid."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["FAR", "arrival", "averaged", "depth_in", "smooth_field", "stretched"]

FAR = 1000.0  # mm, beyond any lung


def averaged(field: NDArray[Any], shape: tuple[int, ...]) -> Array:
    """Return ``field`` (D, H, W) averaged onto the coarser ``shape``, float32."""
    import torch
    from torch.nn import functional

    fine = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None, None]
    return np.asarray(functional.interpolate(fine, size=tuple(shape), mode="area")[0, 0].numpy())


def stretched(field: NDArray[Any], shape: tuple[int, ...]) -> Array:
    """Return ``field`` (D, H, W) interpolated linearly onto ``shape``, its outer faces on the same place, float32."""
    import torch
    from torch.nn import functional

    coarse = torch.from_numpy(np.ascontiguousarray(field, dtype=np.float32))[None, None]
    fine = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=False)
    return np.asarray(fine[0, 0].numpy())


def smooth_field(generator: np.random.Generator, shape: tuple[int, ...], spacing: Vector, size: float) -> Array:
    """Return noise of mean 0 and standard deviation 1 that changes over about ``size`` mm, float32 of ``shape``."""
    from scipy.ndimage import gaussian_filter

    deviations = [size / (2.0 * step) for step in spacing]
    field = gaussian_filter(generator.standard_normal(shape).astype(np.float32), deviations, mode="reflect")
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), dtype=np.float32)


def arrival(inside: Mask, spacing: Vector, slowness: Array, seed: tuple[int, ...]) -> Array:
    """Return when growth from voxel ``seed`` reaches each voxel of ``inside`` (D, H, W): mm of way times slowness.

    Ways lead from a voxel to its 26 neighbours, slowed by the mean of both (Dijkstra); infinity where none leads.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import dijkstra

    number = np.full(inside.shape, -1, np.int64)
    number[inside] = np.arange(int(inside.sum()))
    rows, columns, costs = [], [], []
    for step in product((-1, 0, 1), repeat=3):
        if step <= (0, 0, 0):
            continue
        here, there = _shifted(step)
        both = inside[here] & inside[there]
        rows.append(number[here][both])
        columns.append(number[there][both])
        way = float(np.linalg.norm(np.multiply(step, spacing)))
        costs.append(way * 0.5 * (slowness[here][both] + slowness[there][both]))
    count = int(inside.sum())
    pairs = (np.concatenate(rows), np.concatenate(columns))
    graph = coo_matrix((np.concatenate(costs).astype(np.float64), pairs), shape=(count, count)).tocsr()
    times = np.full(inside.shape, np.inf, np.float32)
    times[inside] = dijkstra(graph, directed=False, indices=int(number[seed]))
    return times


def depth_in(region: Mask, rest: Mask, spacing: Vector) -> Array:
    """Return how deep in mm each voxel lies inside ``region`` towards ``rest``, negative outside of it.

    The two meet at 0; where the lung ends there is no border, so a region reaches the pleura with its full depth.
    """
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    half = 0.5 * min(spacing)
    away = distance_transform_edt(~region, sampling=spacing)
    within = distance_transform_edt(~rest, sampling=spacing) if rest.any() else np.full(region.shape, FAR)
    depth = np.where(region, within - half, half - away)
    return np.asarray(gaussian_filter(depth, 0.7), dtype=np.float32)


def _shifted(step: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    here = tuple(slice(None, -1) if move == 1 else slice(1, None) if move == -1 else slice(None) for move in step)
    there = tuple(slice(1, None) if move == 1 else slice(None, -1) if move == -1 else slice(None) for move in step)
    return here, there
