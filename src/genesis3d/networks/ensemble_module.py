"""The torch module of an ensemble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from genesis3d.networks.ensemble import Ensemble

__all__ = ["EnsembleModule"]

_LEAST = 1e-6  # probability, also 1 minus it, below which a logit is not told from that of this one


class EnsembleModule(nn.Module):
    """The networks of :class:`genesis3d.networks.ensemble.Ensemble`; logits whose activation is the members' mean."""

    def __init__(self, config: Ensemble) -> None:
        super().__init__()
        self.config = config
        self.networks = nn.ModuleList(config.member._module() for _ in range(config.members))

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of the encoders' levels, members one after another along the channels."""
        levels = zip(*(network.encode(x) for network in self.networks), strict=True)  # type: ignore[operator]
        return [torch.cat(level, dim=1) for level in levels]

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, float32; raises ConfigError for sizes that are not multiples of the stride."""
        self.config.check(x.shape)
        logits = [network(x).float() for network in self.networks]
        with torch.autocast(x.device.type, enabled=False):
            return _MEANS[self.config.activation](logits, x.float())


def _of_classes(logits: list[Tensor], x: Tensor) -> Tensor:
    return _mean([one.softmax(dim=1) for one in logits]).clamp_min(_LEAST).log()


def _of_probabilities(logits: list[Tensor], x: Tensor) -> Tensor:
    return _mean([one.sigmoid() for one in logits]).logit(_LEAST)


def _of_values(logits: list[Tensor], x: Tensor) -> Tensor:
    return _mean([one.clamp(0.0, 1.0) for one in logits])


def _of_changes(logits: list[Tensor], x: Tensor) -> Tensor:
    return _mean([(x + one).clamp(0.0, 1.0) for one in logits]) - x


def _of_opacity(logits: list[Tensor], x: Tensor) -> Tensor:
    changes = _of_changes([one[:, :-1] for one in logits], x)
    return torch.cat([changes, _of_probabilities([one[:, -1:] for one in logits], x)], dim=1)


def _mean(values: list[Tensor]) -> Tensor:
    return torch.stack(values).mean(dim=0)


_MEANS = {
    "softmax": _of_classes,
    "sigmoid": _of_probabilities,
    "linear": _of_values,
    "residual": _of_changes,
    "opacity": _of_opacity,
}
