"""Showing what the network has learnt so far to whoever looks on: a slice is asked for, and answered between steps.

``RUN/live/request.json`` says which slice of which case; ``RUN/live/prediction.npz`` is the latest answer.  A request
stands until it is withdrawn or replaced: as the network learns, the answer is renewed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from genesis3d.events import Event, Sampled, Warned
from genesis3d.files import write_atomic
from genesis3d.training.memory import out_of_memory

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["PREDICTION", "Live", "ask", "withdraw"]

Triple = tuple[int, int, int]
# Class values (d, h, w) of the box at ``start`` of ``shape`` of a case, by a task on a device, in bfloat16 or not.
Predict = Callable[["nn.Module", int, Triple, Triple, "torch.device", bool], "NDArray[np.uint16]"]

REQUEST = "live/request.json"
PREDICTION = "live/prediction.npz"
# Seconds between two looks for a new request, and between two answers to the same one.
_POLL = 0.5
_RENEW = 2.0
# An answer may take this share of the time where it was asked anew, and this where it is renewed.
_SHARE = 0.25
_RENEWED_SHARE = 0.1
# Steps before which there is nothing to be seen.
_FIRST = 3


def ask(run_dir: str | Path, case: int = 0, axis: int = 0, index: int = 0) -> None:
    """Ask a run for the slice ``index`` across ``axis`` (0 D, 1 H, 2 W) of the canonical scan of ``case``.

    The answer is renewed as the network learns until another slice is asked for or :func:`withdraw` is called.
    """
    path = Path(run_dir) / REQUEST
    path.parent.mkdir(parents=True, exist_ok=True)
    request = {"case": int(case), "axis": int(axis), "index": int(index)}
    write_atomic(path, json.dumps(request).encode(), durable=False)


def withdraw(run_dir: str | Path) -> None:
    """Ask for nothing more."""
    (Path(run_dir) / REQUEST).unlink(missing_ok=True)


class Live:
    """Answers requests of a run, at most a quarter of its time.

    Parameters
    ----------
    run_dir : the run's folder
    shapes : (D, H, W) of the canonical scan of each case
    patch : (D, H, W) that the network was trained on; so thick is what is predicted about a slice
    predict : what computes
    """

    def __init__(self, run_dir: Path, shapes: Sequence[Triple], patch: Triple, predict: Predict) -> None:
        self.folder = run_dir
        self.shapes = list(shapes)
        self.patch = patch
        self.predict = predict
        self._looked = 0.0
        self._answered = -np.inf
        self._cost = 0.0
        self._request: tuple[int, int, int] | None = None
        self._done: tuple[int, int, int] | None = None
        self._broken = False

    def answered(
        self, task: nn.Module, step: int, device: torch.device, half: bool, *, last: bool = False
    ) -> Iterator[Event]:
        """Predict and write if somebody asks and it is time (the ``last`` time always is); yield that it was done."""
        if self._broken or step < _FIRST or not (self._due() or last):
            return
        request = self._request
        if request is None:
            return
        start = time.perf_counter()
        try:
            self._write(request, task, step, device, half)
        except Exception as error:
            if not out_of_memory(error):
                raise
            self._broken = True
            yield Warned(message="memory does not suffice to show predictions while training; the training goes on")
            return
        self._answered = time.perf_counter()
        self._cost, self._done = self._answered - start, request
        yield Sampled(step=step, path=PREDICTION)

    def _due(self) -> bool:
        now = time.perf_counter()
        if now - self._looked < _POLL:
            return False
        self._looked = now
        self._request = _read(self.folder / REQUEST, self.shapes)
        since = now - self._answered
        if self._request != self._done:
            return since >= self._cost * (1 / _SHARE - 1)
        return since >= max(_RENEW, self._cost * (1 / _RENEWED_SHARE - 1))

    def _write(self, request: tuple[int, int, int], task: nn.Module, step: int, device: Any, half: bool) -> None:
        case, axis, index = request
        start, shape = slab(self.shapes[case], self.patch, axis, index)
        labels = self.predict(task, case, start, shape, device, half)
        # What lies at the rim of the slab was seen from one side alone.
        near = max(1, self.patch[axis] // 4)
        low, high = max(index - near - start[axis], 0), min(index + near + 1 - start[axis], shape[axis])
        kept: list[Any] = [slice(None)] * 3
        kept[axis] = slice(low, high)
        first = [s + (low if i == axis else 0) for i, s in enumerate(start)]

        def save(file: IO[bytes]) -> None:
            np.savez_compressed(
                file,
                labels=labels[tuple(kept)].astype(np.uint16),
                start=np.array(first),
                step=np.array(step),
                case=np.array(case),
            )

        write_atomic(self.folder / PREDICTION, save, durable=False)


def slab(shape: Triple, patch: Triple, axis: int, index: int) -> tuple[Triple, Triple]:
    """Return first voxel and shape of the part of a scan that is as thick as a patch about slice ``index``."""
    thick = min(patch[axis], shape[axis])
    first = min(max(index - thick // 2, 0), shape[axis] - thick)
    start = [first if i == axis else 0 for i in range(3)]
    size = [thick if i == axis else shape[i] for i in range(3)]
    return (start[0], start[1], start[2]), (size[0], size[1], size[2])


def _read(path: Path, shapes: Sequence[Triple]) -> tuple[int, int, int] | None:
    """Return the request, its slice brought into the scan; None for none or one that makes no sense."""
    try:
        values = json.loads(path.read_text(encoding="ascii"))
        case, axis, index = (int(values[name]) for name in ("case", "axis", "index"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not (0 <= case < len(shapes) and axis in (0, 1, 2)):
        return None
    return case, axis, min(max(index, 0), shapes[case][axis] - 1)
