"""The layers of the Keras 3D U-Net by our names: ``depth_i_conv``, ``depth_i_bn`` and a last convolution.

The Keras net differs from the PyTorch one in its decoder (nearest doubling) and in the batch norm's epsilon (1e-3).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["UNITS", "from_keras", "to_keras"]

# Unit i of the Keras net.
UNITS = tuple(
    f"{level}.ops.{unit}"
    for level in ("down_tr64", "down_tr128", "down_tr256", "down_tr512", "up_tr256", "up_tr128", "up_tr64")
    for unit in (0, 1)
)
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_LAST = "conv3d_1"
_HEAD = "out_tr.final_conv"


def from_keras(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return ``layer/variable`` tensors by our names, (O, I, x, y, z); those without a place keep theirs.

    Kernels (x, y, z, I, O) become (O, I, x, y, z).  Raises ModelError when the last convolution, whose name Keras
    makes up, is not one.
    """
    import torch

    state: dict[str, Tensor] = {}
    last = _last_layer(tensors, path)
    for key, value in tensors.items():
        layer, _, variable = key.partition("/")
        state[_name(layer, variable, last) or key] = value.permute(4, 3, 0, 1, 2) if value.ndim == 5 else value
    for unit in UNITS:
        state[f"{unit}.bn1.num_batches_tracked"] = torch.tensor(0)
    return state


def _name(layer: str, variable: str, last: str) -> str:
    index, _, kind = layer.removeprefix("depth_").partition("_")
    if layer == last:
        return f"{_HEAD}.{'weight' if variable == 'kernel' else variable}"
    if not layer.startswith("depth_") or not index.isdigit() or int(index) >= len(UNITS):
        return ""
    unit = UNITS[int(index)]
    if kind == "conv" and variable in ("kernel", "bias"):
        return f"{unit}.conv1.{'weight' if variable == 'kernel' else 'bias'}"
    return f"{unit}.bn1.{_NORM[variable]}" if kind == "bn" and variable in _NORM else ""


def _last_layer(tensors: Mapping[str, Tensor], path: Path) -> str:
    found = [
        key.partition("/")[0]
        for key, value in tensors.items()
        if key.endswith("/kernel") and value.ndim == 5 and not key.startswith("depth_")
    ]
    if len(found) > 1:
        raise ModelError(f"{path}: expected one last convolution beside depth_0 to depth_13, got {', '.join(found)}")
    return found[0] if found else ""


def to_keras(state: Mapping[str, Tensor]) -> dict[str, list[tuple[str, NDArray[np.float32]]]]:
    """Return our weights, turned to (x, y, z), as Keras layers in order, each with its variables in order."""

    def kernel(name: str) -> NDArray[np.float32]:
        return state[name].permute(2, 3, 4, 1, 0).numpy()

    layers: dict[str, list[tuple[str, NDArray[np.float32]]]] = {}
    for i, unit in enumerate(UNITS):
        bias = state[f"{unit}.conv1.bias"].numpy()
        layers[f"depth_{i}_conv"] = [("kernel", kernel(f"{unit}.conv1.weight")), ("bias", bias)]
        layers[f"depth_{i}_bn"] = [(keras, state[f"{unit}.bn1.{ours}"].numpy()) for keras, ours in _NORM.items()]
    layers[_LAST] = [("kernel", kernel(f"{_HEAD}.weight")), ("bias", state[f"{_HEAD}.bias"].numpy())]
    return layers
