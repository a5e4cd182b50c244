"""Whether weights belong to a network: every name, every shape, every value finite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from genesis3d.errors import ModelError
from genesis3d.networks.base import Network

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["check_weights"]


def check_weights(state: dict[str, Tensor], network: Network, where: str) -> None:
    """Raise ModelError, in one sentence naming ``where``, unless ``state`` fills ``network`` exactly."""
    with torch.device("meta"):
        expected = network.build().state_dict()
    name = network.name
    missing, extra = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or extra:
        first = f"without {missing[0]}" if missing else f"with {extra[0]}"
        raise ModelError(f"{where}: expected the {len(expected)} weights of {name}, got {len(state)}, {first}")
    for key, wanted in expected.items():
        value = state[key]
        if value.shape != wanted.shape:
            raise ModelError(f"{where}: expected {key} of shape {tuple(wanted.shape)}, got {tuple(value.shape)}")
        if value.is_floating_point() != wanted.is_floating_point():
            raise ModelError(f"{where}: expected {key} as {wanted.dtype}, got {value.dtype}")
        if not bool(torch.isfinite(value).all()):
            raise ModelError(f"{where}: expected finite weights, got NaN or infinity in {key}")
