"""A segmentation network over a scan, window by window: cells of class scores as soon as they are known."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.events import Control, keep_running
from genesis3d.inference.waiting import told_to_stop
from genesis3d.inference.windows import cut

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from genesis3d.inference.cells import Cells
    from genesis3d.inference.collecting import Collector
    from genesis3d.inference.windows import Triple

    Scores = Callable[[NDArray[np.float32]], Sequence[Tensor]]

__all__ = ["classify"]


def classify(
    data: NDArray[Any],
    order: Sequence[Triple],
    size: Triple,
    predict: Scores,
    to_unit: Callable[[NDArray[Any]], NDArray[np.float32]],
    cells: Cells,
    collector: Collector,
    batch: int = 1,
    air: float | None = None,
    control: Control = keep_running,
) -> Generator[int, None, bool]:
    """Run ``predict`` over the windows in ``order``, yielding after each batch how many windows are done.

    Parameters
    ----------
    data : (C, D, H, W) view of the scan, or anything that is sliced like an array; beyond its border its edge repeats
    order : first voxels of the windows of the plan that ``cells`` was made for
    predict : (B, C, d, h, w) float32 in [0, 1] to the scores (K, d, h, w) of each window
    to_unit : maps values of the scan to [0, 1] float32; applied to each window alone
    collector : is given each cell that changed, as soon as it does
    air : windows of which no voxel is above this (in [0, 1]) are passed over
    control : asked before each batch

    Returns
    -------
    Whether all windows were done; if not, ``collector`` was given the open cells as they were.
    """
    done, waiting = 0, iter(order)
    while starts := list(islice(waiting, batch)):
        if told_to_stop(control):
            for cell in cells.rest():
                collector.keep_as_is(cell)
            return False
        windows = [to_unit(cut(data, start, size)) for start in starts]
        seen = [air is None or float(window.max()) > air for window in windows]
        scores = iter(predict(np.stack([w for w, s in zip(windows, seen, strict=True) if s])) if any(seen) else ())
        for start, looked in zip(starts, seen, strict=True):
            for cell in cells.add(start, next(scores)) if looked else cells.skip(start):
                collector.take(cell)
        done += len(starts)
        yield done
    return True
