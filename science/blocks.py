"""Hidden blocks as a transformation for pre-training; load it as a plugin: --plugin science/blocks.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform

if TYPE_CHECKING:
    import torch


@TRANSFORMS.register("blocks")
class Blocks(Transform):
    """Hide blocks of a grid behind the mean intensity, as masked autoencoders do (SparK, Tian et al., ICLR 2023)."""

    label: ClassVar[str] = "masked blocks"

    block: tuple[int, int, int] = Field((8, 8, 8), description="voxels of a block, (D, H, W)")
    share: float = Field(0.6, ge=0, le=1, description="chance of each block to be hidden")

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``hidden``: the grid of blocks."""
        grid = [-(-n // b) for n, b in zip(shape[1:], self.block, strict=True)]
        return {"hidden": address.generator().random(grid) < self.share}

    def masked_fraction(self, params: Params) -> NDArray[np.float64]:
        """Return the hidden share of blocks of each case, (B,)."""
        return np.asarray(params["hidden"].mean(axis=(1, 2, 3)), dtype=np.float64)

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        hidden = params["hidden"]
        for axis, size in enumerate(self.block, start=1):
            hidden = hidden.repeat(size, axis=axis)
        d, h, w = x.shape[2:]
        mask = torch.from_numpy(np.ascontiguousarray(hidden[:, None, :d, :h, :w])).to(x.device)
        return torch.where(mask, x.mean(dim=(2, 3, 4), keepdim=True), x)
