"""Whose weights a file holds, and what is known of them: part of the network, batch norm, input, terms of use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from genesis3d.errors import ModelError
from genesis3d.intensity import CtIntensity, Intensity, MinMax
from genesis3d.networks.foreign.reading import ForeignFile

__all__ = ["FAMILIES", "Family", "recognise"]

Part = Literal["all", "backbone", "encoder"]

_ASU = (
    "If these are the weights published by Arizona State University: academic and non-commercial use only, revocable, "
    "patent pending; passing them on must stay non-commercial and carry their licence. See that licence."
)
_NC_ND = (
    "If these are the published weights: CC BY-NC-ND, that is non-commercial, with attribution, no changed copies "
    "passed on. See their licence."
)
_GENESIS_PATCH = (32, 64, 64)


@dataclass(frozen=True)
class Family:
    """A layout of published weights and the facts that come with it.

    Attributes
    ----------
    title : for people
    part : what of a network of ours the weights fill: ``all``, all but the last convolution, or the ``encoder``
    running : whether the published network uses running statistics (else those of the batch)
    intensity : how its scans were mapped to [0, 1]
    modality : of those scans, empty if unknown
    patch : sub-volume (D, H, W) in voxels, spacing : (z, y, x) in mm, as published
    licence : notice for the card
    turned : whether its arrays are (x, y, z)
    notes : sentences to be said
    """

    title: str
    part: Part
    running: bool
    intensity: Intensity
    licence: str
    modality: str = ""
    patch: tuple[int, int, int] | None = None
    spacing: tuple[float, float, float] | None = None
    turned: bool = True
    notes: tuple[str, ...] = ()


_RESNET_INPUT = "Its scans were normalised to mean 0 and variance 1; here they enter in [0, 1]: fine-tune it."

FAMILIES: dict[str, Family] = {
    "genesis": Family(
        "Models Genesis (3D U-Net, PyTorch)", "all", False, CtIntensity(), _ASU, "CT", _GENESIS_PATCH
    ),
    "genesis-keras": Family(
        "Models Genesis (3D U-Net, Keras)", "all", True, CtIntensity(), _ASU, "CT", _GENESIS_PATCH
    ),
    "semantic-genesis": Family(
        "Semantic Genesis or TransVW (3D U-Net)", "all", False, CtIntensity(), _ASU, "CT", _GENESIS_PATCH
    ),
    "pcrlv2": Family(
        "PCRLv2 (encoder of the 3D U-Net)", "encoder", False, CtIntensity(),
        "If these are the published weights: MIT licence, with its notice.", "CT", _GENESIS_PATCH,
        notes=("Its decoder has no skip connections: ours is initialised anew.",),
    ),
    "suprem": Family(
        "SuPreM or CLIP-Driven Universal Model (3D U-Net)", "backbone", False, CtIntensity(low=-250, high=250), _NC_ND,
        "CT", (96, 96, 96), (1.5, 1.5, 1.5),
        notes=("The window is that of SuPreM, [-250, 250] HU at 1.5 mm; check it for other weights of this layout.",),
    ),
    "medicalnet": Family(
        "MedicalNet (3D ResNet)", "encoder", True, MinMax(),
        "If these are the published weights: MIT licence, with its notice.", notes=(_RESNET_INPUT,),
    ),
    "monai-resnet": Family(
        "MONAI 3D ResNet", "encoder", True, MinMax(), "", notes=(
            _RESNET_INPUT, "MONAI's usual first stride is 1: give the network if it was trained with another.",
        ),
    ),
    "svd-net": Family(
        "SVD-Net (3D ResNet)", "encoder", True, MinMax(),
        "If these are the published weights: Apache-2.0.", turned=False, notes=(
            _RESNET_INPUT, "It was trained with depth never strided; its kernels are used with strides along all axes.",
        ),
    ),
}  # fmt: skip

# Layouts that are known and that no network here can host: a piece of a name, and whose it is.
_REFUSED = {
    "conv_blocks_": "nnU-Net v1 (Generic_UNet: five poolings, instance norm, leaky ReLU)",
    "encoder.stages.": "a residual-encoder U-Net of nnU-Net v2, OpenMind or STU-Net",
    "swinViT.": "Swin UNETR",
    "swin_vit.": "Swin UNETR",
    "eva.": "Primus or another vision transformer",
}


def recognise(file: ForeignFile) -> str:
    """Return the key in :data:`FAMILIES` of the weights in ``file``; raises ModelError for an unknown layout."""
    keys, prefixes = file.tensors.keys(), file.prefixes
    if any(key.startswith("depth_0_conv/") for key in keys):
        return "genesis-keras"
    if "down_tr64.ops.0.conv1.weight" in keys:
        return _unet(file)
    if "conv1.weight" in keys and "layer1.0.conv1.weight" in keys:
        if "backbone." in prefixes:
            return "svd-net"
        return "medicalnet" if file.entry == "state_dict" and "module." in prefixes else "monai-resnet"
    for piece, whose in _REFUSED.items():
        if any(key.startswith(piece) or f".{piece}" in key for key in keys):
            raise ModelError(f"{file.path}: these are weights of {whose}, which no network here can host")
    first = ", ".join(sorted(keys)[:3])
    raise ModelError(
        f"{file.path}: expected weights of a 3D U-Net of Models Genesis, its relatives, or a 3D ResNet, "
        f"got {len(keys)} others ({first[:160]} ...)"
    )


def _unet(file: ForeignFile) -> str:
    first, up = file.tensors["down_tr64.ops.0.conv1.weight"], file.tensors.get("up_tr256.ops.0.conv1.weight")
    if first.ndim == 5 and up is not None and up.ndim == 5 and up.shape[1] != 24 * first.shape[0]:
        return "pcrlv2"  # no skip enters its decoder
    if "backbone." in file.prefixes:
        return "suprem"
    return "semantic-genesis" if "classficationNet." in file.prefixes or file.dropped else "genesis"
