"""The settings of the training loop that belong to no one method: optimiser, validation, what is kept."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from genesis3d.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn
    from torch.optim import Optimizer

__all__ = [
    "AveragingSettings",
    "KeepSettings",
    "OptimiserSettings",
    "PlanSettings",
    "RecoverySettings",
    "ValidationSettings",
]


# The power of the schedule poly, as nnU-Net has it.
_POLY = 0.9


class PlanSettings(Config):
    """Which parts of a network are trained when, and how fast its levels are: for weights that begin as a model's."""

    schedule: Literal["all", "frozen", "sawtooth"] = Field(
        "all",
        description="what is trained: all, frozen (all but the encoder at first; Taleb et al., NeurIPS 2020) or "
        "sawtooth (two rises and falls of the rate, the first without the encoder; Wald et al., OpenMind, 2024)",
    )
    first: Literal["decoder", "head"] = Field(
        "decoder",
        description="what is trained while the rest is frozen: decoder and head, or the head alone (linear probe)",
    )
    frozen_steps: int | None = Field(
        None, ge=1, le=10_000_000, description="schedule frozen: steps until all is trained; None: never"
    )
    head_warmup: int = Field(
        50,
        ge=1,
        le=100_000,
        description="schedule sawtooth: steps in which the rate of the first tooth rises, as many in which it falls; "
        "the tooth is at most a fifth of the run",
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="factor of the learning rate from each level to the one before it; 1: all alike"
    )

    @property
    def plain(self) -> bool:
        """Whether all weights are trained alike at all times."""
        return self.schedule == "all" and self.layer_decay == 1

    def tooth(self, total: int | None) -> int:
        """Return the steps of the first tooth in a run of ``total`` (None: not known yet)."""
        if self.schedule != "sawtooth":
            return 0
        return 2 * self.head_warmup if total is None else min(2 * self.head_warmup, total // 5)

    def trained(self, step: int, total: int | None, leg: int = 0) -> frozenset[str]:
        """Return which of encoder, decoder and head are trained at ``step`` (from 0) of ``total``.

        A run that goes on with a new budget, from step ``leg``, has no head to warm up any more: it has one tooth.
        """
        frozen = self.schedule == "frozen" and (self.frozen_steps is None or step < self.frozen_steps)
        if frozen or (leg == 0 and step < self.tooth(total)):
            return frozenset(("decoder", "head") if self.first == "decoder" else ("head",))
        return frozenset(("encoder", "decoder", "head"))


class OptimiserSettings(Config):
    """How weights follow gradients; only schedule ``plateau`` makes the learning rate depend on more than the step."""

    name: Literal["adamw", "adam", "sgd"] = Field("adamw", description="optimiser")
    lr: float = Field(3e-3, gt=0, le=10, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, le=1, description="weight decay")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum (sgd)")
    nesterov: bool = Field(False, description="momentum looks ahead, as Nesterov's (sgd)")
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
    plan: PlanSettings = Field(default=PlanSettings(), description="which parts are trained when, and how fast")

    def learning_rate(self, step: int, total: int | None, leg: int = 0) -> float:
        """Return the rate of the optimiser step number ``step`` (from 0) of ``total`` (None: not known yet).

        Of a run that went on with a new budget at step ``leg``, the schedule is that of the steps since.
        """
        tooth = self.plan.tooth(total) if leg == 0 else 0
        if step < tooth:
            rise = max(1, tooth // 2)
            if step < rise:
                return self.lr * (step + 1) / rise
            return self.lr * float((1 - (step - rise) / (tooth - rise)) ** _POLY)
        began = max(tooth, leg)
        return self._since(max(0, step - began), None if total is None else max(0, total - began))

    def _since(self, step: int, total: int | None) -> float:
        """Return the rate of the step number ``step`` of ``total`` after the last time that the schedule began."""
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

    def build(self, trained: nn.Module | Iterable[nn.Parameter]) -> Optimizer:
        """Return the torch optimiser of a task, with a group for each level if the plan needs them, or of parameters.

        Raises
        ------
        ConfigError
            For a plan and a network that does not name its levels.
        """
        from torch import nn, optim

        parameters: list[Any] = list(trained.parameters() if isinstance(trained, nn.Module) else trained)
        if isinstance(trained, nn.Module) and not self.plan.plain:
            from genesis3d.training.groups import Levels

            parameters = Levels(self.plan, trained).optimiser_groups()
        if self.name == "sgd":
            nesterov = self.nesterov and self.momentum > 0
            return optim.SGD(
                parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=nesterov
            )
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
