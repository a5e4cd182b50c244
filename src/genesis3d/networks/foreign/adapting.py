"""Making foreign weights fit a network that differs at its ends: channels of the scan, doubling, last convolution."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from genesis3d.networks.base import Network
from genesis3d.networks.foreign.hosting import Hosted
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FIRST", "HEAD", "adapted", "with_channels", "with_identity_doubling"]

FIRST = ("down_tr64.ops.0.conv1.weight", "encoder.conv1.weight")
HEAD = "out_tr.final_conv."
_DOUBLINGS = {"up_tr256": 16, "up_tr128": 8, "up_tr64": 4}  # channels, in widths


def adapted(hosted: Hosted, target: Network) -> Hosted:
    """Return ``hosted`` with its first convolution, doublings and last convolution made for ``target``."""
    state, notes = dict(hosted.state), list(hosted.notes)
    for key in FIRST:
        weight = state.get(key)
        if weight is not None and weight.ndim == 5 and weight.shape[1] != target.in_channels:
            state[key] = with_channels(weight, target.in_channels)
            notes.append(
                f"The first convolution saw {weight.shape[1]} channel(s) and now sees {target.in_channels}, so that "
                "equal channels give what one gave."
            )
    if isinstance(target, UNet3d) and isinstance(hosted.network, UNet3d):
        if target.decoder == "transpose" and hosted.network.decoder == "nearest" and hosted.family.part != "encoder":
            state = with_identity_doubling(state, target.width)
            notes.append("The file's decoder copies voxels: the learned doublings were set to do just that.")
        if target.decoder == "nearest" and hosted.network.decoder == "transpose":
            notes.append("The file's learned doublings have no place in a nearest decoder: the network needs training.")
    head = state.get(f"{HEAD}weight")
    if hosted.family.part == "encoder":
        notes.append("The decoder is initialised anew: fine-tune it.")
    elif hosted.family.part != "all" or head is None or head.shape[0] != target.out_channels:
        state = {key: value for key, value in state.items() if not key.startswith(HEAD)}
        notes.append(f"The last convolution ({target.out_channels} channel(s) out) is initialised anew: fine-tune it.")
    return replace(hosted, state=state, notes=tuple(notes))


def with_channels(weight: Tensor, channels: int) -> Tensor:
    """Return a first convolution (O, I, a, b, c) for ``channels`` inputs: the sum over I, shared out evenly.

    One channel that is repeated, or repeated channels that become one, give the same output as before.
    """
    return (weight.sum(dim=1, keepdim=True) / channels).repeat(1, channels, 1, 1, 1)


def with_identity_doubling(state: dict[str, Tensor], width: int) -> dict[str, Tensor]:
    """Return ``state`` with transposed convolutions that copy each voxel into 2x2x2: nearest doubling, exactly."""
    import torch

    result = dict(state)
    for level, widths in _DOUBLINGS.items():
        n = widths * width
        weight = torch.zeros(n, n, 2, 2, 2)
        weight[range(n), range(n)] = 1
        result[f"{level}.up_conv.weight"], result[f"{level}.up_conv.bias"] = weight, torch.zeros(n)
    return result
