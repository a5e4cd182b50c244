"""Restoration: give back the sub-volume that was transformed (Models Genesis, section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from genesis3d.tasks.activation import Activation
from genesis3d.tasks.base import TASKS, Task

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["Restoration"]


@TASKS.register("restoration")
class Restoration(Task):
    """Restore the original sub-volume from its transformed copy; the loss runs over all voxels."""

    loss: Literal["mse", "mae", "ssim"] = Field(
        "mse",
        description="mean squared (the paper) or mean absolute error, in [0, 1], or 1 - structural similarity; on five "
        "target tasks none of the three was best throughout (paper, section 5.5)",
    )
    output: Activation = Field(
        "sigmoid",
        description="what the network's output means: sigmoid (as published), linear (clipped to [0, 1] when used), or "
        "residual (a change to the input, clipped when used)",
    )

    @property
    def activation(self) -> Activation:
        """What a model card records for use at inference."""
        return self.output

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task's module around ``network``; raises ConfigError unless channels out equal channels in."""
        from genesis3d.tasks.restoration_module import RestorationModule

        return RestorationModule(self, network, seed)
