"""Out of memory is no end: fewer windows at once, sums elsewhere, fewer bits, windows in parts, at last the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from genesis3d.errors import ModelError
from genesis3d.inference.memory import out_of_memory, release

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from genesis3d.inference.cells import Cells
    from genesis3d.inference.classes import ClassPredictor

__all__ = ["SteppingDown", "in_parts"]

MOST_PARTS = 4
HALO = 32  # voxels that a part sees beyond what is kept of it


class SteppingDown:
    """A predictor that goes on with less when memory does not suffice; windows that are done stay done.

    Parameters
    ----------
    predictor, mirrored : what computes, and the axes it mirrors
    cells : the open sums, which may move to the CPU
    batch : windows at once, at first

    Attributes
    ----------
    said : sentences for the user, to be removed by whoever tells them
    """

    def __init__(self, predictor: ClassPredictor, cells: Cells, batch: int, mirrored: Sequence[int] = ()) -> None:
        self.predictor, self.cells, self.mirrored = predictor, cells, tuple(mirrored)
        self.batch, self.parts = batch, 1
        self.said = cells.said

    def __call__(self, windows: NDArray[np.float32]) -> list[Tensor]:
        """Return the logits (K, d, h, w) of each of ``windows`` (B, C, d, h, w); raises ModelError at the end of it."""
        done: list[Tensor] = []
        while len(done) < len(windows):
            portion = windows[len(done) : len(done) + self.batch]
            try:
                done.extend(in_parts(self._predict, portion, self.parts, self.predictor.model.card.network.stride))
                continue
            except Exception as error:
                if not out_of_memory(error):
                    raise
            # Only here, where the exception no longer holds what the failed work had allocated.
            self._down(windows.shape[2:])
        return done

    def _predict(self, windows: NDArray[np.float32]) -> Tensor:
        return self.predictor(windows, self.mirrored)

    def _down(self, size: Sequence[int]) -> None:
        """Take the next step and say it."""
        predictor, gpu = self.predictor, self.predictor.device.type != "cpu"
        where = str(predictor.device)
        if self.batch > 1:
            self.batch //= 2
            step = f"{self.batch} window(s) at a time"
        elif gpu and self.cells.device.type != "cpu":
            self.cells.move("cpu")
            step = "the sums over windows kept in the computer's memory"
        elif predictor.precision in ("auto", "32"):
            predictor.use(precision="16" if gpu else "bf16")
            step = "half precision"
        elif self.parts < MOST_PARTS:
            self.parts *= 2
            step = f"each window in {self.parts} parts"
        elif gpu:
            predictor.use("cpu", "32")
            self.parts = 1
            step = "the CPU"
        else:
            shown = " x ".join(str(n) for n in size)
            raise ModelError(f"cpu: expected memory for a window of {shown} voxels, got too little; take a smaller one")
        self.said.append(f"The memory of {where} did not suffice: going on with {step}; nothing done so far is lost.")
        release()


def in_parts(
    predict: Callable[[NDArray[np.float32]], Tensor], windows: NDArray[np.float32], parts: int, stride: int
) -> Tensor:
    """Return ``predict(windows)``, computed in ``parts`` along the longest axis that overlap by a halo.

    Near the seams the answer of a network that sees further than :data:`HALO` voxels differs a little.
    """
    if parts == 1:
        return predict(windows)
    import torch

    axis = max(range(2, 5), key=lambda a: windows.shape[a])
    length = windows.shape[axis]
    cuts = sorted({round(length * i / parts / stride) * stride for i in range(parts)} | {length})
    halo = -(-HALO // stride) * stride
    answers = []
    for first, last in pairwise(cuts):
        low, high = max(0, first - halo), min(length, last + halo)
        inner = predict(windows[(slice(None),) * axis + (slice(low, high),)])
        answers.append(inner.narrow(axis, first - low, last - first).clone())
    return torch.cat(answers, dim=axis)
