"""Noticing that a training has died: a loss that is no number, or an output that is the same everywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from genesis3d.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CollapseGuard"]

# Learning rates near 1 have driven published trainings to a constant: an output this much flatter than its target ...
_FLAT = 0.02
# ... for this many steps on end is taken for dead; a network that has just begun is flat for a few.
_PATIENCE = 60
# A gradient this many times the usual length is computed again in 32 bits before it is believed.
_SUSPICIOUS = 20.0


class CollapseGuard:
    """Raises RunError when a training has died; ask before the optimiser takes its step."""

    def __init__(self) -> None:
        self._flat_steps = 0
        self._usual_norm: float | None = None

    def suspicious(self, loss: float, gradient_norm: float) -> bool:
        """Whether a gradient is no number, or far longer than those before it: to be computed again, exactly."""
        usual = self._usual_norm
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return True
        self._usual_norm = gradient_norm if usual is None else 0.95 * usual + 0.05 * min(gradient_norm, 10 * usual)
        return usual is not None and gradient_norm > _SUSPICIOUS * usual

    def check(self, step: int, loss: float, gradient_norm: float, output: Tensor, target: Tensor) -> None:
        """Look at one step: ``loss``, gradient norm, ``output`` and ``target``, (B, C, D, H, W)."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            raise RunError(
                f"the training stopped at step {step}: expected a finite loss and gradient, got {loss:g} and "
                f"{gradient_norm:g}; lower the learning rate (the last good checkpoint is kept)"
            )
        flat = float(output.float().std()) < _FLAT * float(target.float().std())
        self._flat_steps = self._flat_steps + 1 if flat else 0
        if self._flat_steps >= _PATIENCE:
            raise RunError(
                f"the training stopped at step {step}: the output has been constant for {_PATIENCE} steps; lower the "
                f"learning rate (the best checkpoint is kept)"
            )
