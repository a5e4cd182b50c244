"""The torch modules of the 3D ResNet; the encoder's attribute names are those of MedicalNet's and MONAI's weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from genesis3d.networks.resnet3d import BLOCKS
from genesis3d.networks.unet3d_modules import normalisation

if TYPE_CHECKING:
    from genesis3d.networks.resnet3d import ResNet3d

    Maker = Callable[[int], nn.Module]

__all__ = ["ResNet3dModule"]


class _PaddedShortcut(nn.Module):
    """Shortcut A: every ``stride``-th voxel, missing channels filled with zeros; without parameters."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride

    def forward(self, x: Tensor) -> Tensor:
        s = self.stride
        return functional.pad(x[:, :, ::s, ::s, ::s], (0,) * 7 + (self.channels - x.shape[1],))


class _Block(nn.Module):
    """Two 3x3x3 convolutions, or a bottleneck of 1x1x1, 3x3x3, 1x1x1, added to a shortcut."""

    def __init__(
        self, i: int, planes: int, norm: Maker, *, stride: int, dilation: int, shortcut: str, bottleneck: bool
    ) -> None:
        super().__init__()
        o = planes * 4 if bottleneck else planes
        wide = partial(nn.Conv3d, kernel_size=3, padding=dilation, dilation=dilation, bias=False)
        if bottleneck:
            self.conv1 = nn.Conv3d(i, planes, kernel_size=1, bias=False)
            self.bn1 = norm(planes)
            self.conv2 = wide(planes, planes, stride=stride)
            self.bn2 = norm(planes)
            self.conv3 = nn.Conv3d(planes, o, kernel_size=1, bias=False)
            self.bn3 = norm(o)
        else:
            self.conv1 = wide(i, planes, stride=stride)
            self.bn1 = norm(planes)
            self.conv2 = wide(planes, planes)
            self.bn2 = norm(planes)
        self.bottleneck = bottleneck
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or i != o:
            self.downsample = (
                nn.Sequential(nn.Conv3d(i, o, kernel_size=1, stride=stride, bias=False), norm(o))
                if shortcut == "B"
                else _PaddedShortcut(o, stride)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(functional.relu(y)))
        return functional.relu(y + self.downsample(x))


class _Encoder(nn.Module):
    """Stem and four stages."""

    def __init__(self, config: ResNet3d, norm: Maker) -> None:
        super().__init__()
        w, s = config.width, config.stem_stride
        self.conv1 = nn.Conv3d(config.in_channels, w, kernel_size=7, stride=s, padding=3, bias=False)
        self.bn1 = norm(w)
        counts, bottleneck = BLOCKS[config.depth]
        plans = [(1, 1), (2, 1), (1, 2) if config.dilated else (2, 1), (1, 4) if config.dilated else (2, 1)]
        stages = []
        for stage, (count, (stride, dilation)) in enumerate(zip(counts, plans, strict=True)):
            i, planes, o = config.features[stage], w << stage, config.features[stage + 1]
            block = partial(
                _Block, planes=planes, norm=norm, dilation=dilation, shortcut=config.shortcut, bottleneck=bottleneck
            )
            stages.append(nn.Sequential(block(i, stride=stride), *(block(o, stride=1) for _ in range(count - 1))))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of the stem and of the four stages."""
        stem = functional.relu(self.bn1(self.conv1(x)))
        features = [stem, self.layer1(functional.max_pool3d(stem, kernel_size=3, stride=2, padding=1))]
        for stage in (self.layer2, self.layer3, self.layer4):
            features.append(stage(features[-1]))
        return features


class _Level(nn.Module):
    """Copies up to the size of the skip, concatenation, convolution 3x3x3, normalisation, ReLU."""

    def __init__(self, i: int, skip: int, o: int, norm: Maker, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv3d(i + skip, o, kernel_size=3, padding=1)
        self.bn1 = norm(o)

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        if self.scale > 1:
            x = functional.interpolate(x, scale_factor=self.scale, mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return functional.relu(self.bn1(self.conv1(x)))


class ResNet3dModule(nn.Module):
    """The network of :class:`genesis3d.networks.resnet3d.ResNet3d`: logits (B, out, D, H, W) from (B, in, D, H, W)."""

    def __init__(self, config: ResNet3d) -> None:
        super().__init__()
        self.config = config
        norm = partial(normalisation, config.norm)
        self.encoder = _Encoder(config, norm)
        stem, first, second, third, deepest = config.features
        deep = 1 if config.dilated else 2
        scales = (deep, deep, 2, 2, config.stem_stride)
        skips = (third, second, first, stem, 0)
        levels, i = [], deepest
        for skip, o, scale in zip(skips, config.decoder, scales, strict=True):
            levels.append(_Level(i, skip, o, norm, scale))
            i = o
        self.decoder = nn.ModuleList(levels)
        self.final_conv = nn.Conv3d(i, config.out_channels, kernel_size=1)
        for module in (*self.encoder.modules(), *self.decoder.modules()):
            if isinstance(module, nn.Conv3d):  # He et al., ICCV 2015, section 2.2
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def encode(self, x: Tensor) -> list[Tensor]:
        """Return the features of the stem and of the four stages, the last at 1/32 (dilated: 1/8) of the size."""
        features: list[Tensor] = self.encoder(x)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits; raises ConfigError for sizes that are not multiples of the stride."""
        self.config.check(x.shape)
        *skips, y = self.encode(x)
        for level, skip in zip(self.decoder, [*reversed(skips), None], strict=True):
            y = level(y, skip)
        logits: Tensor = self.final_conv(y)
        return logits
