"""Sliding windows over a scan of any size: what a network sees, and how its answers become one volume again.

The scan is never copied as a whole: each window is cut from a view, mapped to [0, 1], restored, and added with Gaussian
weights into float32 sums that cover only the box of the windows in use.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genesis3d.events import Control, keep_running
from genesis3d.inference.waiting import told_to_stop
from genesis3d.inference.weights import gaussian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Slices = tuple[slice, slice, slice]

__all__ = ["Placing", "Plan", "Swept", "Triple", "cut", "gaussian", "plan_windows", "sweep"]

Triple = tuple[int, int, int]
Placing = Literal["even", "monai"]
Predict = Callable[["NDArray[np.float32]"], "NDArray[np.float32]"]


@dataclass(frozen=True)
class Plan:
    """Windows over one scan.

    Attributes
    ----------
    shape : (D, H, W) of the scan
    size : (D, H, W) of every window
    starts : first voxel of each window; negative, or reaching past the scan, where the scan is smaller than a window
    box : start and stop per axis of what the windows cover inside the scan
    """

    shape: Triple
    size: Triple
    starts: tuple[Triple, ...]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @property
    def slices(self) -> Slices:
        """The box as slices of the scan."""
        d, h, w = (slice(*ends) for ends in self.box)
        return d, h, w


@dataclass(frozen=True, eq=False)
class Swept:
    """What the windows gave: ``values`` (C, D, H, W) float32 on ``plan.box``, and where any window ``covered`` it."""

    plan: Plan
    values: NDArray[np.float32]
    covered: NDArray[np.bool_]


def plan_windows(
    shape: Sequence[int],
    size: Sequence[int],
    overlap: float = 0.25,
    inside: NDArray[np.bool_] | None = None,
    placing: Placing = "even",
    box: Sequence[tuple[int, int]] | None = None,
) -> Plan:
    """Return the windows of ``size`` that cover a scan of ``shape``, or only what ``inside`` (D, H, W) marks.

    They are spread evenly, neighbours sharing at least ``overlap`` of a window; with ``placing="monai"`` they stand
    where MONAI's inferer puts them: at equal steps, the last one pushed back into the scan.  With ``inside`` they cover
    its box, reading real voxels around it where there are any, and those that hold no marked voxel are left out; a
    ``box`` (first voxel and end of each axis) is covered in the same way.
    """
    ends = list(box or [(0, int(n)) for n in shape]) if inside is None else _extent(inside)
    axes = [_starts(*end, int(n), int(w), overlap, placing) for end, n, w in zip(ends, shape, size, strict=True)]
    starts = [(d, h, w) for d in axes[0] for h in axes[1] for w in axes[2]]
    d, h, w = (int(n) for n in size)
    if inside is not None:
        starts = [s for s in starts if inside[_clipped(s, (d, h, w))].any()]
    box = [
        (max(0, min((s[axis] for s in starts), default=0)),
         min(int(shape[axis]), max((s[axis] + int(size[axis]) for s in starts), default=0)))
        for axis in range(3)
    ]  # fmt: skip
    return Plan((int(shape[0]), int(shape[1]), int(shape[2])), (d, h, w), tuple(starts), (box[0], box[1], box[2]))


def sweep(
    data: NDArray[Any],
    plan: Plan,
    predict: Predict,
    to_unit: Callable[[NDArray[Any]], NDArray[np.float32]],
    batch: int = 1,
    control: Control = keep_running,
) -> Generator[int, None, Swept | None]:
    """Run ``predict`` over the windows of ``plan``, yielding after each batch how many windows are done.

    Parameters
    ----------
    data : (C, D, H, W) view of the scan, any real dtype; beyond its border its edge voxels repeat
    predict : (B, C, d, h, w) float32 in [0, 1] to (B, C', d, h, w)
    to_unit : maps values of the scan to [0, 1] float32; applied to each window alone
    control : asked before each batch

    Returns
    -------
    The weighted mean of all windows' answers; None when ``control`` said stop.
    """
    weight = gaussian(plan.size)
    extent = tuple(stop - start for start, stop in plan.box)
    total: NDArray[np.float32] | None = None
    norm = np.zeros(extent, np.float32)
    for first in range(0, len(plan.starts), batch):
        if told_to_stop(control):
            return None
        starts = plan.starts[first : first + batch]
        answers = predict(np.stack([to_unit(cut(data, start, plan.size)) for start in starts]))
        if total is None:
            total = np.zeros((answers.shape[1], *extent), np.float32)
        for start, answer in zip(starts, answers, strict=True):
            there, here = _overlaps(plan, start)
            total[(slice(None), *there)] += answer[(slice(None), *here)] * weight[here]
            norm[there] += weight[here]
        yield first + len(starts)
    covered = norm > 0
    norm[~covered] = 1
    values = np.zeros((data.shape[0], *extent), np.float32) if total is None else total
    return Swept(plan, np.divide(values, norm, out=values), covered)


def cut(data: NDArray[Any], start: Triple, size: Triple) -> NDArray[Any]:
    """Return the window of ``data`` (C, D, H, W) at ``start``, its edge voxels repeated beyond the border."""
    inner = _clipped(start, size, data.shape[1:])
    window = data[(slice(None), *inner)]
    pad = [(part.start - s, s + n - part.stop) for part, s, n in zip(inner, start, size, strict=True)]
    return np.pad(window, [(0, 0), *pad], mode="edge") if any(map(any, pad)) else window


def _starts(low: int, high: int, length: int, window: int, overlap: float, placing: Placing) -> list[int]:
    """Return where windows begin along one axis so that they cover [low, high) of a scan ``length`` voxels long."""
    if length <= window:
        return [-((window - length) // 2)]
    if high - low <= window:
        return [min(max(0, (low + high - window) // 2), length - window)]
    step = max(1, int(window * (1 - overlap)))
    count = -(-(high - low - window) // step) + 1
    if placing == "monai":
        return [min(low + index * step, high - window) for index in range(count)]
    return [round(start) for start in np.linspace(low, high - window, count)]


def _extent(inside: NDArray[np.bool_]) -> list[tuple[int, int]]:
    ends = []
    for axis in range(3):
        hit = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        ends.append((int(hit[0]), int(hit[-1]) + 1) if hit.size else (0, 0))
    return ends


def _clipped(start: Triple, size: Triple, shape: Sequence[int] | None = None) -> Slices:
    stops = [s + n for s, n in zip(start, size, strict=True)]
    if shape is not None:
        stops = [min(stop, n) for stop, n in zip(stops, shape, strict=True)]
    d, h, w = (slice(max(0, s), stop) for s, stop in zip(start, stops, strict=True))
    return d, h, w


def _overlaps(plan: Plan, start: Triple) -> tuple[Slices, Slices]:
    """Return the part of the sums that a window at ``start`` adds to, and the part of the window that lands there."""
    there, here = [], []
    for (low, high), s, n in zip(plan.box, start, plan.size, strict=True):
        first, last = max(low, s), min(high, s + n)
        there.append(slice(first - low, last - low))
        here.append(slice(first - s, last - s))
    return (there[0], there[1], there[2]), (here[0], here[1], here[2])
