"""The torch module of the opacity task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesis3d.errors import ConfigError
from genesis3d.networks import Network
from genesis3d.tasks.activation import restored

if TYPE_CHECKING:
    from genesis3d.tasks.opacity import Opacity

__all__ = ["OpacityModule", "parts_of"]

_THERE = 0.5


def parts_of(target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of a target (B, C + 2, D, H, W) the clean scan (B, C, ...), lungs and opacity, both (B, 1, ...)."""
    return target[:, :-2], target[:, -2:-1], target[:, -1:]


class OpacityModule(nn.Module):
    """A network and its loss; ``network`` holds the weights worth keeping.

    Attributes
    ----------
    figures : names of the scalar figures, beside the loss, that :meth:`forward` returns
    """

    figures = ("mae", "dice")

    def __init__(self, task: Opacity, network: Network | nn.Module, seed: int = 0) -> None:
        super().__init__()
        if isinstance(network, Network) and not network.dense:
            raise ConfigError(f"opacity: expected a network with an answer for every voxel, got a {network.name}")
        if isinstance(network, Network) and network.out_channels != network.in_channels + 1:
            raise ConfigError(
                f"opacity: expected a network with one output channel more than its input has "
                f"({network.in_channels + 1}), got {network.out_channels}"
            )
        self.task = task
        self.network = network.build(seed) if isinstance(network, Network) else network

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return loss, output and figures of a batch.

        Parameters
        ----------
        input : (B, C, D, H, W) in [0, 1]
        target : (B, C + 2, D, H, W): the clean scan in [0, 1], lungs (0 or 1), and how much of an opacity there is, in
            [0, 1]; what exceeds 0.5 is to be found

        Returns
        -------
        dict
            ``loss``; ``output`` (B, C + 1, D, H, W), restored scan and probability in [0, 1], detached; ``mae`` of the
            restored scan in the lungs; ``dice`` of the probability above 0.5 in the lungs (1 where there is nothing).

        Raises
        ------
        ConfigError
            For a target of another shape.
        """
        logits = self.network(input).float()
        wanted = (len(input), input.shape[1] + 2, *input.shape[2:])
        if target.shape != wanted:
            raise ConfigError(f"opacity: expected a target of shape {wanted}, got {tuple(target.shape)}")
        clean, lungs, opacity = parts_of(target.float())
        with torch.autocast(logits.device.type, enabled=False):
            loss = self._loss(logits, input.float(), clean, lungs, opacity)
            output = restored(logits.detach(), input.float(), "opacity")
        return {"loss": loss, "output": output} | _figures(output, clean, lungs, opacity)

    def vitals(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return what the training watches to notice that it has died: of the restored scan, against the clean one."""
        restored_scan, clean = output[:, :-1].float(), parts_of(target.to(output.device).float())[0]
        error = (restored_scan - clean).square().mean()
        found = torch.stack([restored_scan.std(), clean.std(), error]).tolist()
        return dict(zip(("output_std", "target_std", "error"), found, strict=True))

    def example(self, image: Tensor) -> Tensor:
        """Return a target for trial steps from ``image`` (B, C, D, H, W) in [0, 1]: all lung, its bright part ill."""
        first = image[:, :1]
        return torch.cat([image, torch.ones_like(first), (first > 0.6).to(first)], dim=1)

    def _loss(self, logits: Tensor, input: Tensor, clean: Tensor, lungs: Tensor, opacity: Tensor) -> Tensor:
        """Return the weighted sum of the three terms; the error is that before clipping, so that none is lost."""
        task, there = self.task, (opacity > _THERE).float()
        weight = task.outside + lungs
        changed = weight * (1 + (task.changed - 1) * opacity)
        error = ((input + logits[:, :-1] - clean).abs() * changed).sum() / (changed.sum() * clean.shape[1]).clamp_min(1)
        entropy = functional.binary_cross_entropy_with_logits(logits[:, -1:], there, weight, reduction="sum")
        found, there = logits[:, -1:].sigmoid() * lungs, there * lungs
        dice = (2 * (found * there).sum() + 1) / (found.sum() + there.sum() + 1)
        return task.restoring * error + task.entropy * entropy / weight.sum().clamp_min(1) + task.dice * (1 - dice)


def _figures(output: Tensor, clean: Tensor, lungs: Tensor, opacity: Tensor) -> dict[str, Tensor]:
    error = ((output[:, :-1] - clean).abs() * lungs).sum() / (lungs.sum() * clean.shape[1]).clamp_min(1)
    found, there = (output[:, -1:] > _THERE) & (lungs > 0), (opacity > _THERE) & (lungs > 0)
    total = found.sum() + there.sum()
    dice = torch.where(total > 0, 2 * (found & there).sum() / total.clamp_min(1), 1.0)
    return {"mae": error, "dice": dice.float()}
