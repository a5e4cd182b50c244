"""Restoration against opacity: give back the lung without its opacities, and say where they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from genesis3d.tasks.activation import Activation
from genesis3d.tasks.base import TASKS, Task

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["Opacity"]


@TASKS.register("opacity")
class Opacity(Task):
    """Two heads: the sub-volume without the opacities that were put in, and the probability of an opacity.

    The network gives a change for each channel of the scan and one logit more.  The loss is the weighted mean absolute
    error of the restored scan, the cross-entropy of the opacity (weighted alike by lung) and its Dice in the lungs.
    """

    restoring: float = Field(10.0, ge=0, le=1000, description="weight of the error of the restored scan, in [0, 1]")
    entropy: float = Field(1.0, ge=0, le=1000, description="weight of the cross-entropy of the opacity")
    dice: float = Field(0.5, ge=0, le=1000, description="weight of 1 - Dice of the opacity in the lungs")
    outside: float = Field(0.15, ge=0, le=1, description="weight of a voxel outside the lungs; inside it is 1 more")
    changed: float = Field(
        4.0, ge=1, le=100, description="weight of what an opacity changed in the restored scan, of 1 elsewhere"
    )

    @property
    def activation(self) -> Activation:
        """What a model card records for use at inference."""
        return "opacity"

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task's module around ``network``; raises ConfigError unless it has one output more than inputs."""
        from genesis3d.tasks.opacity_module import OpacityModule

        return OpacityModule(self, network, seed)
