"""The held-out part of a single labelled case: slices across one axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.class_table import values_in
from genesis3d.data.painted import painted_slices, painting_axis
from genesis3d.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.targets import LabelledCases
    from genesis3d.volume import Volume

__all__ = ["Slab", "find_slab"]


@dataclass(frozen=True)
class Slab:
    """Slices ``start`` to ``stop`` (not included) across ``axis`` (0 D, 1 H, 2 W) of a case."""

    axis: int
    start: int
    stop: int

    def words(self) -> str:
        """Return which slices these are, for people."""
        return f"slices {self.start} to {self.stop - 1} along {'DHW'[self.axis]}"

    def without(self, cases: LabelledCases) -> LabelledCases:
        """Return the one case of ``cases`` with nothing labelled in the slab."""
        return self._blanked(cases, inside=True)

    def only(self, cases: LabelledCases) -> LabelledCases:
        """Return the one case of ``cases`` with nothing labelled but in the slab."""
        return self._blanked(cases, inside=False)

    def _blanked(self, cases: LabelledCases, *, inside: bool) -> LabelledCases:
        labels = cases.labels[0]
        across = np.arange(labels.geometry.shape[self.axis])
        chosen: list[Any] = [slice(None)] * 4
        chosen[1 + self.axis] = ((across >= self.start) & (across < self.stop)) == inside
        data = labels.data.copy()
        data[tuple(chosen)] = IGNORE
        return replace(cases, labels=[labels.with_data(data)])


def find_slab(labels: Volume, share: float) -> Slab | None:
    """Return the slab at an end of the case that holds about ``share`` of the slices with labelled foreground.

    The axis is that of painting where only some slices are labelled; of the slabs there are, that with the smallest
    share of the labelled slices is taken.  It holds at least one slice with foreground and leaves some of every class
    for training; None where none can.
    """
    data: NDArray[np.uint8] = labels.data[0]
    labelled, foreground = data != IGNORE, (data != IGNORE) & (data != BACKGROUND)
    slices = painted_slices(foreground)
    found = [slab for axis in range(3) for slab in _ends(slices[axis], axis, share)]
    known = painted_slices(labelled)
    partly = not all(bool(across.all()) for across in known)
    first = painting_axis(labelled, labels.geometry.spacing) if partly else None
    lost = {slab: known[slab.axis][slab.start : slab.stop].sum() / known[slab.axis].sum() for slab in found}
    found.sort(key=lambda slab: (slab.axis != first, lost[slab]))
    return next((slab for slab in found if _leaves_every_class(data, slab)), None)


def _ends(slices: NDArray[np.bool_], axis: int, share: float) -> list[Slab]:
    """Return the slabs at the end and at the beginning, cut half way between two slices with foreground."""
    where = np.flatnonzero(slices)
    if where.size < 2:
        return []
    held = min(max(1, round(share * where.size)), where.size - 1)
    after = (int(where[-held - 1]) + int(where[-held]) + 1) // 2
    before = (int(where[held - 1]) + int(where[held]) + 1) // 2
    return [Slab(axis, after, len(slices)), Slab(axis, 0, before)]


def _leaves_every_class(data: NDArray[np.uint8], slab: Slab) -> bool:
    """Whether every class that is labelled in the slab is labelled outside, too."""
    moved = np.moveaxis(data, slab.axis, 0)
    outside = {*values_in(moved[: slab.start]), *values_in(moved[slab.stop :]), IGNORE}
    return outside.issuperset(values_in(moved[slab.start : slab.stop]))
