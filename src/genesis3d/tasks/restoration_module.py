"""The torch module of the restoration task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from genesis3d.errors import ConfigError
from genesis3d.networks import Network
from genesis3d.tasks.activation import prediction
from genesis3d.tasks.similarity import ssim

if TYPE_CHECKING:
    from genesis3d.tasks.restoration import Restoration

__all__ = ["RestorationModule"]


def _dissimilarity(x: Tensor, y: Tensor) -> Tensor:
    return 1 - ssim(x, y).mean()


_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "ssim": _dissimilarity,
}


class RestorationModule(nn.Module):
    """A network and its restoration loss; ``network`` holds the weights worth keeping."""

    def __init__(self, task: Restoration, network: Network | nn.Module, seed: int = 0) -> None:
        super().__init__()
        if isinstance(network, Network) and not network.dense:
            raise ConfigError(f"restoration: expected a network with an answer for every voxel, got a {network.name}")
        if isinstance(network, Network) and network.out_channels != network.in_channels:
            raise ConfigError(
                f"restoration: expected a network with as many output as input channels ({network.in_channels}), "
                f"got {network.out_channels}"
            )
        self.task = task
        self.network = network.build(seed) if isinstance(network, Network) else network

    def forward(self, input: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return loss, restored output in [0, 1] (detached), and the figures mse and mae of that output.

        ``input`` and ``target`` are (B, C, D, H, W) in [0, 1].  The loss sees the prediction before clipping, so that
        no voxel is without a gradient.
        """
        raw = prediction(self.network(input), input, self.task.output).float()
        reference = target.float()
        loss = _LOSSES[self.task.loss](raw, reference)
        output = raw.detach().clamp(0.0, 1.0)
        error = output - reference
        return {"loss": loss, "output": output, "mse": error.square().mean(), "mae": error.abs().mean()}
