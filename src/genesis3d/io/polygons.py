"""Which pixels lie inside polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fill"]


def fill(polygons: Sequence[NDArray[np.float64]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixel centres lie inside ``polygons`` by the even-odd rule over all of them together.

    Parameters
    ----------
    polygons : each (N, 2), its corners as (row, column), in pixels; centres have whole numbers; closed by themselves
    shape : (rows, columns)

    Notes
    -----
    Every edge is crossed with the rows it spans (half open, so that a corner counts once); each crossing turns over
    all pixels to its right, and an odd number of turns is inside.
    """
    turns = np.zeros((shape[0], shape[1] + 1), dtype=np.int32)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        upward = start[:, 0] <= end[:, 0]
        low, high = np.where(upward[:, None], start, end), np.where(upward[:, None], end, start)
        first = np.clip(np.ceil(low[:, 0]), 0, shape[0]).astype(int)
        last = np.clip(np.ceil(high[:, 0]), 0, shape[0]).astype(int)
        count = last - first
        edge = np.repeat(np.arange(len(polygon)), count)
        if not edge.size:
            continue
        row = first[edge] + np.arange(edge.size) - np.repeat(np.cumsum(count) - count, count)
        slope = (high[edge, 1] - low[edge, 1]) / (high[edge, 0] - low[edge, 0])
        crossing = low[edge, 1] + (row - low[edge, 0]) * slope
        np.add.at(turns, (row, np.clip(np.ceil(crossing), 0, shape[1]).astype(int)), 1)
    inside: NDArray[np.bool_] = np.cumsum(turns[:, :-1], axis=1) % 2 == 1
    return inside
