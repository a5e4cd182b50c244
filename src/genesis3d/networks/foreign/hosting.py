"""From a foreign file to the names, axes and configuration of a network of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError, ModelError
from genesis3d.networks.base import Network
from genesis3d.networks.foreign.axes import turned
from genesis3d.networks.foreign.families import FAMILIES, Family, recognise
from genesis3d.networks.foreign.keras_layout import from_keras
from genesis3d.networks.foreign.reading import ForeignFile
from genesis3d.networks.foreign.resnet_layout import resnet_of
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Hosted", "host"]


@dataclass(frozen=True, eq=False)
class Hosted:
    """Foreign weights under our names, (z, y, x).

    Attributes
    ----------
    path : the file
    family : what is known of them
    network : the configuration that has them as they are
    state : weights by the names of that network
    notes : sentences to be said
    """

    path: Path
    family: Family
    network: Network
    state: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def host(file: ForeignFile) -> Hosted:
    """Return the weights of ``file`` for a network of ours.

    Raises
    ------
    ModelError
        For a layout that is unknown or cannot be hosted, or shapes that no configuration has.
    """
    name = recognise(file)
    family = FAMILIES[name]
    notes = list(family.notes)
    if file.dropped:
        notes.append(f"{len(file.dropped)} weights of a head for pre-training alone are left out.")
    tensors = dict(file.tensors)
    try:
        if name == "genesis-keras":
            state = turned(from_keras(tensors, file.path))
            network: Network = _unet(state).replaced(norm_eps="keras")
        elif "layer1.0.conv1.weight" in tensors:
            network, tensors = resnet_of(tensors, dilated=name == "medicalnet", stem_stride=1 if "monai" in name else 2)
            state = turned(tensors) if family.turned else tensors
        else:
            state = turned(tensors)
            network = _unet(state)
    except (ConfigError, IndexError, KeyError) as error:
        raise ModelError(f"{file.path}: expected the shapes of {family.title}, got others ({error})") from error
    return Hosted(file.path, family, network, state, tuple(notes))


def _unet(state: Mapping[str, Tensor]) -> UNet3d:
    """Return the 3D U-Net whose shapes ``state`` has."""
    first, head = state["down_tr64.ops.0.conv1.weight"], state.get("out_tr.final_conv.weight")
    if first.ndim != 5 or (head is not None and head.ndim != 5):
        raise ConfigError(f"a convolution of shape {tuple(first.shape)}")
    decoded = any(key.startswith("up_tr") for key in state)
    learned = any(".up_conv." in key for key in state) or not decoded
    return UNet3d.parse(
        {
            "width": int(first.shape[0]),
            "in_channels": int(first.shape[1]),
            "out_channels": 1 if head is None else int(head.shape[0]),
            "decoder": "transpose" if learned else "nearest",
        }
    )
