"""What tasks whose targets are classes share: which are known, their cross-entropy, and what tells a dead training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from genesis3d.errors import ConfigError
from genesis3d.labels import IGNORE

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genesis3d.networks import Network

__all__ = ["ClassWeights", "class_count", "class_vitals", "cross_entropy", "known_voxels"]

ClassWeights = Literal["none", "inverse"]


def class_count(task: str, network: Network | nn.Module) -> int | None:
    """Return the classes of ``network``, its output channels; None for a module that does not say.

    Raises
    ------
    ConfigError
        For fewer than two: a binary task has a background class too.
    """
    said = getattr(getattr(network, "config", network), "out_channels", None)
    if not isinstance(said, int):
        return None
    if said < 2:
        raise ConfigError(f"{task}: expected a network of at least 2 output channels, one a class, got {said}")
    return said


def known_voxels(target: Tensor, classes: int) -> Tensor:
    """Return where ``target`` (any shape, integer class indices) is labelled, as bool.

    Raises
    ------
    ConfigError
        For an index that is neither one of ``classes`` nor :data:`~genesis3d.labels.IGNORE`.
    """
    known = target != IGNORE
    highest = int((target * known).max()) if target.numel() else 0
    if highest >= classes:
        raise ConfigError(f"target: expected class indices from 0 to {classes - 1} or {IGNORE}, got {highest}")
    return known


def cross_entropy(logits: Tensor, target: Tensor, weights: ClassWeights, smoothing: float) -> Tensor:
    """Return the mean cross-entropy over what is labelled: ``logits`` (B, K, ...) float32, ``target`` (B, ...) int64.

    With ``weights`` ``inverse`` every class counts as much as any other, however many of the target are its own: its
    weight is the inverse of its share of the labelled part of this batch, and 1 where it is absent.  Without anything
    labelled the loss is 0, and so are its gradients.
    """
    import torch
    from torch.nn import functional

    known = target != IGNORE
    weight = None
    share = known.sum().to(logits)
    if weights == "inverse":
        counts = torch.bincount(target[known], minlength=logits.shape[1]).to(logits)
        weight = torch.where(counts > 0, share / counts.clamp_min(1), torch.ones_like(counts))
        share = (weight * counts).sum()
    total = functional.cross_entropy(
        logits, target, weight, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    return total / share.clamp_min(1e-8)


def class_vitals(output: Tensor, target: Tensor) -> dict[str, float]:
    """Return how much the probabilities ``output`` (B, K, ...) vary where ``target`` is labelled, and how much it does.

    Both are the standard deviation of each class's channel, averaged over the classes: an output that is the same
    whatever the input has none.  ``target`` is (B, 1, D, H, W) or (B,), integer class indices.
    """
    import torch

    target = target.to(output.device).reshape(len(output), *output.shape[2:])
    known = target != IGNORE
    if not bool(known.any()):
        return {"output_std": 0.0, "target_std": 0.0}
    chosen = output.float().movedim(1, -1)[known]
    truth = torch.nn.functional.one_hot(target[known].long(), output.shape[1]).float()
    stds = torch.stack([x.std(dim=0, correction=0).mean() for x in (chosen, truth)]).tolist()
    return dict(zip(("output_std", "target_std"), stds, strict=True))
