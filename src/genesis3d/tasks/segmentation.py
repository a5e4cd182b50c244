"""Segmentation: a class for every voxel, learnt from labels that need not cover the scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from genesis3d.tasks.activation import Activation
from genesis3d.tasks.base import TASKS, Task
from genesis3d.tasks.classes import ClassWeights

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["Segmentation"]


@TASKS.register("segmentation")
class Segmentation(Task):
    """Dice and cross-entropy over the labelled voxels; a network with one output channel a class, background first.

    Unlabelled voxels (:data:`genesis3d.labels.IGNORE`) count in neither term.  A binary task has two classes.
    """

    dice: float = Field(
        1.0, ge=0, le=10, description="weight of the soft Dice loss (Milletari et al., 3DV 2016, section 3)"
    )
    cross_entropy: float = Field(1.0, ge=0, le=10, description="weight of the cross-entropy")
    batch_dice: bool = Field(
        True,
        description="the Dice loss takes the batch as one volume: steadier where a sub-volume may lack a class; "
        "otherwise each sub-volume by itself",
    )
    background: bool = Field(False, description="the Dice loss counts the background as a class")
    class_weights: ClassWeights = Field(
        "none",
        description="weights of the classes in the cross-entropy: none (each voxel counts alike) or inverse (each "
        "class does, by its share of the batch)",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of the cross-entropy's target that is spread evenly over all classes"
    )

    @model_validator(mode="after")
    def _some_loss(self) -> Segmentation:
        if self.dice + self.cross_entropy == 0:
            raise ValueError("expected a weight above 0 for dice or cross_entropy, got 0 for both")
        return self

    @property
    def activation(self) -> Activation:
        """What a model card records for use at inference."""
        return "softmax"

    @staticmethod
    def classes_of(network: Network) -> int:
        """Return how many classes ``network`` tells apart, background included."""
        return network.out_channels

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task's module around ``network``; raises ConfigError for fewer than two output channels."""
        from genesis3d.tasks.segmentation_module import SegmentationModule

        return SegmentationModule(self, network, seed)
