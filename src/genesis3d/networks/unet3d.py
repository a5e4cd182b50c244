"""Configuration of the 3D U-Net of Models Genesis (Zhou et al., MIA 2021, section 2.3 and the published weights)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from genesis3d.networks.base import NETWORKS, Network, Parts

if TYPE_CHECKING:
    from torch import nn

__all__ = ["EPSILONS", "Epsilon", "Norm", "UNet3d"]

Norm = Literal["batch", "batch_statistics", "instance", "group", "none"]
Epsilon = Literal["torch", "keras"]
EPSILONS: dict[Epsilon, float] = {"torch": 1e-5, "keras": 1e-3}


@NETWORKS.register("unet3d")
class UNet3d(Network):
    """3D U-Net: four levels of two 3x3x3 convolutions, three poolings by 2, logits out.

    Width 32 with ``decoder="transpose"`` and a batch norm has the 19,073,665 parameters and the 106 state-dict keys of
    the published PyTorch weights (``down_tr64.ops.0.conv1.weight`` ...); ``decoder="nearest"`` the 16,320,257
    parameters of the paper.  The arrays are (D, H, W); the published ones are (x, y, z).
    """

    width: int = Field(
        32, ge=2, le=128, description="channels of the first convolution; the parameters grow with its square"
    )
    decoder: Literal["transpose", "nearest"] = Field(
        "transpose",
        description="how the decoder doubles its resolution: a learned 2x2x2 transposed convolution or copies",
    )
    norm: Norm = Field(
        "batch",
        description="after each convolution; batch_statistics: the statistics of the batch at all times, as the "
        "published weights were trained and used",
    )
    norm_eps: Epsilon = Field(
        "torch", description="what a normalisation adds to the variance: torch 1e-5, keras 1e-3 (the Keras weights)"
    )
    flat: int = Field(
        0, ge=0, le=2, description="first levels that keep thick slices apart: convolutions 1x3x3, pooling 1x2x2"
    )

    @property
    def stride(self) -> int:
        """Three poolings by 2."""
        return 8

    @property
    def independent(self) -> bool:
        """Only statistics taken over the batch tie the cases of a batch together."""
        return self.norm != "batch_statistics"

    @property
    def parts(self) -> Parts:
        """Four levels down, three up, and the last convolution."""
        return Parts(
            encoder=(("down_tr64.",), ("down_tr128.",), ("down_tr256.",), ("down_tr512.",)),
            decoder=(("up_tr256.",), ("up_tr128.",), ("up_tr64.",)),
            head=("out_tr.",),
            first="down_tr64.ops.0.conv1.weight",
        )

    @property
    def bottleneck(self) -> int:
        """Channels of the fourth level."""
        return 16 * self.width

    def levels(self) -> list[tuple[int, int, int]]:
        """Return (in, middle, out) channels of the four encoder levels; the last one is the bottleneck."""
        w = self.width
        return [(self.in_channels, w, 2 * w)] + [(w << i, w << i, w << (i + 1)) for i in (1, 2, 3)]

    def parameters(self) -> int:
        """Return the number of trainable parameters: 19,073,665 for the published network."""
        total = self.encoder_parameters()
        for level in (2, 1, 0):
            n = self.width << (level + 2)
            total += self._convolutions([(n + n // 2, n // 2), (n // 2, n // 2)], level)
            if self.decoder == "transpose":
                total += (4 if level < self.flat else 8) * n * n + n
        return total + 2 * self.width * self.out_channels + self.out_channels

    def encoder_parameters(self) -> int:
        """Return the number of trainable parameters of the four levels down."""
        return sum(self._convolutions([(a, b), (b, c)], level) for level, (a, b, c) in enumerate(self.levels()))

    def _convolutions(self, channels: list[tuple[int, int]], level: int) -> int:
        affine = 0 if self.norm == "none" else 2
        return sum((9 if level < self.flat else 27) * i * o + o + affine * o for i, o in channels)

    def _module(self) -> nn.Module:
        from genesis3d.networks.unet3d_modules import UNet3dModule

        return UNet3dModule(self)
