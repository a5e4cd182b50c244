"""Out of memory is no end of a map either: fewer windows at once, then half precision, at last the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ModelError
from genesis3d.inference.memory import out_of_memory, release
from genesis3d.inference.predictor import Predictor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel

__all__ = ["Careful"]


class Careful:
    """A predictor that goes on with less when memory does not suffice; windows that are done stay done.

    Parameters
    ----------
    model : what is applied
    predictor : how it begins

    Attributes
    ----------
    predictor : what computes now
    said : sentences for the user, to be removed by whoever tells them
    """

    def __init__(self, model: LoadedModel, predictor: Predictor) -> None:
        self.predictor = predictor
        self.said: list[str] = []
        self._model = model
        self._most = 1 << 30

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the answers (B, K, d, h, w) to ``windows`` (B, C, d, h, w); raises ModelError at the end of it."""
        done: list[NDArray[np.float32]] = []
        first = 0
        while first < len(windows):
            portion = windows[first : first + self._most]
            try:
                done.append(self.predictor(portion))
                first += len(portion)
                continue
            except Exception as error:
                if not _short_of_memory(error):
                    raise
                refused = error if isinstance(error, ModelError) else ModelError(str(error))
            # Only here, where the exception no longer holds what the failed work had allocated.
            self._down(len(portion), refused)
        return done[0] if len(done) == 1 else np.concatenate(done)

    def _down(self, count: int, refused: ModelError) -> None:
        where, gpu = str(self.predictor.device), self.predictor.device.type != "cpu"
        if count > 1:
            self._most = count // 2
            step = f"{self._most} window(s) at a time"
        elif self.predictor.precision in ("auto", "32"):
            self.predictor.precision = "16" if gpu else "bf16"
            step = "half precision"
        elif gpu:
            self.predictor = Predictor(self._model, "cpu", "32")
            step = "the CPU"
        else:
            raise refused
        self.said.append(f"The memory of {where} did not suffice: going on with {step}; nothing done so far is lost.")
        release()


def _short_of_memory(error: BaseException) -> bool:
    cause = error.__cause__
    return out_of_memory(error) or (cause is not None and out_of_memory(cause))
