"""Non-linear intensity transformation by a monotone cubic Bezier curve (Models Genesis, section 2.2, 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform, compiled

if TYPE_CHECKING:
    import torch

__all__ = ["NonLinear", "curve"]

# 1,024 straight pieces lie at most 2e-5 from the curve; a cell of [0, 1] of the guide holds few of their ends,
# and a power of two of cells makes the cell of a float exact
PIECES, CELLS = 1024, 4096
_LINEAR = (0.0, 0.0, 1.0, 1.0)

Unit = Annotated[float, Field(ge=0, le=1)]


@TRANSFORMS.register("nonlinear")
class NonLinear(Transform):
    """Map every intensity by one monotone curve, random for each sub-volume.

    The curve is the cubic Bezier from (0, 0) to (1, 1) with inner control points (x1, y1) and (x2, y2), all in
    [0, 1], which makes both coordinates X(t) and Y(t) rise.  Increasing: X(t) goes to Y(t); decreasing: X(t) goes
    to Y(1 - t), the Bezier curve from (0, 1) to (1, 0), not 1 - Y(t).
    """

    label: ClassVar[str] = "non-linear"

    p_decreasing: float = Field(0.5, ge=0, le=1, description="share of curves that fall (air becomes bright)")
    p_linear: float = Field(0.0, ge=0, le=1, description="share of curves that are straight lines")
    direction: Literal["random", "increasing", "decreasing"] = Field(
        "random", description="random: falling with p_decreasing; or always one of them"
    )
    control_points: tuple[Unit, Unit, Unit, Unit] | None = Field(
        None, description="fixed control points x1, y1, x2, y2, each in 0 to 1; none: drawn anew for each sub-volume"
    )

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``control`` (x1, y1, x2, y2), float64, and ``decreasing``, bool."""
        u = address.generator().random(6)
        control = u[:4].copy()
        if self.control_points is not None:
            control = np.array(self.control_points, dtype=np.float64)
        elif u[5] < self.p_linear:
            control = np.array(_LINEAR)
        falls = u[4] < self.p_decreasing if self.direction == "random" else self.direction == "decreasing"
        return {"control": control, "decreasing": np.asarray(falls, dtype=bool)}

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        tables = [_table(c, d) for c, d in zip(params["control"], params["decreasing"], strict=True)]
        return _compiled_lookup(x, tables) if compiled(x) else _torch_lookup(x, tables)


def curve(params: Params, n: int = 256) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return ``n`` points ``(x, y)`` of one case's curve (``params`` without axis B), x rising from 0 to 1."""
    return _bezier(params["control"], bool(params["decreasing"]), n)


def _bezier(control: NDArray[Any], decreasing: bool, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t = np.linspace(0.0, 1.0, n)
    first, second, third = 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3
    x1, y1, x2, y2 = (float(c) for c in control)
    x = first * x1 + second * x2 + third
    y = first * y1 + second * y2 + third
    return x, y[::-1] if decreasing else y


def _table(control: NDArray[Any], decreasing: bool) -> NDArray[np.float32]:
    """Rows x, y and slope at the ends of the pieces, then a sentinel; a vertical piece has slope 0."""
    x, y = _bezier(control, bool(decreasing), PIECES + 1)
    table = np.zeros((3, PIECES + 2), np.float32)
    table[0, :-1] = np.maximum.accumulate(x)
    table[1, :-1] = y
    ends = table[:2, :-1].astype(np.float64)
    width, rise = ends[:, 1:] - ends[:, :-1]
    np.divide(rise, width, out=table[2, :-2], where=width > 0, casting="same_kind")
    table[0, -1] = np.inf
    return table


def _guide(table: NDArray[np.float32]) -> NDArray[np.int32]:
    """The piece at the lower edge of each cell of [0, 1]."""
    cell = np.ceil(np.minimum(table[0, :-1], 1.0) * np.float32(CELLS)).astype(np.int64)
    pieces = np.bincount(cell, minlength=CELLS + 1).cumsum() - 1
    return pieces.astype(np.int32)


def _compiled_lookup(x: torch.Tensor, tables: list[NDArray[np.float32]]) -> torch.Tensor:
    import torch

    from genesis3d.transforms import kernels

    x = x.detach().contiguous()
    out = torch.empty_like(x)
    for i, table in enumerate(tables):
        kernels.lookup(x[i].numpy().reshape(-1), table, _guide(table), out[i].numpy().reshape(-1))
    return out


def _torch_lookup(x: torch.Tensor, tables: list[NDArray[np.float32]]) -> torch.Tensor:
    import torch

    knots = torch.from_numpy(np.stack(tables)).to(x.device)
    values = x.detach().reshape(x.shape[0], -1).clamp(0.0, 1.0)
    piece = torch.searchsorted(knots[:, 0].contiguous(), values, right=True).sub_(1)
    # product and sum stay two operations: fused, they would round otherwise than the compiled path
    step = (values - knots[:, 0].gather(1, piece)) * knots[:, 2].gather(1, piece)
    return (knots[:, 1].gather(1, piece) + step).clamp_(0.0, 1.0).reshape(x.shape)
