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


class CollapseGuard:
    """Raises RunError when a training has died; ask before the optimiser takes its step."""

    def __init__(self) -> None:
        self._flat_steps = 0

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
