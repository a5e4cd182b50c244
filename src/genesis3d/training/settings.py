"""The settings of the training loop that belong to no one method: optimiser, validation, what is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from genesis3d.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.optim import Optimizer

__all__ = ["AveragingSettings", "KeepSettings", "OptimiserSettings", "RecoverySettings", "ValidationSettings"]


# The power of the schedule poly, as nnU-Net has it.
_POLY = 0.9


class OptimiserSettings(Config):
    """How weights follow gradients; only schedule ``plateau`` makes the learning rate depend on more than the step."""

    name: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimiser")
    lr: float = Field(3e-3, gt=0, le=10, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, le=1, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd)")
    schedule: Literal["cosine", "step", "constant", "poly", "plateau"] = Field(
        "cosine", description="how the learning rate falls; plateau: when the held-out loss no longer does"
    )
    warmup: int = Field(50, ge=0, le=100_000, description="steps of linear warm-up, at most a fifth of the run")
    decay_every: int = Field(5_000, ge=1, description="schedule step: steps between two reductions")
    decay_factor: float = Field(0.5, gt=0, le=1, description="schedules step and plateau: factor of each reduction")
    plateau_patience: int = Field(
        10, ge=1, le=100_000, description="schedule plateau: measurements without a gain before a reduction"
    )
    plateau_delta: float = Field(1e-4, ge=0, le=1, description="schedule plateau: least fall of the loss that counts")
    lowest: float = Field(1e-6, ge=0, le=1, description="schedule plateau: learning rate below which it never falls")
    clip: float | None = Field(1.0, gt=0, description="largest gradient norm; None: not limited")

    def learning_rate(self, step: int, total: int | None) -> float:
        """Return the rate of the optimiser step number ``step`` (from 0) of ``total`` (None: not known yet)."""
        warmup = self.warmup if total is None else min(self.warmup, total // 5)
        if step < warmup:
            return self.lr * (step + 1) / warmup
        if self.schedule == "step":
            return self.lr * float(self.decay_factor ** (step // self.decay_every))
        if self.schedule == "cosine" and total is not None:
            done = (step - warmup) / max(1, total - warmup)
            return self.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        if self.schedule == "poly" and total is not None:
            return self.lr * float((1 - min(step / total, 1.0)) ** _POLY)
        return self.lr

    def build(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Return the torch optimiser."""
        from torch import optim

        parameters = list(parameters)
        if self.name == "sgd":
            return optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        kind = optim.AdamW if self.name == "adamw" else optim.Adam
        return kind(parameters, lr=self.lr, weight_decay=self.weight_decay)


class ValidationSettings(Config):
    """What is held out of training and how often the network is measured on it."""

    hold_out: float = Field(
        0.15, ge=0, le=0.5, description="share of the cases held out; of a single scan, a slab of this share"
    )
    cases: int | None = Field(None, ge=1, description="number of cases held out, in place of the share")
    names: tuple[str, ...] = Field((), description="names of the cases to hold out, in place of a draw")
    windows: int = Field(16, ge=1, le=4096, description="number of fixed sub-volumes measured")
    patch: tuple[int, int, int] | None = Field(None, description="their size (D, H, W) in voxels; None: as trained on")
    every: int = Field(200, ge=1, description="steps between two measurements")
    patience: int | None = Field(None, ge=1, description="stop after so many measurements without a better one")


class KeepSettings(Config):
    """What is written while training, how often, and how much of it stays."""

    seconds: float = Field(
        5.0, ge=0, le=3600, description="seconds between two saves of the last state (more where saving is slow)"
    )
    every: int = Field(1000, ge=1, description="steps between two checkpoints that stay beside the last and the best")
    checkpoints: int = Field(3, ge=0, description="how many of those stay, the newest")
    samples_every: int = Field(200, ge=1, description="steps between two sets of restored samples")
    samples: int = Field(20, ge=1, description="how many sets stay, the newest")


class AveragingSettings(Config):
    """Whether model files hold an average of the weights along the training in place of the last of them."""

    decay: float = Field(0.0, ge=0, lt=1, description="share of the average that stays at each step; 0: no averaging")
    start: int = Field(0, ge=0, description="steps before the average begins")


class RecoverySettings(Config):
    """What happens when a training has died: it goes back to the last good state, at a lower learning rate."""

    tries: int = Field(3, ge=0, le=20, description="how often it goes back before the run ends; 0: it ends at once")
    factor: float = Field(0.5, gt=0, lt=1, description="factor of the learning rate each time")
