"""Local pixel shuffling: voxels change places inside many small windows (Models Genesis, section 2.2, 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform, compiled

if TYPE_CHECKING:
    import torch

__all__ = ["LocalShuffling"]

Extent = Annotated[int, Field(ge=1, le=64)]
Extents = tuple[Extent, Extent, Extent]


@TRANSFORMS.register("shuffling")
class LocalShuffling(Transform):
    """Shuffle the voxels inside random windows.

    By default every window reads from the original sub-volume and the highest window index wins where windows
    overlap, as in the published code: some voxels appear twice and others vanish.  With ``compose`` the windows act
    one after the other on the result (the paper), which keeps the histogram exactly.
    """

    label: ClassVar[str] = "local shuffling"

    windows: Annotated[int, Field(ge=0, le=1_000_000)] | None = Field(
        None, description="number of windows; none: as many as the coverage asks for"
    )
    coverage: float = Field(
        1.87, ge=0, le=50, description="voxel writes per voxel (1.87 is 10,000 windows at 64 x 64 x 32)"
    )
    smallest: Extents = Field((1, 1, 1), description="smallest window (D, H, W), in voxels")
    largest: Extents = Field((3, 6, 6), description="largest window (D, H, W), in voxels")
    permutation: Literal["full", "separable"] = Field(
        "full", description="full: any voxel to any place (published code); separable: along each axis (paper, Eq. 4)"
    )
    compose: bool = Field(False, description="windows act one after the other and keep the histogram (paper)")

    @model_validator(mode="after")
    def _ordered(self) -> LocalShuffling:
        if any(low > high for low, high in zip(self.smallest, self.largest, strict=True)):
            raise ValueError(f"expected smallest <= largest windows, got {self.smallest} and {self.largest}")
        return self

    def count(self, shape: Shape) -> int:
        """Return the number of windows for a sub-volume of ``shape`` (C, D, H, W)."""
        if self.windows is not None:
            return self.windows
        mean = np.prod([(low + high) / 2 for low, high in zip(self.smallest, self.largest, strict=True)])
        return round(self.coverage * float(np.prod(shape[1:])) / float(mean))

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``key``, uint64, and ``windows``, int64: window ``w`` is expanded from ``hash64(key, w)``."""
        if any(extent > size for extent, size in zip(self.largest, shape[1:], strict=True)):
            raise ConfigError(f"{self.label}: expected windows within {shape[1:]} voxels, got up to {self.largest}")
        return {"key": np.asarray(address.key(), np.uint64), "windows": np.asarray(self.count(shape), np.int64)}

    def boxes(self, params: Params, shape: Shape) -> NDArray[np.int64]:
        """Return the windows of one case (``params`` without axis B): (N, 6), first voxel and extent, in voxels."""
        from genesis3d.transforms import permutations
        from genesis3d.transforms.hashing import key_tensor

        key = key_tensor(params["key"][None], "cpu")
        start, extent, _ = permutations.windows(key, int(params["windows"]), self.smallest, self.largest, shape[1:])
        return np.concatenate([start[0].numpy(), extent[0].numpy()], axis=1)

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        if compiled(x):
            return self._compiled(x, params)
        import torch

        from genesis3d.transforms import permutations

        dims, separable = (x.shape[2], x.shape[3], x.shape[4]), self.permutation == "separable"
        keys, counts = params["key"], params["windows"]
        if self.compose:  # windows wait for each other: the map is made on the CPU, and only the map travels
            maps = [self._sources(key, int(count), dims) for key, count in zip(keys, counts, strict=True)]
            source = torch.from_numpy(np.stack(maps).astype(np.int64)).to(x.device)
        else:
            source = permutations.sources(keys, counts, self.smallest, self.largest, dims, separable, x.device)
        source = source[:, None].expand(-1, x.shape[1], -1)
        return x.detach().flatten(2).gather(2, source).reshape(x.shape)

    def _sources(self, key: Any, count: int, dims: tuple[int, int, int]) -> NDArray[np.int32]:
        from genesis3d.transforms import kernels

        source = np.empty(dims[0] * dims[1] * dims[2], np.int32)
        limits = (np.array(size, np.int64) for size in (self.smallest, self.largest, dims))
        kernels.shuffle_sources(np.uint64(key), count, *limits, self.permutation == "separable", self.compose, source)
        return source

    def _compiled(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        from genesis3d.transforms import kernels

        x = x.detach().contiguous()
        out = torch.empty_like(x)
        for i in range(x.shape[0]):
            source = self._sources(params["key"][i], int(params["windows"][i]), (x.shape[2], x.shape[3], x.shape[4]))
            kernels.gather(x[i].flatten(1).numpy(), source, out[i].flatten(1).numpy())
        return out
