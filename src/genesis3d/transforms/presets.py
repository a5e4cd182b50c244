"""Named chains: values of :class:`Chain`, where the paper and its published code part ways (docs/transforms.md)."""

from __future__ import annotations

from genesis3d.errors import ConfigError
from genesis3d.transforms.base import Transform
from genesis3d.transforms.chain import Chain, Choice, Step
from genesis3d.transforms.coarse_noise import CoarseNoise
from genesis3d.transforms.flip import Flip
from genesis3d.transforms.identity import Identity
from genesis3d.transforms.nonlinear import NonLinear
from genesis3d.transforms.opacity import Opacity
from genesis3d.transforms.painting import Inpainting, Outpainting
from genesis3d.transforms.shuffling import LocalShuffling

__all__ = ["CHAIN_PRESETS", "chain_preset"]


def _official() -> Chain:
    return Chain(
        steps=(
            Step(transform=Flip(axes=("channel", "H", "W"))),
            Step(transform=LocalShuffling(windows=10_000), p=0.5),
            Step(transform=NonLinear(), p=0.9),
            Choice(options=(Inpainting(), Outpainting()), weights=(0.2, 0.8), p=0.9),
        )
    )


def _paper() -> Chain:
    shuffling = LocalShuffling(windows=1_000, permutation="separable", compose=True)
    inner = Inpainting(boxes=10, fill="constant", max_masked_fraction=0.25)
    outer = Outpainting(boxes=10, fill="constant", max_masked_fraction=0.25)
    return Chain(
        steps=(
            Step(transform=shuffling, p=0.5),
            Step(transform=NonLinear(p_linear=0.1), p=0.9),
            Choice(options=(inner, outer), weights=(0.2, 0.8), p=0.9),
        )
    )


def _gentle() -> Chain:
    return Chain(
        steps=(
            Step(transform=Flip()),
            Step(transform=NonLinear(p_decreasing=0.2), p=0.5),
            Choice(options=(Inpainting(), Outpainting()), weights=(0.4, 0.2), p=0.6),
        )
    )


def _moderate() -> Chain:
    return Chain(
        steps=(
            Step(transform=Flip()),
            Step(transform=LocalShuffling(), p=0.3),
            Step(transform=NonLinear(p_decreasing=0.35), p=0.7),
            Choice(options=(Inpainting(), Outpainting()), weights=(0.4, 0.6), p=0.8),
        )
    )


def _opacity_mix() -> Chain:
    """Of the sub-volumes 28 % stay untouched, 12 % get coarse noise alone, 42 % opacities alone, 18 % both."""
    return Chain(steps=(Step(transform=Flip()), Step(transform=Opacity(), p=0.6), Step(transform=CoarseNoise(), p=0.3)))


def _alone(transform: Transform) -> Chain:
    return Chain(steps=(Step(transform=transform),))


CHAIN_PRESETS: dict[str, Chain] = {
    "default": Chain(),
    "official": _official(),
    "paper": _paper(),
    "moderate": _moderate(),
    "gentle": _gentle(),
    "identity": _alone(Identity()),
    "nonlinear": _alone(NonLinear()),
    "shuffling": _alone(LocalShuffling()),
    "inpainting": _alone(Inpainting()),
    "outpainting": _alone(Outpainting()),
    "opacity": _alone(Opacity()),
    "opacity-mix": _opacity_mix(),
}


def chain_preset(name: str) -> Chain:
    """Return the chain called ``name``; raises ConfigError naming those that exist."""
    if name not in CHAIN_PRESETS:
        raise ConfigError(f"chain preset: expected one of {', '.join(CHAIN_PRESETS)}, got {name!r}")
    return CHAIN_PRESETS[name]
