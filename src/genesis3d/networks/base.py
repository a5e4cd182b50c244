"""What every network is: a configuration with a stride, a number of parameters and a module."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from genesis3d.errors import ConfigError
from genesis3d.registry import Named, Registry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "Network", "Parts"]


@dataclass(frozen=True)
class Parts:
    """The levels of a network from its input to its output; a level is the prefixes of its weights' names.

    Attributes
    ----------
    encoder, decoder : levels, from the first convolution to the bottleneck and on to full resolution
    head : prefixes of what makes the output from the last level's features
    first : name of the weights (O, in_channels, ...) of the first convolution
    """

    encoder: tuple[tuple[str, ...], ...]
    decoder: tuple[tuple[str, ...], ...]
    head: tuple[str, ...]
    first: str


class Network(Named):
    """A 3D network: ``(B, in_channels, D, H, W)`` to logits ``(B, out_channels, D, H, W)``.

    One that is not :attr:`dense` gives one answer for the whole sub-volume: logits ``(B, out_channels)``.
    """

    dense: ClassVar[bool] = True

    in_channels: int = Field(1, ge=1, le=16, description="channels of the scan (1 for CT)")
    out_channels: int = Field(1, ge=1, le=64, description="channels of the output (1 restores a one-channel scan)")

    @property
    def stride(self) -> int:
        """Sizes D, H, W of an input must be multiples of this."""
        raise NotImplementedError

    @property
    def independent(self) -> bool:
        """Whether a case's output in eval mode is the same alone and in any batch."""
        return True

    @property
    def parts(self) -> Parts:
        """What is encoder, decoder and head of the module; raises ConfigError for a network that does not say."""
        raise ConfigError(f"{self.name}: expected a network that names its encoder, decoder and head, got one without")

    @property
    def body(self) -> Network:
        """The network whose encoder this one has: itself, unless it borrows one."""
        return self

    @property
    def bottleneck(self) -> int:
        """Channels of the deepest features, the last of the module's ``encode(x)``."""
        raise ConfigError(f"{self.name}: expected a network with an encoder, got one without")

    def encoder_parameters(self) -> int:
        """Return the number of trainable parameters of the encoder, without building them."""
        raise ConfigError(f"{self.name}: expected a network with an encoder, got one without")

    def parameters(self) -> int:
        """Return the number of trainable parameters, without building them."""
        raise NotImplementedError

    def build(self, seed: int = 0) -> nn.Module:
        """Return a new module, float32 on the CPU, initialised from ``seed`` (global generators untouched)."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed % 2**63)
            return self._module()

    def _module(self) -> nn.Module:
        raise NotImplementedError

    def check(self, shape: Sequence[int]) -> None:
        """Raise ConfigError unless (..., C, D, H, W) fits: channels, multiples of the stride, twice it somewhere."""
        if not all(isinstance(n, int) for n in shape[-4:]):
            return  # sizes that are symbols, while a graph is exported
        channels, *sizes = (int(n) for n in shape[-4:])
        if channels != self.in_channels:
            raise ConfigError(f"{self.name}: expected {self.in_channels} input channel(s), got {channels}")
        n = self.stride
        if any(size < n or size % n for size in sizes) or max(sizes) < 2 * n:
            raise ConfigError(
                f"{self.name}: expected sizes (D, H, W) that are multiples of {n}, one of them at least {2 * n}, "
                f"got {tuple(sizes)}"
            )


NETWORKS: Registry[Network] = Registry(
    "network", [f"genesis3d.networks.{name}" for name in ("unet3d", "resnet3d", "classifier", "ensemble")]
)
