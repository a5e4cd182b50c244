"""Compiled CPU kernels: the same integers and the same floats as the torch path of the other devices.

Import this module only inside functions: it pulls numba, and the first import on a machine compiles (a few seconds,
kept in numba's cache).  Every kernel releases the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from genesis3d.rng import GOLDEN, MIX1, MIX2

__all__ = ["gather", "lookup", "paint", "shuffle_sources"]

_GOLDEN, _MIX1, _MIX2 = np.uint64(GOLDEN), np.uint64(MIX1), np.uint64(MIX2)
_S27, _S30, _S31, _S32, _S40 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32), np.uint64(40)
_WORD = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_UNIT = np.float32(2.0**-24)


def _kernel(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile now, through numba's cache where it can be written or read, else without it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)  # type: ignore[no-any-return]
        except Exception:  # a read-only install, a full disk, a torn cache file: the kernel works without
            return numba.njit(signature, nogil=True)(function)  # type: ignore[no-any-return]

    return decorate


@numba.njit
def _hash(key, index):  # type: ignore[no-untyped-def]
    z = key + (index + _ONE) * _GOLDEN
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@numba.njit
def _below(word, bound):  # type: ignore[no-untyped-def]
    return np.int64((word * np.uint64(bound)) >> _S32)


@numba.njit
def _permute(items, n, key, stream):  # type: ignore[no-untyped-def]
    """Fisher-Yates shuffle of ``items[:n]``; two swaps are driven by one hash."""
    bits = np.uint64(0)
    for j in range(n - 1, 0, -1):
        odd = j & 1
        if odd or j == n - 1:
            bits = _hash(key, np.uint64(stream + (j >> 1)))
        other = _below(bits >> _S32 if odd else bits & _WORD, j + 1)
        items[j], items[other] = items[other], items[j]


@numba.njit
def _window(key, smallest, largest, dims, box):  # type: ignore[no-untyped-def]
    """Draw one window into ``box``: its first voxel (3) and its extent (3)."""
    first, second, third = _hash(key, np.uint64(0)), _hash(key, np.uint64(1)), _hash(key, np.uint64(2))
    box[3] = smallest[0] + _below(first >> _S32, largest[0] - smallest[0] + 1)
    box[4] = smallest[1] + _below(first & _WORD, largest[1] - smallest[1] + 1)
    box[5] = smallest[2] + _below(second >> _S32, largest[2] - smallest[2] + 1)
    box[0] = _below(second & _WORD, dims[0] - box[3] + 1)
    box[1] = _below(third >> _S32, dims[1] - box[4] + 1)
    box[2] = _below(third & _WORD, dims[2] - box[5] + 1)


@numba.njit
def _orders(box, separable, key, orders):  # type: ignore[no-untyped-def]
    for axis in range(3):
        extent = box[3 + axis]
        for k in range(extent):
            orders[axis, k] = k
        if separable:
            _permute(orders[axis], extent, key, 3 + (axis << 20))


@_kernel("void(uint64, int64, int64[::1], int64[::1], int64[::1], boolean, boolean, int32[::1])")
def shuffle_sources(key, count, smallest, largest, dims, separable, compose, source):  # type: ignore[no-untyped-def]
    """Write into ``source`` (D*H*W) which voxel each voxel takes its value from, after ``count`` windows in order."""
    for v in range(source.size):
        source[v] = v
    buffer = np.empty(largest[0] * largest[1] * largest[2], np.int32)
    orders = np.empty((3, max(largest[0], largest[1], largest[2])), np.int64)
    box = np.empty(6, np.int64)
    for w in range(count):
        wkey = _hash(key, np.uint64(w))
        _window(wkey, smallest, largest, dims, box)
        _orders(box, separable, wkey, orders)
        n = 0
        for a in range(box[3]):
            for b in range(box[4]):
                row = ((box[0] + orders[0, a]) * dims[1] + box[1] + orders[1, b]) * dims[2] + box[2]
                for c in range(box[5]):
                    at = row + orders[2, c]
                    buffer[n] = source[at] if compose else at
                    n += 1
        if not separable:
            _permute(buffer, n, wkey, 3)
        n = 0
        for a in range(box[3]):
            for b in range(box[4]):
                row = ((box[0] + a) * dims[1] + box[1] + b) * dims[2] + box[2]
                for c in range(box[5]):
                    source[row + c] = buffer[n]
                    n += 1


@_kernel("void(float32[:, ::1], int32[::1], float32[:, ::1])")
def gather(x, source, out):  # type: ignore[no-untyped-def]
    """Write ``x[:, source]`` into ``out``."""
    for c in range(x.shape[0]):
        for v in range(source.size):
            out[c, v] = x[c, source[v]]


@_kernel("void(float32[::1], float32[:, ::1], int32[::1], float32[::1])")
def lookup(x, table, guide, out):  # type: ignore[no-untyped-def]
    """Map ``x`` through the pieces (x, y, slope) of ``table``; ``guide`` is the first piece of each cell of [0, 1]."""
    zero, one = np.float32(0), np.float32(1)
    cells = np.float32(guide.size - 1)
    for v in range(x.size):
        value = min(max(x[v], zero), one)
        k = guide[int(value * cells)]
        k += table[0, k + 1] <= value  # without a branch, as most cells hold one end of a piece at most
        while table[0, k + 1] <= value:
            k += 1
        y = table[1, k] + (value - table[0, k]) * table[2, k]
        out[v] = min(max(y, zero), one)


@_kernel("void(boolean[::1], uint64, boolean, float32[:, ::1])")
def paint(mask, key, per_channel, out):  # type: ignore[no-untyped-def]
    """Write uniform noise into ``out`` (C, D*H*W) where ``mask``; one noise for all channels unless per channel."""
    for c in range(out.shape[0]):
        first = c * mask.size if per_channel else 0
        for v in range(mask.size):
            if mask[v]:
                out[c, v] = np.float32(_hash(key, np.uint64(first + v)) >> _S40) * _UNIT
