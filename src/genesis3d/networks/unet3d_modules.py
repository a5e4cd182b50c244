"""The torch modules of the 3D U-Net; attribute names are those of the published state dict."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesis3d.networks.unet3d import EPSILONS

if TYPE_CHECKING:
    from genesis3d.networks.unet3d import Norm, UNet3d

    Maker = Callable[[int], nn.Module]

__all__ = ["BatchStatisticsNorm3d", "UNet3dModule", "normalisation"]


class BatchStatisticsNorm3d(nn.BatchNorm3d):
    """Batch normalisation that uses the statistics of the batch in training and in evaluation alike.

    Unlike the published module, the running statistics do not drift in evaluation.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x`` (B, C, D, H, W) by its own mean and variance over B, D, H, W."""
        mean, var = (self.running_mean, self.running_var) if self.training else (None, None)
        return functional.batch_norm(x, mean, var, self.weight, self.bias, True, self.momentum or 0.1, self.eps)


def normalisation(kind: Norm, channels: int, eps: float = 1e-5) -> nn.Module:
    """Return the normalisation called ``kind`` for ``channels`` features; ``eps`` is added to the variance."""
    if kind == "batch":
        return nn.BatchNorm3d(channels, eps=eps)
    if kind == "batch_statistics":
        return BatchStatisticsNorm3d(channels, eps=eps)
    if kind == "instance":
        return nn.InstanceNorm3d(channels, eps=eps, affine=True)
    if kind == "group":
        return nn.GroupNorm(max(1, channels // 8), channels, eps=eps)
    return nn.Identity()


def _factor(flat: bool) -> tuple[int, int, int]:
    return (1, 2, 2) if flat else (2, 2, 2)


class _Unit(nn.Module):
    """Convolution 3x3x3 (1x3x3 where ``flat``), normalisation, ReLU."""

    def __init__(self, i: int, o: int, norm: Maker, flat: bool) -> None:
        super().__init__()
        kernel, padding = ((1, 3, 3), (0, 1, 1)) if flat else ((3, 3, 3), (1, 1, 1))
        self.conv1 = nn.Conv3d(i, o, kernel_size=kernel, padding=padding)
        self.bn1 = norm(o)

    def forward(self, x: Tensor) -> Tensor:
        # oneDNN (torch 2.13) reads unset memory in the bfloat16 weight gradient of a 3x3x3 convolution two slices deep
        if torch.is_autocast_enabled("cpu") and x.device.type == "cpu" and x.shape[2] == 2:
            with torch.autocast("cpu", enabled=False):
                return self._unit(x.float())
        return self._unit(x)

    def _unit(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn1(self.conv1(x)), inplace=True)


class _Down(nn.Module):
    """Two units of one encoder level, before its pooling."""

    def __init__(self, i: int, middle: int, o: int, norm: Maker, flat: bool) -> None:
        super().__init__()
        self.ops = nn.Sequential(_Unit(i, middle, norm, flat), _Unit(middle, o, norm, flat))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.ops(x)
        return result


class _Up(nn.Module):
    """Doubling (in the slices alone where ``flat``), concatenation (upsampled first, skip second), two units."""

    def __init__(self, i: int, skip: int, norm: Maker, learned: bool, flat: bool) -> None:
        super().__init__()
        self.factor = _factor(flat)
        if learned:
            self.up_conv = nn.ConvTranspose3d(i, i, kernel_size=self.factor, stride=self.factor)
        self.learned = learned
        self.ops = nn.Sequential(_Unit(i + skip, skip, norm, flat), _Unit(skip, skip, norm, flat))

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        up = self.up_conv(x) if self.learned else functional.interpolate(x, scale_factor=self.factor, mode="nearest")
        result: Tensor = self.ops(torch.cat([up, skip], dim=1))
        return result


class _Out(nn.Module):
    """Convolution 1x1x1 to logits."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.final_conv = nn.Conv3d(i, o, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.final_conv(x)
        return result


class UNet3dModule(nn.Module):
    """The network of :class:`genesis3d.networks.unet3d.UNet3d`: logits (B, out, D, H, W) from (B, in, D, H, W)."""

    def __init__(self, config: UNet3d) -> None:
        super().__init__()
        self.config = config
        norm = partial(normalisation, config.norm, eps=EPSILONS[config.norm_eps])
        learned, w = config.decoder == "transpose", config.width
        level0, level1, level2, level3 = config.levels()
        flat = [level < config.flat for level in range(4)]
        self.down_tr64 = _Down(*level0, norm, flat[0])
        self.down_tr128 = _Down(*level1, norm, flat[1])
        self.down_tr256 = _Down(*level2, norm, flat[2])
        self.down_tr512 = _Down(*level3, norm, flat[3])
        self.up_tr256 = _Up(16 * w, 8 * w, norm, learned, flat[2])
        self.up_tr128 = _Up(8 * w, 4 * w, norm, learned, flat[1])
        self.up_tr64 = _Up(4 * w, 2 * w, norm, learned, flat[0])
        self.pooling = [_factor(one) for one in flat[:3]]
        self.out_tr = _Out(2 * w, config.out_channels)

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of the four levels, (B, 2w, D, H, W) to the bottleneck (B, 16w, D/8, H/8, W/8).

        Levels that are flat leave D as it is.
        """
        features = [self.down_tr64(x)]
        for size, level in zip(self.pooling, (self.down_tr128, self.down_tr256, self.down_tr512), strict=True):
            features.append(level(functional.max_pool3d(features[-1], size)))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; raises ConfigError for sizes that are not multiples of 8."""
        self.config.check(x.shape)
        skip0, skip1, skip2, bottleneck = self.encode(x)
        up = self.up_tr256(bottleneck, skip2)
        up = self.up_tr128(up, skip1)
        logits: Tensor = self.out_tr(self.up_tr64(up, skip0))
        return logits
