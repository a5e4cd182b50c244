"""Windows and their permutations expanded from keys in torch, vectorised over windows: the path of the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from genesis3d.transforms.hashing import below, hash64, key_tensor

__all__ = ["sources", "windows"]

Triple = tuple[int, int, int]


def windows(
    key: torch.Tensor, count: int, smallest: Triple, largest: Triple, dims: Triple
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return first voxel and extent, (B, count, 3), and key, (B, count), of the windows of ``key`` (B,), int64."""
    index = torch.arange(count, device=key.device)
    wkeys = hash64(key[:, None], index[None])
    bits = [hash64(wkeys, torch.full_like(wkeys, k)) for k in range(3)]
    words = [(bits[0], True), (bits[0], False), (bits[1], True), (bits[1], False), (bits[2], True), (bits[2], False)]
    extents, starts = [], []
    for axis in range(3):
        word, upper = words[axis]
        extents.append(below(word, largest[axis] - smallest[axis] + 1, upper) + smallest[axis])
    for axis in range(3):
        word, upper = words[3 + axis]
        starts.append(below(word, dims[axis] + 1 - extents[axis], upper))
    return torch.stack(starts, -1), torch.stack(extents, -1), wkeys


def _orders(wkeys: torch.Tensor, sizes: torch.Tensor, most: int, stream: int) -> torch.Tensor:
    """Fisher-Yates orders (N, most) of 0..sizes-1, one row a window; what lies beyond a row's size stays in place."""
    device = wkeys.device
    steps = torch.arange((most + 1) // 2, device=device)
    bits = hash64(wkeys[:, None], steps[None] + stream)
    items = torch.arange(most, device=device).expand(len(wkeys), most).contiguous()
    for j in range(most - 1, 0, -1):
        other = below(bits[:, j >> 1], j + 1, upper=bool(j & 1))
        other = torch.where(sizes > j, other, j)[:, None]
        moved = items.gather(1, other)
        items.scatter_(1, other, items[:, j : j + 1].clone())
        items[:, j : j + 1] = moved
    return items


def _linear(place: torch.Tensor, extent: torch.Tensor, start: torch.Tensor, dims: Triple) -> torch.Tensor:
    """Index in the sub-volume of ``place``, the index inside its window."""
    _, h, w = (extent[:, axis, None] for axis in range(3))
    d0, h0, w0 = (start[:, axis, None] for axis in range(3))
    rows = torch.div(place, w, rounding_mode="floor")
    planes = torch.div(rows, h, rounding_mode="floor")
    return ((d0 + planes) * dims[1] + h0 + rows - planes * h) * dims[2] + w0 + place - rows * w


def _taken(
    place: torch.Tensor, extent: torch.Tensor, wkeys: torch.Tensor, largest: Triple, separable: bool
) -> torch.Tensor:
    """Place inside its window from which each ``place`` takes its value."""
    sizes = extent.prod(1)
    if not separable:
        return _orders(wkeys, sizes, place.shape[1], 3)
    inside = place.minimum(sizes[:, None] - 1)
    rows = torch.div(inside, extent[:, 2:3], rounding_mode="floor")
    planes = torch.div(rows, extent[:, 1:2], rounding_mode="floor")
    parts = (planes, rows - planes * extent[:, 1:2], inside - rows * extent[:, 2:3])
    d, h, w = (
        _orders(wkeys, extent[:, axis], largest[axis], 3 + (axis << 20)).gather(1, parts[axis]) for axis in range(3)
    )
    return (d * extent[:, 1:2] + h) * extent[:, 2:3] + w


def sources(
    key: np.uint64, count: int, smallest: Triple, largest: Triple, dims: Triple, permutation: str, device: Any
) -> torch.Tensor:
    """Return from which voxel each voxel takes its value, (D*H*W,) int64; the highest window index wins.

    The winner of every voxel is found first (scatter of the largest index), then each window writes only where it
    won: no two writes race, so the result is the same on every device.
    """
    voxels = int(np.prod(dims))
    source = torch.arange(voxels + 1, device=device)  # one slot more takes the writes that do not count
    if count == 0:
        return source[:voxels]
    start, extent, wkeys = (
        part[0] for part in windows(key_tensor(np.array([key]), device), count, smallest, largest, dims)
    )
    most = int(np.prod(largest))
    place = torch.arange(most, device=device).expand(count, most)
    target = _linear(place, extent, start, dims).masked_fill(place >= extent.prod(1)[:, None], voxels)
    index = torch.arange(count, device=device)[:, None].expand(count, most)
    winner = torch.full((voxels + 1,), -1, device=device)
    winner.scatter_reduce_(0, target.reshape(-1), index.reshape(-1), "amax")
    target = target.masked_fill(winner[target] != index, voxels)
    taken = _linear(_taken(place, extent, wkeys, largest, permutation == "separable"), extent, start, dims)
    source.scatter_(0, target.reshape(-1), taken.reshape(-1))
    return source[:voxels]
