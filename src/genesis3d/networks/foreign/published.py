"""Our 3D U-Net written in the two published layouts, key for key and in their axes."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING

from genesis3d.errors import ModelError
from genesis3d.networks.base import Network
from genesis3d.networks.foreign.adapting import with_identity_doubling
from genesis3d.networks.foreign.axes import turned
from genesis3d.networks.foreign.keras_file import CARD, keras_bytes
from genesis3d.networks.foreign.keras_layout import to_keras
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["keras_file", "pytorch_file"]

PREFIX = "module."  # the published file was saved from DataParallel


def pytorch_file(module: nn.Module, network: Network, card: str, *, epoch: int = 0, prefix: str = PREFIX) -> bytes:
    """Return a torch checkpoint in the published layout: ``epoch``, ``state_dict``, ``optimizer_state_dict``.

    The 106 entries are (x, y, z) and carry ``prefix``.  A nearest decoder gets transposed convolutions that copy
    voxels, which is the same function.  ``card`` stands beside them under ``genesis3d``, which other loaders pass over.

    Raises
    ------
    ModelError
        For a network that has no such layout.
    """
    import torch

    unet = _published(network, "pytorch")
    state = _state(module)
    if unet.decoder == "nearest":
        filled = with_identity_doubling(state, unet.width)
        with torch.device("meta"):
            state = {key: filled[key] for key in unet.replaced(decoder="transpose").build().state_dict()}
    content = {
        "epoch": epoch,
        "state_dict": OrderedDict((prefix + key, value) for key, value in turned(state).items()),
        # that of a new SGD at the published rate, for loaders that go on training
        "optimizer_state_dict": torch.optim.SGD(module.parameters(), lr=1.0, momentum=0.9).state_dict(),
        CARD: card,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def keras_file(module: nn.Module, network: Network, card: str) -> bytes:
    """Return a Keras weight file (HDF5) of the published layers, (x, y, z).

    Raises
    ------
    ModelError
        For a network that has no such layout, or whose doublings were learned: the Keras net copies voxels.
    """
    import torch

    unet = _published(network, "keras")
    state = _state(module)
    if unet.decoder == "transpose":
        copying = with_identity_doubling({}, unet.width)
        if any(not torch.equal(state[key], value) for key, value in copying.items()):
            raise ModelError("keras: expected a network with the nearest decoder, got one that learned its doublings")
    return keras_bytes(to_keras(turned(state)), card)


def _published(network: Network, kind: str) -> UNet3d:
    """Return ``network`` if the published layouts have its names; raises ModelError."""
    if not isinstance(network, UNet3d):
        raise ModelError(f"{kind}: expected a unet3d, the published network, got a {network.name}: export it as onnx")
    if network.norm not in ("batch", "batch_statistics"):
        raise ModelError(f"{kind}: expected a network with batch norm, as published, got {network.norm!r}")
    return network


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in module.state_dict().items()}
