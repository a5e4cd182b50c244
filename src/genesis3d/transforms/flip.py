"""Flips of input and target together, as the published code does before its transformations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform

if TYPE_CHECKING:
    import torch

__all__ = ["Flip"]

_SPATIAL = ("D", "H", "W")


@TRANSFORMS.register("flip")
class Flip(Transform):
    """Mirror the sub-volume: up to ``repeats`` times, each with ``p``, along one of ``axes`` drawn evenly.

    Two flips along one axis undo each other.  The published code draws from (channel, H, W): a third of its flips do
    nothing and D is never mirrored; the preset ``official`` reproduces that.
    """

    label: ClassVar[str] = "flip"
    spatial: ClassVar[bool] = True

    p: float = Field(0.4, ge=0, le=1, description="chance of a flip, and after it of a further one")
    repeats: int = Field(3, ge=1, le=10, description="most flips of one sub-volume")
    axes: tuple[Literal["channel", "D", "H", "W"], ...] = Field(
        ("D", "H", "W"), min_length=1, description="axes to draw from; channel stands for no flip"
    )

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``flips``, (3,) bool: whether D, H, W are mirrored."""
        names: list[str] = []
        for going, which in address.generator().random((self.repeats, 2)).tolist():
            if going >= self.p:
                break
            names.append(self.axes[int(which * len(self.axes))])
        return {"flips": np.array([names.count(axis) % 2 == 1 for axis in _SPATIAL])}

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        flips = params["flips"]
        if not flips.any():
            return x
        if (flips == flips[0]).all():
            return x.flip([axis + 2 for axis in range(3) if flips[0, axis]])
        out = x.clone()
        for i in np.flatnonzero(flips.any(axis=1)):
            out[i] = x[i].flip([axis + 1 for axis in range(3) if flips[i, axis]])
        return out
