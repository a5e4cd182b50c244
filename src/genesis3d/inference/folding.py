"""Batch normalisation folded into the convolution before it: the same network with fewer passes over its features."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks.base import Network

__all__ = ["folded"]

CLOSE = 1e-3  # largest difference, as a share of the largest logit, that folding may make; rounding makes 1e-5


def folded(module: nn.Module, network: Network) -> nn.Module:
    """Return a copy of ``module`` (in eval mode, on the CPU) without batch norms that follow a convolution.

    y = g (conv(x) - m) / s + b is again a convolution (Jacob et al., CVPR 2018, section 3.2).  Which norm follows which
    convolution is read from the order of a module's children; a small trial decides whether that was right, and if it
    was not, the copy is left as it was.
    """
    import torch

    plain, merged = copy.deepcopy(module), copy.deepcopy(module)
    for parent in merged.modules():
        _fold_children(parent)
    size = (network.stride, 2 * network.stride, 2 * network.stride)
    probe = torch.rand(1, network.in_channels, *size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, found = plain(probe), merged(probe)
    small = float((expected - found).abs().max()) <= CLOSE * float(expected.abs().max())
    return merged if small else plain


def _fold_children(parent: nn.Module) -> None:
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    children = list(parent.named_children())
    for (name, conv), (after, norm) in pairwise(children):
        if type(conv) is nn.Conv3d and type(norm) is nn.BatchNorm3d and norm.num_features == conv.out_channels:
            setattr(parent, name, fuse_conv_bn_eval(conv, norm))
            setattr(parent, after, nn.Identity())
