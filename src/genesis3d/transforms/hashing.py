"""The integer hash of :mod:`genesis3d.rng` in torch: the same 64-bit integers on every device.

torch has no arithmetic on unsigned 64-bit integers, so keys and hashes travel as int64 with the same bits: products
and sums wrap around, and a right shift is made logical by masking the sign bits it drags in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.rng import GOLDEN, MIX1, MIX2

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["below", "hash64", "key_tensor", "uniform01"]

_WORD = 0xFFFFFFFF


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift(z: torch.Tensor, bits: int) -> torch.Tensor:
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def key_tensor(keys: NDArray[Any], device: torch.device | str) -> torch.Tensor:
    """Return uint64 ``keys`` (any shape) as an int64 tensor of the same bits on ``device``."""
    import torch

    bits = np.ascontiguousarray(keys, dtype=np.uint64).view(np.int64).reshape(np.shape(keys))
    return torch.from_numpy(bits.copy()).to(device)


def hash64(key: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return :func:`genesis3d.rng.hash64` of int64 ``key`` and ``index`` (broadcast) as int64 of the same bits."""
    z = key + (index + 1) * _signed(GOLDEN)
    z = (z ^ _shift(z, 30)) * _signed(MIX1)
    z = (z ^ _shift(z, 27)) * _signed(MIX2)
    return z ^ _shift(z, 31)


def uniform01(key: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return :func:`genesis3d.rng.uniform01` in torch: float32 in [0, 1) from the top 24 bits of the hash."""
    return _shift(hash64(key, index), 40).float() * 2.0**-24


def below(bits: torch.Tensor, bound: torch.Tensor | int, upper: bool) -> torch.Tensor:
    """Return integers in [0, bound) from the upper or lower 32 bits of hashes: ``word * bound >> 32``."""
    word = _shift(bits, 32) if upper else bits & _WORD
    return (word * bound) >> 32
