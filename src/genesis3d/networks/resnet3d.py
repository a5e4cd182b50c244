"""Configuration of a 3D ResNet with a decoder: the host of MedicalNet's, MONAI's and SVD-Net's encoders."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from genesis3d.networks.base import NETWORKS, Network, Parts
from genesis3d.networks.unet3d import Norm

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BLOCKS", "ResNet3d"]

# Blocks of the four stages by depth, and whether a block is a bottleneck (1x1x1, 3x3x3, 1x1x1) or two 3x3x3.
BLOCKS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
}


@NETWORKS.register("resnet3d")
class ResNet3d(Network):
    """3D ResNet (He et al., CVPR 2016, in 3D) with a decoder that meets its features, logits out at full resolution.

    The encoder is a 7x7x7 convolution, a 3x3x3 max pooling by 2 and four stages of residual blocks; its names below
    ``encoder.`` are those of MedicalNet and of MONAI's ResNet.  The decoder doubles by copies, concatenates the
    encoder's features and convolves once a level.
    """

    depth: Literal[10, 18, 34, 50] = Field(18, description="layers of the ResNet: 50 has bottleneck blocks")
    width: int = Field(64, ge=2, le=128, description="channels of the first convolution; published encoders have 64")
    shortcut: Literal["A", "B"] = Field(
        "B",
        description="where a block changes its shape: A subsamples and pads with zeros, B learns a 1x1x1 convolution "
        "(MedicalNet: A at depth 18 and 34, B at 10 and 50)",
    )
    stem_stride: Literal[1, 2] = Field(
        2, description="stride of the first convolution: 2 in MedicalNet, 1 is MONAI's usual (8 times the work)"
    )
    dilated: bool = Field(
        False,
        description="the last two stages keep their resolution and widen their kernels by 2 and 4, as MedicalNet was "
        "trained; MONAI strides by 2 instead",
    )
    norm: Norm = Field("batch", description="after each convolution; published encoders have batch norm")

    @property
    def stride(self) -> int:
        """The stem, its pooling, and the stages that stride by 2."""
        return self.stem_stride * 2 * (2 if self.dilated else 8)

    @property
    def independent(self) -> bool:
        """Only statistics taken over the batch tie the cases of a batch together."""
        return self.norm != "batch_statistics"

    @property
    def parts(self) -> Parts:
        """The stem and four stages down, five levels up, and the last convolution."""
        stages = tuple((f"encoder.layer{stage}.",) for stage in (1, 2, 3, 4))
        return Parts(
            encoder=(("encoder.conv1.", "encoder.bn1."), *stages),
            decoder=tuple((f"decoder.{level}.",) for level in range(5)),
            head=("final_conv.",),
            first="encoder.conv1.weight",
        )

    @property
    def bottleneck(self) -> int:
        """Channels of the fourth stage."""
        return self.features[-1]

    @property
    def features(self) -> tuple[int, int, int, int, int]:
        """Channels of the stem and of the four stages."""
        w, e = self.width, 4 if BLOCKS[self.depth][1] else 1
        return w, w * e, 2 * w * e, 4 * w * e, 8 * w * e

    @property
    def decoder(self) -> tuple[int, int, int, int, int]:
        """Channels of the decoder's levels, from the deepest to full resolution."""
        w = self.width
        return 4 * w, 2 * w, w, w, max(1, w // 2)

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        affine = 0 if self.norm == "none" else 2
        total, i = self.encoder_parameters(), self.bottleneck
        for skip, o in zip((*reversed(self.features[:4]), 0), self.decoder, strict=True):
            total += (27 * (i + skip) + 1 + affine) * o
            i = o
        return total + (i + 1) * self.out_channels

    def encoder_parameters(self) -> int:
        """Return the number of trainable parameters of the stem and the four stages."""
        affine = 0 if self.norm == "none" else 2
        total = (343 * self.in_channels + affine) * self.width
        return total + sum(
            self._stage_parameters(stage, i, o, affine) for stage, (i, o) in enumerate(pairwise(self.features))
        )

    def _stage_parameters(self, stage: int, i: int, o: int, affine: int) -> int:
        """Return the parameters of one stage, ``i`` to ``o`` channels."""
        counts, bottleneck = BLOCKS[self.depth]
        planes, total = self.width << stage, 0
        strided = stage > 0 and not (self.dilated and stage > 1)
        for block in range(counts[stage]):
            first = i if block == 0 else o
            if bottleneck:
                total += first * planes + 27 * planes * planes + planes * o + affine * (2 * planes + o)
            else:
                total += 27 * (first + planes) * planes + affine * 2 * planes
            if block == 0 and self.shortcut == "B" and (strided or i != o):
                total += (i + affine) * o
        return total

    def _module(self) -> nn.Module:
        from genesis3d.networks.resnet3d_modules import ResNet3dModule

        return ResNet3dModule(self)
