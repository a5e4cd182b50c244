"""The 3D ResNets of MedicalNet, MONAI and SVD-Net by our names: all write ``conv1``, ``bn1``, ``layer1.0.conv1`` ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError
from genesis3d.networks.resnet3d import BLOCKS, ResNet3d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["resnet_of"]

_STAGES = ("layer1", "layer2", "layer3", "layer4")


def resnet_of(tensors: Mapping[str, Tensor], *, dilated: bool, stem_stride: int) -> tuple[ResNet3d, dict[str, Tensor]]:
    """Return the configuration whose encoder has these weights, and the weights by its names.

    A bias before the batch norm of a shortcut (MONAI's default) is taken off the running mean that follows, which
    changes nothing: the statistics of the batch cancel it, and stored ones are shifted by it.

    Raises
    ------
    ConfigError
        For numbers of blocks other than those of depth 10, 18, 34 and 50.
    """
    blocks = tuple(_blocks(tensors, stage) for stage in _STAGES)
    bottleneck = "layer1.0.conv3.weight" in tensors
    depth = next((d for d, (n, wide) in BLOCKS.items() if n == blocks and wide == bottleneck), None)
    if depth is None:
        raise ConfigError(f"expected a 3D ResNet of depth {', '.join(map(str, BLOCKS))}, got blocks {blocks}")
    network = ResNet3d.parse(
        {
            "depth": depth,
            "width": int(tensors["conv1.weight"].shape[0]),
            "in_channels": int(tensors["conv1.weight"].shape[1]),
            "shortcut": "B" if "layer2.0.downsample.0.weight" in tensors else "A",
            "dilated": dilated,
            "stem_stride": stem_stride,
        }
    )
    state = {key: value for key, value in tensors.items() if not key.endswith("downsample.0.bias")}
    for key in tensors.keys() - state.keys():
        mean = key.replace("downsample.0.bias", "downsample.1.running_mean")
        if mean in state and state[mean].shape == tensors[key].shape:
            state[mean] = state[mean] - tensors[key]
    ours = ("conv1.", "bn1.", *(f"{stage}." for stage in _STAGES))
    return network, {f"encoder.{key}" if key.startswith(ours) else key: value for key, value in state.items()}


def _blocks(tensors: Mapping[str, Tensor], stage: str) -> int:
    return len({key.split(".")[1] for key in tensors if key.startswith(f"{stage}.") and key.count(".") > 2})
