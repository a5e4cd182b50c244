"""The identity: the sub-volume as it is (Models Genesis, Fig. 1: none of the four selected)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform

if TYPE_CHECKING:
    import torch

__all__ = ["Identity"]


@TRANSFORMS.register("identity")
class Identity(Transform):
    """Leave the sub-volume as it is."""

    label: ClassVar[str] = "identity"

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return no parameters."""
        return {}

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        return x
