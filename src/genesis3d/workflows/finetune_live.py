"""What a training shows of a slice while it goes on: the network slid over the slab about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.inference.windows import plan_windows, sweep
from genesis3d.training.half import autocast
from genesis3d.training.statistics import measure_statistics

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from genesis3d.data.targets import LabelledCases
    from genesis3d.training.live import Predict
    from genesis3d.training.pairs import Maker

__all__ = ["slice_predictor"]

Triple = tuple[int, int, int]
_OVERLAP = 0.25
# Sub-volumes that batch normalisation is measured on for an answer: enough to see by, soon done.
_WINDOWS = 4


def slice_predictor(
    cases: LabelledCases, patch: Triple, statistics: Maker, frozen: Callable[[], tuple[str, ...]]
) -> Predict:
    """Return what predicts class values in a box of one of ``cases``, by windows of the size ``patch``.

    ``frozen`` says which normalisations of the network are to keep their statistics, by prefixes of their names.
    """
    values = np.array([one.value for one in cases.classes], dtype=np.uint16)

    def predict(
        task: nn.Module, case: int, start: Triple, shape: Triple, device: torch.device, half: bool
    ) -> NDArray[np.uint16]:
        box = cases.volumes[case].crop(start, shape).data
        scale = cases.scales[case]
        plan = plan_windows(shape, patch, _OVERLAP)
        with _measured(task, statistics, device, half, frozen()):
            steps = sweep(box, plan, _network(task, device, half), lambda x: np.nan_to_num(scale.to_unit(x)))
            try:
                while True:
                    next(steps)
            except StopIteration as done:
                swept: Any = done.value
        return np.asarray(values[swept.values.argmax(axis=0)])

    return predict


def _network(task: nn.Module, device: torch.device, half: bool) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the network of ``task`` as a function of windows: their probabilities."""
    import torch

    network: nn.Module = task.network  # type: ignore[assignment]  # a task's network

    def probabilities(windows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), autocast(device, half):
            logits = network(torch.from_numpy(np.ascontiguousarray(windows)).to(device))
        return np.asarray(logits.float().softmax(dim=1).cpu().numpy())

    return probabilities


@contextmanager
def _measured(
    task: nn.Module, statistics: Maker, device: torch.device, half: bool, frozen: tuple[str, ...]
) -> Iterator[None]:
    """Within it ``task`` is in evaluation, its batch normalisation measured; afterwards all is as it was."""
    training = task.training
    buffers = {name: value.clone() for name, value in task.named_buffers()}
    measure_statistics(task, statistics, device, half, windows=_WINDOWS, frozen=frozen)
    task.eval()
    try:
        yield
    finally:
        task.train(training)
        for name, value in task.named_buffers():
            value.copy_(buffers[name])
