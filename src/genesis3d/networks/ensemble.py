"""Configuration of an ensemble: several trained networks of one kind as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator

from genesis3d.networks.base import NETWORKS, Network, Parts
from genesis3d.networks.card import Activation
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Ensemble"]


@NETWORKS.register("ensemble")
class Ensemble(Network):
    """The mean of what ``members`` networks say, each after its activation.

    What it gives are logits again, those whose activation is that mean: so an ensemble is used like any other network,
    in windows, in half precision and averaged over mirrored copies.
    """

    network: Annotated[Network, *NETWORKS.field()] = Field(
        default=UNet3d(width=8), description="network of each member; its own channels in and out do not count"
    )
    members: int = Field(3, ge=1, le=16, description="number of networks")
    activation: Activation = Field("linear", description="what the members' logits become before their mean is taken")

    @field_validator("network")
    @classmethod
    def _one_of_its_own(cls, network: Network) -> Network:
        if not network.dense or isinstance(network, Ensemble):
            raise ValueError(f"expected a network with an answer for every voxel and of one member, got {network.name}")
        return network.replaced(in_channels=1, out_channels=1)

    @property
    def member(self) -> Network:
        """The network of each member, of the channels that this one takes and gives."""
        return self.network.replaced(in_channels=self.in_channels, out_channels=self.out_channels)

    @property
    def stride(self) -> int:
        """That of a member."""
        return self.network.stride

    @property
    def independent(self) -> bool:
        """That of a member."""
        return self.network.independent

    @property
    def parts(self) -> Parts:
        """The levels of all members, level by level."""
        theirs = self.network.parts
        return Parts(
            encoder=tuple(self._of_all(level) for level in theirs.encoder),
            decoder=tuple(self._of_all(level) for level in theirs.decoder),
            head=self._of_all(theirs.head),
            first=f"networks.0.{theirs.first}",
        )

    @property
    def bottleneck(self) -> int:
        """The deepest features of all members, one after another."""
        return self.members * self.network.bottleneck

    def encoder_parameters(self) -> int:
        """Return the number of trainable parameters of all encoders."""
        return self.members * self.member.encoder_parameters()

    def parameters(self) -> int:
        """Return the number of trainable parameters of all members."""
        return self.members * self.member.parameters()

    def _of_all(self, level: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"networks.{index}.{prefix}" for index in range(self.members) for prefix in level)

    def _module(self) -> nn.Module:
        from genesis3d.networks.ensemble_module import EnsembleModule

        return EnsembleModule(self)
