"""How large windows should be: as few voxels computed twice as a given amount of work per window allows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.inference.windows import Triple
    from genesis3d.networks.base import Network

__all__ = ["fitted_window", "window_voxels"]

# A window of so many voxels of a network of so many parameters takes about a second on two cores: what a user who
# cancels may have to wait for.
VOXELS, PARAMETERS = 2**21, 2**20
LARGEST = 2**22  # voxels; beyond it nothing is gained
MOST = 24  # windows along an axis that are tried


def window_voxels(network: Network) -> int:
    """Return how many voxels a window of ``network`` may have so that it takes about a second on a CPU."""
    return min(LARGEST, VOXELS * PARAMETERS // max(1, network.parameters()))


def fitted_window(shape: Sequence[int], patch: Sequence[int], overlap: float, stride: int, voxels: int) -> Triple:
    """Return the window (D, H, W), multiples of ``stride``, that covers ``shape`` computing the fewest voxels.

    It is at least as large as ``patch``, the sub-volume of the training, except where the scan is smaller, and has at
    most ``voxels`` voxels if ``patch`` allows.
    """
    axes = [_choices(n, p, overlap, stride) for n, p in zip(shape, patch, strict=True)]
    windows = [((a[1], b[1], c[1]), a[0] * b[0] * c[0]) for a, b, c in product(*axes)]
    most = max(voxels, min(prod(size) for size, _ in windows))
    allowed = [(prod(size) * count, count, size) for size, count in windows if prod(size) <= most]
    return min(allowed)[2]


def _choices(length: int, least: int, overlap: float, stride: int) -> list[tuple[int, int]]:
    """Return (number of windows, their size) along one axis, from one window to windows as small as ``least``."""
    found: list[tuple[int, int]] = []
    for count in range(1, MOST + 1):
        wanted = length / (1 + (count - 1) * (1 - overlap))
        size = max(-(-ceil(wanted) // stride) * stride, 2 * stride)
        if found and size < least:
            break
        if not found or size < found[-1][1]:
            found.append((_count(length, size, overlap), size))
    return found


def _count(length: int, size: int, overlap: float) -> int:
    return max(0, -(-(length - size) // max(1, int(size * (1 - overlap))))) + 1
