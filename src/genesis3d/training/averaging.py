"""The average of the weights along the training, which restores better than the last of them (Polyak averaging)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.training.settings import AveragingSettings

__all__ = ["Averaging"]


class Averaging:
    """Keeps a copy of a task whose weights are the exponential moving average of those trained.

    The first steps after ``settings.start`` count more than ``settings.decay`` says, so that the average does not hang
    on to where it began: the n-th weights enter with at least 9 / (10 + n).

    Attributes
    ----------
    task : the copy; model files hold its network
    """

    def __init__(self, settings: AveragingSettings, task: nn.Module) -> None:
        self.settings = settings
        self.task = copy.deepcopy(task).requires_grad_(False)

    def update(self, task: nn.Module, step: int) -> None:
        """Take in the weights of ``task`` after optimiser step number ``step`` (from 0); buffers are its own."""
        import torch

        n = step - self.settings.start
        decay = 0.0 if n < 0 else min(self.settings.decay, (1 + n) / (10 + n))
        with torch.no_grad():
            for average, weight in zip(self.task.parameters(), task.parameters(), strict=True):
                average.lerp_(weight, 1 - decay)
            for held, value in zip(self.task.buffers(), task.buffers(), strict=True):
                held.copy_(value)
