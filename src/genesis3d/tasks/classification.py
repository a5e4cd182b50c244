"""Classification: one class for a whole sub-volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from genesis3d.tasks.activation import Activation
from genesis3d.tasks.base import TASKS, Task
from genesis3d.tasks.classes import ClassWeights

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["Classification"]


@TASKS.register("classification")
class Classification(Task):
    """Cross-entropy over the classes of whole sub-volumes; a network that is not dense, such as ``classifier``.

    Cases of class 255 (:data:`genesis3d.labels.IGNORE`) count in nothing.  A binary task has two classes.
    """

    class_weights: ClassWeights = Field(
        "none",
        description="weights of the classes: none (each case counts alike) or inverse (each class does, by its share "
        "of the batch)",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of the target that is spread evenly over all classes"
    )

    @property
    def activation(self) -> Activation:
        """What a model card records for use at inference."""
        return "softmax"

    @staticmethod
    def classes_of(network: Network) -> int:
        """Return how many classes ``network`` tells apart."""
        return network.out_channels

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task's module around ``network``.

        Raises
        ------
        ConfigError
            For a network that answers for every voxel, or with fewer than two output channels.
        """
        from genesis3d.tasks.classification_module import ClassificationModule

        return ClassificationModule(self, network, seed)
