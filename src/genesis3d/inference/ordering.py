"""In which order windows are computed: those the user looks at first, and so that few sums are open at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.inference.windows import Plan, Triple

__all__ = ["in_order"]


def in_order(plan: Plan, focus: Triple | None = None, axis: int = 0) -> list[Triple]:
    """Return the windows of ``plan`` in the order they are to be computed.

    Without ``focus``, layer by layer along the longest axis of the scan, whose layers are the smallest.  With it (a
    voxel of the scan, looked at along ``axis``), the layer of windows that holds the focus comes first, from the
    focus outwards, then the layers beside it, by their distance.
    """
    if focus is None:
        axis = max(range(3), key=lambda a: plan.shape[a])
        return sorted(plan.starts, key=lambda start: (start[axis], start))

    def away(start: Triple) -> list[float]:
        return [abs(s + (n - 1) / 2 - f) for s, n, f in zip(start, plan.size, focus, strict=True)]

    def rank(start: Triple) -> tuple[float, int, float, Triple]:
        off = away(start)
        return off[axis], start[axis], max(off[:axis] + off[axis + 1 :]), start

    return sorted(plan.starts, key=rank)
