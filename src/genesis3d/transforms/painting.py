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
        out = x.detach().clone(memory_format=_contiguous())
        for i in range(x.shape[0]):
            dims = tuple(params["shape"][i].tolist())
            if dims != tuple(x.shape[2:]):
                raise ConfigError(f"{self.label}: expected boxes drawn for {tuple(x.shape[2:])} voxels, got {dims}")
            inside = union(params["start"][i], params["stop"][i], dims)
            self._paint(out[i], inside if self.inside else ~inside, params["key"][i], float(params["value"][i]))
        return out

    def _paint(self, case: torch.Tensor, mask: NDArray[np.bool_], key: Any, value: float) -> None:
        """Fill ``case`` (C, D, H, W) in place where ``mask`` (D, H, W)."""
        import torch

        flat, hidden = case.flatten(1), mask.reshape(-1)
        if self.fill == "noise" and compiled(case):
            from genesis3d.transforms import kernels

            kernels.paint(hidden, np.uint64(key), not self.inside, flat.numpy())
            return
        where = torch.from_numpy(hidden).to(case.device)
        if self.fill == "noise":
            flat.copy_(torch.where(where, _noise(flat, key, not self.inside), flat))
        elif self.fill == "constant":
            flat.masked_fill_(where, value)
        else:
            mean = flat.double().mean(1, keepdim=True).float()
            flat.copy_(torch.where(where, mean, flat))


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


def _contiguous() -> Any:
    import torch

    return torch.contiguous_format


def _noise(flat: torch.Tensor, key: Any, per_channel: bool) -> torch.Tensor:
    import torch

    from genesis3d.transforms.hashing import key_tensor, uniform01

    voxels = torch.arange(flat.numel() if per_channel else flat.shape[1], device=flat.device)
    return uniform01(key_tensor(np.array([key]), flat.device), voxels).reshape(-1, flat.shape[1])
