"""In-painting and out-painting: inner and outer cut-out by boxes (Models Genesis, section 2.2, 3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform, compiled
from genesis3d.transforms.boxes import Boxes, covered, draw_boxes, fit, union

if TYPE_CHECKING:
    import torch

__all__ = ["Inpainting", "Outpainting", "Painting"]

Fill = Literal["noise", "constant", "mean"]


class Painting(Transform):
    """What both paintings share: boxes, the fill of what is hidden, and the limit of the hidden share."""

    inside: ClassVar[bool] = True

    boxes: int = Field(5, ge=1, le=20, description="most boxes of one sub-volume")
    p_more: float = Field(0.95, ge=0, le=1, description="chance of each further box")
    smallest: float = Field(1 / 6, ge=0.01, le=1, description="smallest box, as a share of each side")
    largest: float = Field(1 / 3, ge=0.01, le=1, description="largest box, as a share of each side")
    margin: int = Field(3, ge=0, le=32, description="distance of the boxes from the border, in voxels")
    fill: Fill = Field(
        "noise",
        description="noise: a number in 0 to 1 for every voxel; constant: one for all; mean: the mean intensity",
    )
    max_masked_fraction: float | None = Field(
        None, ge=0.01, le=1, description="most of the sub-volume that may be hidden, as a share; none: no limit"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Painting:
        if self.smallest > self.largest:
            raise ValueError(f"expected smallest <= largest boxes, got {self.smallest:g} and {self.largest:g}")
        return self

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``start`` and ``stop`` (K, 3) of the boxes, ``shape`` (3,), ``value`` and ``key`` of the fill.

        A box that was not drawn is empty (start = stop = 0).
        """
        rng, dims = address.generator(), shape[1:]
        value, going = rng.random(), np.cumprod(rng.random(self.boxes) < self.p_more).astype(bool)
        low, high = self._limits(dims)
        boxes = draw_boxes(rng, dims, low, high, self._going(going), self.margin, self.label)
        if self.max_masked_fraction is not None:
            boxes = self._fitted(boxes, dims, self.max_masked_fraction)
        return {
            "start": boxes[0], "stop": boxes[1], "shape": np.array(dims, np.int32),
            "value": np.asarray(value, np.float32), "key": np.asarray((address / "noise").key(), np.uint64),
        }  # fmt: skip

    def masked_fraction(self, params: Params) -> NDArray[np.float64]:
        """Return the hidden share of each case, (B,)."""
        cases = zip(params["start"], params["stop"], params["shape"], strict=True)
        inside = np.array([covered(start, stop, tuple(dims.tolist())) for start, stop, dims in cases])
        return inside if self.inside else 1.0 - inside

    def outcome(self, params: Params, i: int) -> str:
        """Return the label and the hidden share of case ``i``: ``out-painting (68 % hidden)``."""
        case = {key: array[i : i + 1] for key, array in params.items()}
        return f"{self.label} ({100 * float(self.masked_fraction(case)[0]):.0f} % hidden)"

    def _limits(self, dims: tuple[int, ...]) -> tuple[list[int], list[int]]:
        raise NotImplementedError

    def _going(self, going: NDArray[np.bool_]) -> NDArray[np.bool_]:
        raise NotImplementedError

    def _fitted(self, boxes: Boxes, dims: tuple[int, ...], limit: float) -> Boxes:
        raise NotImplementedError

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        dims = tuple(x.shape[2:])
        if (params["shape"] != dims).any():
            drawn = tuple(params["shape"][0].tolist())
            raise ConfigError(f"{self.label}: expected boxes drawn for {dims} voxels, got boxes for {drawn}")
        x = x.detach().contiguous()
        if self.fill == "noise" and compiled(x):
            return self._compiled_noise(x, params)
        return self._filled(x, params)

    def _compiled_noise(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        from genesis3d.transforms import kernels

        out = x.clone()
        for i in range(x.shape[0]):
            mask = union(params["start"][i], params["stop"][i], tuple(x.shape[2:])).reshape(-1)
            hidden = mask if self.inside else ~mask
            kernels.paint(hidden, np.uint64(params["key"][i]), not self.inside, out[i].flatten(1).numpy())
        return out

    def _filled(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        from genesis3d.transforms.hashing import key_tensor, uniform01

        flat = x.flatten(2)
        if self.fill == "noise":
            voxels = torch.arange(flat.shape[2] if self.inside else flat[0].numel(), device=x.device)
            fill = uniform01(key_tensor(params["key"], x.device)[:, None], voxels)
            fill = fill.reshape(len(flat), -1, flat.shape[2])
        elif self.fill == "constant":
            fill = torch.from_numpy(params["value"].astype(np.float32)).to(x.device)[:, None, None]
        else:  # case by case, so that a case's sum does not depend on its batch
            fill = torch.stack([case.double().mean(1, keepdim=True).float() for case in flat])
        mask = _torch_union(params, tuple(x.shape[2:]), x.device).flatten(1)[:, None]
        return torch.where(mask if self.inside else ~mask, fill, flat).reshape(x.shape)


@TRANSFORMS.register("inpainting")
class Inpainting(Painting):
    """In-painting (inner cut-out): hide what lies inside boxes."""

    label: ClassVar[str] = "in-painting"

    def _limits(self, dims: tuple[int, ...]) -> tuple[list[int], list[int]]:
        return [_down(n * self.smallest) for n in dims], [_down(n * self.largest) for n in dims]

    def _going(self, going: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return going

    def _fitted(self, boxes: Boxes, dims: tuple[int, ...], limit: float) -> Boxes:
        return fit(boxes, dims, lambda share: share <= limit, grow=False)


@TRANSFORMS.register("outpainting")
class Outpainting(Painting):
    """Out-painting (outer cut-out): hide all but what lies inside boxes; there is always at least one box."""

    label: ClassVar[str] = "out-painting"
    inside: ClassVar[bool] = False

    smallest: float = Field(3 / 7, ge=0.01, le=1, description="smallest box left to see, as a share of each side")
    largest: float = Field(4 / 7, ge=0.01, le=1, description="largest box left to see, as a share of each side")

    def _limits(self, dims: tuple[int, ...]) -> tuple[list[int], list[int]]:
        return [_up(n * self.smallest) for n in dims], [_up(n * self.largest) for n in dims]

    def _going(self, going: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.concatenate([[True], going[:-1]])

    def _fitted(self, boxes: Boxes, dims: tuple[int, ...], limit: float) -> Boxes:
        return fit(boxes, dims, lambda share: 1.0 - share <= limit, grow=True)


def _down(x: float) -> int:
    return max(1, math.floor(x + 1e-9))


def _up(x: float) -> int:
    return max(1, math.ceil(x - 1e-9))


def _torch_union(params: Params, dims: tuple[int, ...], device: Any) -> torch.Tensor:
    """Return :func:`genesis3d.transforms.boxes.union` of every case, (B, D, H, W), made on ``device``."""
    import torch

    start, stop = (torch.from_numpy(params[key].astype(np.int64)).to(device) for key in ("start", "stop"))
    inside = []
    for axis, size in enumerate(dims):
        voxels = torch.arange(size, device=device)
        inside.append((voxels >= start[:, :, axis, None]) & (voxels < stop[:, :, axis, None]))
    d, h, w = inside
    mask = torch.zeros((len(start), *dims), dtype=torch.bool, device=device)
    for k in range(start.shape[1]):
        mask |= d[:, k, :, None, None] & h[:, k, None, :, None] & w[:, k, None, None, :]
    return mask
