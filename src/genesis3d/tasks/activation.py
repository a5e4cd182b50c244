"""From logits to intensities: the one place where a network's output becomes a restored scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError
from genesis3d.networks.card import Activation

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Activation", "prediction", "restored"]


def prediction(logits: Tensor, input: Tensor, activation: Activation) -> Tensor:
    """Return what the loss compares: sigmoid(logits), the logits themselves, or ``input`` + logits; not clipped.

    ``opacity``: ``input`` + all logits but the last channel's, and of that the sigmoid.
    """
    if activation == "sigmoid":
        return logits.sigmoid()
    if activation == "linear":
        return logits
    if activation == "residual":
        return input + logits
    if activation == "opacity":
        import torch

        return torch.cat([input + logits[:, :-1], logits[:, -1:].sigmoid()], dim=1)
    raise ConfigError(f"activation: expected sigmoid, linear, residual or opacity, got {activation!r}")


def restored(logits: Tensor, input: Tensor, activation: Activation) -> Tensor:
    """Return the restored intensities in [0, 1], shaped as ``logits``: the prediction, clipped.

    ``opacity``: the restored channels, then the probability of an opacity.
    """
    return prediction(logits, input, activation).clamp(0.0, 1.0)
