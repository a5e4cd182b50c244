"""The self-supervised transformations of Models Genesis, one file each, and the chain that combines them."""

from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform, plain_path, select
from genesis3d.transforms.chain import Chain, Choice, Step
from genesis3d.transforms.coarse_noise import CoarseNoise
from genesis3d.transforms.flip import Flip
from genesis3d.transforms.identity import Identity
from genesis3d.transforms.nonlinear import NonLinear, curve
from genesis3d.transforms.opacity import Opacity
from genesis3d.transforms.painting import Inpainting, Outpainting
from genesis3d.transforms.presets import CHAIN_PRESETS, chain_preset
from genesis3d.transforms.shuffling import LocalShuffling

__all__ = [
    "CHAIN_PRESETS",
    "TRANSFORMS",
    "Chain",
    "Choice",
    "CoarseNoise",
    "Flip",
    "Identity",
    "Inpainting",
    "LocalShuffling",
    "NonLinear",
    "Opacity",
    "Outpainting",
    "Params",
    "Shape",
    "Step",
    "Transform",
    "chain_preset",
    "curve",
    "plain_path",
    "select",
]
