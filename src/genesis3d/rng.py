"""Randomness by address, not by state.

Every random number of a run is a pure function of its :class:`Address` (run seed, step, global slot in the batch)
and of the stage that asks.  Small parameters are drawn from :meth:`Address.generator` on the CPU, for one case;
voxel-sized randomness is expanded from one 64-bit key (:meth:`Address.key`) and the voxel index by :func:`hash64`,
whose integers are the same in numpy, torch and compiled code.  So a case depends neither on its batch, nor on the
number of workers, nor on whether the run was resumed, and no global generator is ever touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GOLDEN", "MIX1", "MIX2", "Address", "hash64", "uniform01"]

# splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014)
GOLDEN = 0x9E3779B97F4A7C15
MIX1 = 0xBF58476D1CE4E5B9
MIX2 = 0x94D049BB133111EB


@dataclass(frozen=True, order=True)
class Address:
    """Where a random number lives: run ``seed``, training ``step``, global ``slot`` in the batch, and ``path``.

    ``path`` names the stage (``address / "chain" / "0"``); two stages never share numbers.
    """

    seed: int
    step: int = 0
    slot: int = 0
    path: str = ""

    def __truediv__(self, stage: str) -> Address:
        """Return the address of the sub-stage named ``stage``."""
        return Address(self.seed, self.step, self.slot, f"{self.path}/{stage}")

    def key(self) -> int:
        """Return the address as one unsigned 64-bit integer, the same on every platform."""
        text = f"{self.seed}|{self.step}|{self.slot}|{self.path}".encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "little")

    def generator(self) -> np.random.Generator:
        """Return a fresh generator for small parameters (boxes, curve controls); equal addresses, equal draws."""
        return np.random.Generator(np.random.Philox(key=self.key()))


def hash64(key: int, index: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one well-mixed 64-bit integer per ``index`` (any shape, uint64), for a 64-bit ``key``: splitmix64."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + (index + np.uint64(1)) * np.uint64(GOLDEN)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX2)
        return z ^ (z >> np.uint64(31))


def uniform01(key: int, index: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return uniform numbers in [0, 1), float32, one per ``index``: the top 24 bits of :func:`hash64`."""
    return (hash64(key, index) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
