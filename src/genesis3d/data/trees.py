"""Space-filling trees: vessels and airways that reach every part of a lung."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["grow"]

Branch = tuple["NDArray[np.float64]", "NDArray[np.float64]", float]


def grow(
    root: NDArray[np.float64], region: NDArray[np.float64], leaves: int, tip: float, draw: np.random.Generator,
    radius_max: float = 7.0,
) -> list[Branch]:  # fmt: skip
    """Return the branches (start, end, radius; mm) of a tree from ``root`` to ``leaves`` points drawn from ``region``.

    Each branch runs half the way to the middle of the points it feeds, which are then parted across their longest
    direction.  The cube of a radius is the sum of its children's (Murray, PNAS 1926), tips having radius ``tip``.

    Parameters
    ----------
    root : (3,), mm
    region : (N, 3), mm, the places that a tip may take; an empty one gives no branches
    """
    if not len(region):
        return []
    chosen = region[draw.integers(0, len(region), leaves)] + draw.uniform(-1.5, 1.5, (leaves, 3))
    branches: list[Branch] = []
    pending = [(np.asarray(root, dtype=np.float64), chosen)]
    while pending:
        start, points = pending.pop()
        middle = points.mean(axis=0)
        end = middle if len(points) == 1 else start + 0.5 * (middle - start)
        branches.append((start, end, min(radius_max, tip * len(points) ** (1 / 3))))
        if len(points) > 1:
            offsets = points - middle
            longest = np.linalg.eigh(offsets.T @ offsets)[1][:, -1]
            order = np.argsort(offsets @ longest)
            share = len(points) * draw.uniform(0.35, 0.65)
            cut = int(np.clip(share, 1, len(points) - 1))
            pending += [(end, points[order[:cut]]), (end, points[order[cut:]])]
    return branches
