"""The torch module of the segmentation task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from genesis3d.errors import ConfigError
from genesis3d.networks import Network
from genesis3d.tasks.classes import class_count, class_vitals, cross_entropy, known_voxels

if TYPE_CHECKING:
    from genesis3d.tasks.segmentation import Segmentation

__all__ = ["SegmentationModule", "dice_of_sums"]


class SegmentationModule(nn.Module):
    """A network and its segmentation loss; ``network`` holds the weights worth keeping.

    Attributes
    ----------
    figures : names of the scalar figures, beside the loss, that :meth:`forward` returns
    sums : names of the (K,) sums from which figures over many batches follow exactly
    """

    figures = ("dice",)
    sums = ("intersection", "predicted", "reference")

    def __init__(self, task: Segmentation, network: Network | nn.Module, seed: int = 0) -> None:
        super().__init__()
        from monai.losses import DiceLoss

        if isinstance(network, Network) and not network.dense:
            raise ConfigError(f"segmentation: expected a network with an answer for every voxel, got a {network.name}")
        class_count("segmentation", network)
        self.task = task
        self.network = network.build(seed) if isinstance(network, Network) else network
        self._dice = DiceLoss(include_background=task.background, batch=task.batch_dice)

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return loss, probabilities and figures of a batch.

        Parameters
        ----------
        input : (B, C, D, H, W) in [0, 1]
        target : (B, 1, D, H, W), integer class indices, 255 where nobody labelled

        Returns
        -------
        dict
            ``loss``; ``output``, softmax probabilities (B, K, D, H, W) float32, detached; ``dice``, the mean over the
            foreground classes that the target or the most probable class names (1 where neither names any); and, per
            class (K,) int64 in labelled voxels, ``intersection``, ``predicted`` and ``reference``: summed over
            batches they give the exact Dice of all, :func:`dice_of_sums`.

        Raises
        ------
        ConfigError
            For a target of another shape, or with an index that no class has.
        """
        logits = self.network(input).float()
        if target.shape != (len(logits), 1, *logits.shape[2:]):
            wanted = (len(logits), 1, *logits.shape[2:])
            raise ConfigError(f"segmentation: expected a target of shape {wanted}, got {tuple(target.shape)}")
        known = known_voxels(target, logits.shape[1])
        with torch.autocast(logits.device.type, enabled=False):
            loss, output = self._loss(logits, target.long(), known)
        sums = self._sums(output, target.long(), known)
        return {"loss": loss, "output": output, "dice": dice_of_sums(*sums.values())} | sums

    def vitals(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return what the training watches to notice that it has died."""
        return class_vitals(output, target)

    def example(self, image: Tensor) -> Tensor:
        """Return a target for trial steps made of ``image`` (B, C, D, H, W) in [0, 1]: its intensities as classes."""
        classes = class_count("segmentation", self.network) or 2
        return (image[:, :1] * classes).long().clamp(0, classes - 1)

    def _loss(self, logits: Tensor, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Return loss and probabilities (detached); both terms see the labelled voxels alone."""
        probabilities = logits.softmax(dim=1)
        terms = []
        if self.task.dice:
            # Zero in prediction and target alike, a voxel enters neither intersection nor sums.
            truth = torch.zeros_like(probabilities).scatter_(1, target * known, 1.0)
            terms.append(self.task.dice * self._dice(probabilities * known, truth * known))
        if self.task.cross_entropy:
            entropy = cross_entropy(logits, target[:, 0], self.task.class_weights, self.task.label_smoothing)
            terms.append(self.task.cross_entropy * entropy)
        return torch.stack(terms).sum(), probabilities.detach()

    def _sums(self, output: Tensor, target: Tensor, known: Tensor) -> dict[str, Tensor]:
        classes = output.shape[1]
        pairs = (target * classes + output.argmax(dim=1, keepdim=True))[known]
        counts = torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        return dict(zip(self.sums, (counts.diagonal(), counts.sum(dim=0), counts.sum(dim=1)), strict=True))


def dice_of_sums(intersection: Tensor, predicted: Tensor, reference: Tensor) -> Tensor:
    """Return the mean Dice, a float32 scalar, over the foreground classes that occur in prediction or reference.

    The arguments are voxels per class (K,), background first; where no foreground class occurs the Dice is 1.
    """
    both = (predicted + reference)[1:]
    occurs = both > 0
    scores = torch.where(occurs, 2.0 * intersection[1:] / both.clamp_min(1), 0.0)
    return torch.where(occurs.any(), scores.sum() / occurs.sum().clamp_min(1), 1.0).float()
