"""Windows and their permutations expanded from keys in torch, vectorised over windows: the path of the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genesis3d.transforms.hashing import below, hash64, key_tensor

__all__ = ["sources", "windows"]

Triple = tuple[int, int, int]

# places of windows worked on at once: bounds the memory (a few arrays of 8 bytes each)
ELEMENTS = 1 << 26


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
    """Fisher-Yates orders (most, N) of 0..sizes-1, a column a window; what lies beyond a size stays in place."""
    device = wkeys.device
    steps = torch.arange((most + 1) // 2, device=device)[:, None]
    bits = hash64(wkeys[None], steps + stream)
    bounds = torch.arange(1, most + 1, device=device)[:, None]
    others = torch.empty((most, len(wkeys)), dtype=torch.int64, device=device)
    others[0::2] = below(bits, bounds[0::2], upper=False)
    others[1::2] = below(bits[: most // 2], bounds[1::2], upper=True)
    others = torch.where(sizes[None] >= bounds, others, bounds - 1)
    items = torch.arange(most, device=device)[:, None].expand(-1, len(wkeys)).contiguous()
    for j in range(most - 1, 0, -1):
        moved = items.gather(0, others[j : j + 1])
        items.scatter_(0, others[j : j + 1], items[j : j + 1].clone())
        items[j] = moved[0]
    return items


def _linear(place: torch.Tensor, extent: torch.Tensor, start: torch.Tensor, dims: Triple) -> torch.Tensor:
    """Index in the sub-volume of ``place``, the index inside its window; (most, N)."""
    rows = torch.div(place, extent[2], rounding_mode="floor")
    planes = torch.div(rows, extent[1], rounding_mode="floor")
    row = start[1] + rows - planes * extent[1]
    return ((start[0] + planes) * dims[1] + row) * dims[2] + start[2] + place - rows * extent[2]


def _taken(
    place: torch.Tensor, extent: torch.Tensor, wkeys: torch.Tensor, largest: Triple, separable: bool
) -> torch.Tensor:
    """Place inside its window from which each ``place`` takes its value; (most, N)."""
    sizes = extent.prod(0)
    if not separable:
        return _orders(wkeys, sizes, len(place), 3)
    inside = place.minimum(sizes - 1)
    rows = torch.div(inside, extent[2], rounding_mode="floor")
    planes = torch.div(rows, extent[1], rounding_mode="floor")
    parts = (planes, rows - planes * extent[1], inside - rows * extent[2])
    d, h, w = (
        _orders(wkeys, extent[axis], largest[axis], 3 + (axis << 20)).gather(0, parts[axis]) for axis in range(3)
    )
    return (d * extent[1] + h) * extent[2] + w


def sources(
    keys: NDArray[np.uint64], counts: NDArray[np.int64], smallest: Triple, largest: Triple, dims: Triple,
    separable: bool, device: Any,
) -> torch.Tensor:  # fmt: skip
    """Return from which voxel each voxel takes its value, (B, D*H*W) int64; the highest window index wins."""
    most, count = int(np.prod(largest)), int(counts.max())
    together = max(1, ELEMENTS // max(1, most * count))
    parts = [
        _sources(keys[i : i + together], counts[i : i + together], smallest, largest, dims, separable, device)
        for i in range(0, len(keys), together)
    ]
    return torch.cat(parts)


def _sources(
    keys: NDArray[np.uint64], counts: NDArray[np.int64], smallest: Triple, largest: Triple, dims: Triple,
    separable: bool, device: Any,
) -> torch.Tensor:  # fmt: skip
    """Find the winner of every voxel (scatter of the largest index), then let each window write only where it won.

    So no two writes race, and the result is the same on every device.
    """
    cases, count, voxels = len(keys), int(counts.max()), int(np.prod(dims))
    nowhere = cases * voxels  # one slot more takes the writes that do not count
    source = torch.arange(nowhere + 1, device=device)
    if count == 0:
        return source[:nowhere].reshape(cases, voxels) % voxels
    drawn = windows(key_tensor(keys, device), count, smallest, largest, dims)
    start, extent = (part.reshape(-1, 3).T.contiguous() for part in drawn[:2])
    place = torch.arange(int(np.prod(largest)), device=device)[:, None]
    index = torch.arange(count, device=device).repeat(cases)
    first = torch.arange(cases, device=device).repeat_interleave(count) * voxels
    there = (place < extent.prod(0)) & (index < torch.from_numpy(counts).to(device).repeat_interleave(count))
    target = torch.where(there, first + _linear(place, extent, start, dims), nowhere)
    winner = torch.full((nowhere + 1,), -1, device=device)
    winner.scatter_reduce_(0, target.reshape(-1), index.expand_as(target).reshape(-1), "amax")
    target = torch.where(winner[target] == index, target, nowhere)
    taken = _linear(_taken(place, extent, drawn[2].reshape(-1), largest, separable), extent, start, dims)
    source.remainder_(voxels)
    source.scatter_(0, target.reshape(-1), taken.reshape(-1))
    return source[:nowhere].reshape(cases, voxels)
