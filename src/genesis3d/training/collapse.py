"""Noticing that a training has died: a loss that is no number or explodes, an output that is the same everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from genesis3d.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["CollapseGuard", "Collapsed", "vitals"]

# Learning rates near 1 have driven published trainings to a constant: an output this much flatter than its target ...
_FLAT = 0.02
# ... (one that has not come to life yet: so much, since slow starts without normalisation are flat for long) ...
_DEAD = 1e-4
# ... for this many steps on end is taken for dead.
_PATIENCE = 60
# A loss this many times the first, of an output worse than a constant, so often on end, comes back no more.
_EXPLODED = 10.0
_EXPLODED_PATIENCE = 10
# An error this many times that of the untrained network and of the best constant, for _PATIENCE steps, is no learning.
_LOST = 2.0
# A gradient this many times the usual length is computed again in 32 bits before it is believed.
_SUSPICIOUS = 20.0


class Collapsed(RunError):
    """A training has died: ``what`` happened in words, at ``step``."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(
            f"the training stopped at step {step}: {what}; lower the learning rate (the last good checkpoint is kept)"
        )
        self.step = step
        self.what = what


def vitals(output: Tensor, target: Tensor) -> dict[str, float]:
    """Return what :meth:`CollapseGuard.check` looks at beside loss and gradient, of a batch (B, C, D, H, W).

    A task whose targets are no intensities has a method of this name, and may leave out ``error``.
    """
    import torch

    output, target = output.float(), target.to(output.device).float()
    found = torch.stack([output.std(), target.std(), (output - target).square().mean()]).tolist()
    return dict(zip(("output_std", "target_std", "error"), found, strict=True))


@dataclass
class CollapseGuard:
    """Raises :class:`Collapsed` when a training has died; ask before the optimiser takes its step.

    The fields are plain numbers that a resume file keeps, so that a resumed run notices at the same step.
    """

    seen: int = 0
    alive: int = 0
    flat_steps: int = 0
    lost_steps: int = 0
    exploded_steps: int = 0
    first_loss: float = 0.0
    first_error: float = 0.0
    usual_norm: float = 0.0

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> CollapseGuard:
        """Return the guard of a resume file; a new one for ``{}``."""
        return cls(**{item.name: values[item.name] for item in fields(cls) if item.name in values})  # type: ignore[arg-type]  # plain numbers

    def to_dict(self) -> dict[str, float]:
        """Return plain numbers for the resume file."""
        return asdict(self)

    @property
    def healthy(self) -> bool:
        """Whether nothing speaks against going back to the present state later."""
        return bool(self.alive) and not (self.flat_steps or self.lost_steps or self.exploded_steps)

    def suspicious(self, values: Mapping[str, float]) -> bool:
        """Whether a gradient is no number, or far longer than those before it: to be computed again, exactly."""
        norm, usual = values["gradient_norm"], self.usual_norm
        if not (math.isfinite(values["loss"]) and math.isfinite(norm)):
            return True
        self.usual_norm = 0.95 * usual + 0.05 * min(norm, 10 * usual) if usual else norm
        return usual > 0 and norm > _SUSPICIOUS * usual

    def check(self, step: int, values: Mapping[str, float]) -> None:
        """Look at one step: ``loss``, ``gradient_norm`` and the :func:`vitals` of its batch."""
        loss, norm = values["loss"], values["gradient_norm"]
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise Collapsed(step, f"expected a finite loss and gradient, got {loss:g} and {norm:g}")
        self._count(values)
        if self.flat_steps >= _PATIENCE:
            raise Collapsed(step, f"the output has been constant for {_PATIENCE} steps")
        if self.exploded_steps >= _EXPLODED_PATIENCE:
            raise Collapsed(step, f"the loss is {loss:g}, more than {_EXPLODED:g} times the first one")
        if self.lost_steps >= _PATIENCE:
            raise Collapsed(step, f"the output has been worse than that of an untrained network for {_PATIENCE} steps")

    def check_held_out(self, step: int, loss: float) -> None:
        """Raise unless the held-out ``loss`` is a number."""
        if not math.isfinite(loss):
            raise Collapsed(step, f"expected a finite loss on held-out sub-volumes, got {loss:g}")

    def check_weights(self, step: int, *tasks: nn.Module) -> None:
        """Raise unless all weights and statistics of ``tasks`` are numbers: others are never saved."""
        import torch

        values = (value for task in tasks for value in task.state_dict().values())
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise Collapsed(step, "expected finite weights and statistics, got others")

    def _count(self, values: Mapping[str, float]) -> None:
        if not self.seen:
            self.seen, self.first_loss, self.first_error = 1, values["loss"], values.get("error", 0.0)
        constant = values["target_std"] ** 2
        self.alive = int(self.alive or values["output_std"] >= _FLAT * values["target_std"])
        flat = values["output_std"] < (_FLAT if self.alive and "error" in values else _DEAD) * values["target_std"]
        self.flat_steps = self.flat_steps + 1 if flat else 0
        if (
            "error" not in values
        ):  # probabilities of rare classes are all but flat for long, their loss has no usual size
            return
        exploded = values["loss"] > _EXPLODED * self.first_loss and values["error"] > constant
        self.exploded_steps = self.exploded_steps + 1 if exploded else 0
        lost = values["error"] > _LOST * max(self.first_error, constant)
        self.lost_steps = self.lost_steps + 1 if lost else 0
