"""Configuration of a classifier: the encoder of another network, averaged over space, and a fully connected head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from genesis3d.networks.base import NETWORKS, Network, Parts
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Classifier"]


@NETWORKS.register("classifier")
class Classifier(Network):
    """One answer for a sub-volume: ``(B, in_channels, D, H, W)`` to logits ``(B, out_channels)``, one a class.

    The deepest features are averaged over space (global average pooling) and go through a fully connected head; with
    ``head="mlp"`` and ``hidden=1024`` it is the published target network of Models Genesis, with ``head="linear"`` and
    a frozen encoder a linear probe.
    """

    dense: ClassVar[bool] = False

    out_channels: int = Field(2, ge=1, le=64, description="classes")
    encoder: Annotated[Network, *NETWORKS.field()] = Field(
        default=UNet3d(width=16), description="network whose encoder it has; its own channels in and out do not count"
    )
    head: Literal["mlp", "linear"] = Field(
        "mlp", description="from features to classes: mlp (two layers, ReLU between) or linear (one)"
    )
    hidden: int = Field(1024, ge=1, le=8192, description="head mlp: units between its two layers")

    @field_validator("encoder")
    @classmethod
    def _has_an_encoder(cls, network: Network) -> Network:
        if not network.dense:
            raise ValueError(f"expected a network with an encoder of its own, got {network.name}")
        return network.replaced(in_channels=1, out_channels=1)

    @property
    def body(self) -> Network:
        """The network whose encoder it has, taking the channels that this one takes."""
        return self.encoder.replaced(in_channels=self.in_channels)

    @property
    def stride(self) -> int:
        """That of the encoder."""
        return self.encoder.stride

    @property
    def independent(self) -> bool:
        """That of the encoder."""
        return self.encoder.independent

    @property
    def parts(self) -> Parts:
        """The encoder's levels, no decoder, and the fully connected head."""
        theirs = self.encoder.parts
        levels = tuple(tuple(f"encoder.{prefix}" for prefix in level) for level in theirs.encoder)
        return Parts(encoder=levels, decoder=(), head=("head.",), first=f"encoder.{theirs.first}")

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        features, units, classes = self.encoder.bottleneck, self.hidden, self.out_channels
        head = (features + 1) * classes
        if self.head == "mlp":
            head = (features + 1) * units + (units + 1) * classes
        return self.body.encoder_parameters() + head

    def _module(self) -> nn.Module:
        from genesis3d.networks.classifier_modules import ClassifierModule

        return ClassifierModule(self)
