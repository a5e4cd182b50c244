"""The convex hull of a lung, slice by slice: a way to take dense disease at the ribs in that no closing spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

__all__ = ["hulls"]


def hulls(mask: Mask) -> Mask:
    """Return the convex hull of ``mask`` (D, H, W) of each axial slice."""
    result = mask.copy()
    for index in np.flatnonzero(mask.any(axis=(1, 2))):
        rows = np.flatnonzero(mask[index].any(axis=1))
        first = mask[index][rows].argmax(axis=1)
        last = mask.shape[2] - 1 - mask[index][rows][:, ::-1].argmax(axis=1)
        result[index] |= _filled(rows, first, last, mask.shape[1:])
    return result


def _filled(rows: NDArray[np.intp], first: NDArray[np.intp], last: NDArray[np.intp], shape: tuple[int, ...]) -> Mask:
    """Return the hull of the points (row, first) and (row, last): in each row all between its two chains."""
    low = np.interp(np.arange(rows[0], rows[-1] + 1), *_chain(rows, first))
    high = np.interp(np.arange(rows[0], rows[-1] + 1), *_chain(rows, -last))
    filled = np.zeros(shape, bool)
    columns = np.arange(shape[1])
    filled[rows[0] : rows[-1] + 1] = (columns >= low[:, None] - 1e-6) & (columns <= -high[:, None] + 1e-6)
    return filled


def _chain(x: NDArray[np.intp], y: NDArray[np.intp]) -> tuple[list[int], list[int]]:
    """Return the lower hull of points sorted by ``x`` (Andrew's monotone chain, 1979)."""
    kept: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist(), strict=True):
        while len(kept) > 1 and _turn(kept[-2], kept[-1], point) <= 0:
            kept.pop()
        kept.append(point)
    return [one[0] for one in kept], [one[1] for one in kept]


def _turn(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
