"""Sums over overlapping windows that live only as long as a window is still to come.

The borders of all windows cut the scan into cells, in each of which the same windows overlap.  A cell's weighted sum is
made by the first of its windows and given away, final, by the last; a cell of one window alone is never summed at all.
So K classes of a whole scan are never held in memory, in whatever order the windows come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.inference.memory import out_of_memory

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from genesis3d.inference.windows import Plan, Slices, Triple

__all__ = ["Cell", "Cells"]


@dataclass(frozen=True, eq=False)
class Cell:
    """What is known of one box of the scan.

    Attributes
    ----------
    box : slices of the scan
    total : (K, d, h, w) float32, the weighted sum of the windows so far; None where all of them were skipped
    norm : (d, h, w) float32, the sum of their weights; None where a single window answered, unweighted
    final : whether no window is to come
    """

    box: Slices
    total: Tensor | None
    norm: Tensor | None
    final: bool

    def mean(self) -> Tensor | None:
        """Return the weighted mean of the windows' answers (K, d, h, w) float32."""
        if self.total is None or self.norm is None:
            return self.total
        return self.total / self.norm


class Cells:
    """The open sums of a sweep over ``plan``.

    Parameters
    ----------
    plan : the windows; each is to be given once to :meth:`add` or :meth:`skip`, in any order
    weight : (D, H, W) float32 of a window
    device : where sums are kept

    Attributes
    ----------
    said : sentences for the user, to be removed by whoever tells them
    """

    def __init__(self, plan: Plan, weight: NDArray[np.float32], device: torch.device | str = "cpu") -> None:
        import torch

        self._plan = plan
        self._weight = torch.from_numpy(weight).to(device)
        self._edges = [self._cuts(axis) for axis in range(3)]
        self._waiting = np.zeros([max(0, len(edges) - 1) for edges in self._edges], np.int32)
        for start in plan.starts:
            self._waiting[self._span(start)] += 1
        self._open: dict[Triple, tuple[Tensor, Tensor]] = {}
        self.said: list[str] = []

    @property
    def nbytes(self) -> int:
        """Memory of the open sums in bytes."""
        return sum(part.nbytes for pair in self._open.values() for part in pair)

    @property
    def device(self) -> torch.device:
        """Where the sums are kept."""
        return self._weight.device

    def add(self, start: Triple, answer: Tensor) -> Iterator[Cell]:
        """Take the ``answer`` (K, D, H, W) of the window at ``start`` and yield every cell it touched."""
        for key in self._keys(start):
            box = self._box(key)
            here = tuple(slice(b.start - s, b.stop - s) for b, s in zip(box, start, strict=True))
            part, known = answer[(slice(None), *here)].to(self._weight.device), self._open.get(key)
            self._waiting[key] -= 1
            if known is None and not self._waiting[key]:
                yield Cell(box, part.float(), None, True)
                continue
            weight = self._weight[here]
            if known is None:
                self._open[key] = self._begun(part, weight)
            else:
                known[0].addcmul_(part, weight)
                known[1].add_(weight)
            yield self._told(key, box)

    def skip(self, start: Triple) -> Iterator[Cell]:
        """Take the window at ``start`` as one that has nothing to say, and yield the cells that become final."""
        for key in self._keys(start):
            self._waiting[key] -= 1
            if not self._waiting[key]:
                yield self._told(key, self._box(key))

    def rest(self) -> Iterator[Cell]:
        """Yield, and forget, the cells whose windows did not all come, as they are."""
        for key in list(self._open):
            total, norm = self._open.pop(key)
            yield Cell(self._box(key), total, norm, False)

    def move(self, device: torch.device | str) -> None:
        """Keep the sums on another device from now on."""
        self._weight = self._weight.to(device)
        self._open = {key: (total.to(device), norm.to(device)) for key, (total, norm) in self._open.items()}

    def _begun(self, part: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return a new sum and its weights; without memory for them on a GPU all sums move to the CPU."""
        try:
            return _weighted(part, weight), weight.clone()
        except Exception as error:
            if not out_of_memory(error) or self.device.type == "cpu":
                raise
        self.said.append(
            f"The memory of {self.device} did not suffice: going on with the sums over windows in the computer's "
            "memory; nothing done so far is lost."
        )
        self.move("cpu")
        return _weighted(part.cpu(), weight.cpu()), weight.cpu()

    def _told(self, key: Triple, box: Slices) -> Cell:
        final = not self._waiting[key]
        total, norm = self._open.pop(key, (None, None)) if final else self._open[key]
        return Cell(box, total, norm, final)

    def _cuts(self, axis: int) -> NDArray[np.int64]:
        low, high = self._plan.box[axis]
        starts = np.array(sorted({start[axis] for start in self._plan.starts}), dtype=np.int64)
        return np.unique(np.clip(np.concatenate([starts, starts + self._plan.size[axis]]), low, high))

    def _span(self, start: Triple) -> Slices:
        found = []
        for edges, s, n, (low, high) in zip(self._edges, start, self._plan.size, self._plan.box, strict=True):
            first, last = np.searchsorted(edges, [max(low, s), min(high, s + n)])
            found.append(slice(int(first), int(last)))
        return found[0], found[1], found[2]

    def _keys(self, start: Triple) -> Iterator[Triple]:
        d, h, w = (range(part.start, part.stop) for part in self._span(start))
        yield from product(d, h, w)

    def _box(self, key: Triple) -> Slices:
        d, h, w = (slice(int(edges[i]), int(edges[i + 1])) for edges, i in zip(self._edges, key, strict=True))
        return d, h, w


def _weighted(part: Tensor, weight: Tensor) -> Tensor:
    return part.float() * weight
