"""Cells of class scores become labels, and probabilities and entropy where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from genesis3d.inference.canvas import Canvas
    from genesis3d.inference.cells import Cell
    from genesis3d.inference.regrid import Regrid
    from genesis3d.inference.streaming import ResultStore
    from genesis3d.inference.windows import Slices, Triple

__all__ = ["Collector", "best_class", "maps_on_scan"]

SLAB = 2**22  # voxels that are interpolated at a time


class Collector:
    """What the cells of a sweep become, on the grid of the sweep.

    Parameters
    ----------
    shape : (D, H, W) of the scan
    values : class value in label files of each class, background first
    inside : (D, H, W) voxels that may be anything but background; None: all
    probabilities, entropy : whether they are wanted too
    canvas : where labels appear at once, preliminary ones too
    store : where labels and probabilities are kept, in place of memory

    Attributes
    ----------
    labels : (D, H, W) class values, uint8 if they fit, else uint16
    probabilities : (K, D, H, W) float16, background 1 where no window was; None if not wanted
    entropy : (D, H, W) float16, of the probabilities, as a share of its largest value log K; None if not wanted
    """

    def __init__(
        self,
        shape: Triple,
        values: Sequence[int],
        inside: NDArray[np.bool_] | None = None,
        *,
        probabilities: bool = False,
        entropy: bool = False,
        canvas: Canvas | None = None,
        store: ResultStore | None = None,
    ) -> None:
        self._values = np.array(values, dtype=np.uint8 if max(values) <= 255 else np.uint16)
        self._plain = tuple(values) == tuple(range(len(values)))
        self._inside = inside
        self._canvas = canvas
        self._known: list[Slices] = []
        self.labels: Any = np.zeros(shape, self._values.dtype) if store is None else store.labels
        self.probabilities: Any = None if store is None else store.probabilities
        if probabilities and store is None:
            self.probabilities = np.zeros((len(values), *shape), np.float16)
            self.probabilities[0] = 1
        self.entropy = np.zeros(shape, np.float16) if entropy else None

    def take(self, cell: Cell) -> None:
        """Keep a cell; one that is not final goes to the canvas alone."""
        if not cell.final and self._canvas is None:
            return
        values = self._labels_of(cell)
        if self._canvas is not None:
            self._canvas.paint(cell.box, values.astype(np.uint16, copy=False))
        if cell.final:
            self._keep(cell, values)

    def keep_as_is(self, cell: Cell) -> None:
        """Keep a cell whose windows did not all come."""
        self._keep(cell, self._labels_of(cell))

    def covered(self) -> NDArray[np.bool_]:
        """Return where (D, H, W) something was kept."""
        result = np.zeros(self.labels.shape, bool)
        for box in self._known:
            result[box] = True
        return result

    def _labels_of(self, cell: Cell) -> NDArray[Any]:
        if cell.total is None:
            d, h, w = (part.stop - part.start for part in cell.box)
            return np.full((d, h, w), self._values[0])
        index = best_class(cell.total).cpu().numpy()
        values = index if self._plain else self._values[index]
        if self._inside is not None:
            values = np.where(self._inside[cell.box], values, self._values[0])
        return np.asarray(values)

    def _keep(self, cell: Cell, values: NDArray[Any]) -> None:
        self._known.append(cell.box)
        self.labels[cell.box] = values
        mean = cell.mean() if self.probabilities is not None or self.entropy is not None else None
        if mean is None:
            return
        shares = mean.softmax(0)
        if self.probabilities is not None:
            self.probabilities[(slice(None), *cell.box)] = shares.cpu().numpy()
        if self.entropy is not None:
            self.entropy[cell.box] = _entropy(shares).cpu().numpy()


def maps_on_scan(
    regrid: Regrid, shares: NDArray[np.float16], values: Sequence[int], *, probabilities: bool, entropy: bool
) -> tuple[NDArray[Any], NDArray[np.float16] | None, NDArray[np.float16] | None]:
    """Return labels, probabilities and entropy on the scan's grid for ``shares`` (K, d, h, w) of the work grid.

    Probabilities are interpolated linearly and only then is the best class taken, slab by slab.
    """
    import torch

    shape, lookup = regrid.shape, np.array(values, dtype=np.uint8 if max(values) <= 255 else np.uint16)
    labels = np.zeros(shape, lookup.dtype)
    kept = np.zeros((len(shares), *shape), np.float16) if probabilities else None
    unsure = np.zeros(shape, np.float16) if entropy else None
    depth = max(1, SLAB // (len(shares) * shape[1] * shape[2]))
    for first in range(0, shape[0], depth):
        rows = slice(first, min(first + depth, shape[0]))
        part = torch.from_numpy(regrid.linear(shares, rows))
        labels[rows] = lookup[best_class(part).numpy()]
        if kept is not None:
            kept[:, rows] = part.numpy()
        if unsure is not None:
            unsure[rows] = _entropy(part).numpy()
    return labels, kept, unsure


def best_class(scores: Tensor) -> Tensor:
    """Return the index of the largest of ``scores`` (K, d, h, w) in each voxel, uint8, the first where they tie."""
    import torch

    best, index = scores[0], torch.zeros(scores.shape[1:], dtype=torch.uint8, device=scores.device)
    for k in range(1, len(scores)):
        index.masked_fill_(scores[k] > best, k)
        best = torch.maximum(best, scores[k]) if k + 1 < len(scores) else best
    return index


def _entropy(shares: Tensor) -> Tensor:
    """Return -sum p log p / log K of ``shares`` (K, d, h, w): 0 where sure, 1 where all classes are alike."""
    import torch

    result: Tensor = torch.special.entr(shares).sum(0) / float(np.log(max(2, len(shares))))
    return result
