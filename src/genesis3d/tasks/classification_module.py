"""The torch module of the classification task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genesis3d.errors import ConfigError
from genesis3d.networks import Network
from genesis3d.tasks.classes import class_count, class_vitals, cross_entropy, known_voxels

if TYPE_CHECKING:
    from genesis3d.tasks.classification import Classification

__all__ = ["ClassificationModule"]


class ClassificationModule(nn.Module):
    """A network and its classification loss; ``network`` holds the weights worth keeping.

    Attributes
    ----------
    figures : names of the scalar figures, beside the loss, that :meth:`forward` returns
    sums : names of the (K,) sums from which figures over many batches follow exactly
    """

    figures = ("accuracy",)
    sums = ("intersection", "predicted", "reference")

    def __init__(self, task: Classification, network: Network | nn.Module, seed: int = 0) -> None:
        super().__init__()
        if isinstance(network, Network) and network.dense:
            raise ConfigError(
                f"classification: expected a network with one answer a sub-volume (classifier), got {network.name}"
            )
        class_count("classification", network)
        self.task = task
        self.network = network.build(seed) if isinstance(network, Network) else network

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return loss, probabilities and figures of a batch.

        Parameters
        ----------
        input : (B, C, D, H, W) in [0, 1]
        target : (B,), integer class indices, 255 where it is not known

        Returns
        -------
        dict
            ``loss``; ``output``, softmax probabilities (B, K) float32, detached; ``accuracy``, the share of known cases
            whose most probable class is right (1 where none is known); and, per class (K,) int64, ``intersection``
            (cases rightly called so), ``predicted`` (called so) and ``reference`` (being so), to be summed over
            batches.

        Raises
        ------
        ConfigError
            For a target of another shape, or with an index that no class has.
        """
        logits = self.network(input).float()
        if target.shape != (len(logits),):
            raise ConfigError(f"classification: expected a target of shape ({len(logits)},), got {(*target.shape,)}")
        known, target = known_voxels(target, logits.shape[1]), target.long()
        with torch.autocast(logits.device.type, enabled=False):
            loss = cross_entropy(logits, target, self.task.class_weights, self.task.label_smoothing)
            output = logits.detach().softmax(dim=1)
        found = output.argmax(dim=1)
        counted = (target[known & (found == target)], found[known], target[known])
        sums = [torch.bincount(classes, minlength=logits.shape[1]) for classes in counted]
        right, all_known = sums[0].sum(), known.sum()
        accuracy = torch.where(all_known > 0, right / all_known.clamp_min(1), 1.0).float()
        return {"loss": loss, "output": output, "accuracy": accuracy} | dict(zip(self.sums, sums, strict=True))

    def vitals(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return what the training watches to notice that it has died."""
        return class_vitals(output, target)

    def example(self, image: Tensor) -> Tensor:
        """Return a target for trial steps made of ``image`` (B, C, D, H, W) in [0, 1]: classes in turn."""
        return torch.arange(len(image)) % (class_count("classification", self.network) or 2)
