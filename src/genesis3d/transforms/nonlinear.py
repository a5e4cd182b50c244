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

# 1,024 pieces: at most 2e-5 from the curve (FACTS: n = 1000), a power of two so that the guide's cells are exact
PIECES = 1024
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
        rng = address.generator()
        control, u = rng.random(4), rng.random(2)
        if u[1] < self.p_linear:
            control = np.array(_LINEAR)
        if self.control_points is not None:
            control = np.array(self.control_points, dtype=np.float64)
        falls = u[0] < self.p_decreasing if self.direction == "random" else self.direction == "decreasing"
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
    """Rows x, y and slope of the curve's pieces; rounding keeps them monotone, a vertical piece has slope 0."""
    x, y = (row.astype(np.float32) for row in _bezier(control, bool(decreasing), PIECES + 1))
    x = np.maximum.accumulate(x)
    width = np.diff(x.astype(np.float64))
    rise = np.diff(y.astype(np.float64))
    slope = np.divide(rise, width, out=np.zeros(PIECES), where=width > 0)
    return np.stack([x, y, np.append(slope, 0.0).astype(np.float32)])


def _compiled_lookup(x: torch.Tensor, tables: list[NDArray[np.float32]]) -> torch.Tensor:
    import torch

    from genesis3d.transforms import kernels

    x = x.detach().contiguous()
    out = torch.empty_like(x)
    edges = np.linspace(0.0, 1.0, PIECES + 1, dtype=np.float32)
    for i, table in enumerate(tables):
        guide = np.clip(np.searchsorted(table[0], edges, side="right") - 1, 0, PIECES - 1).astype(np.int32)
        kernels.lookup(x[i].numpy().reshape(-1), table, guide, out[i].numpy().reshape(-1))
    return out


def _torch_lookup(x: torch.Tensor, tables: list[NDArray[np.float32]]) -> torch.Tensor:
    import torch

    knots = torch.from_numpy(np.stack(tables)).to(x.device)
    values = x.detach().reshape(x.shape[0], -1).clamp(0.0, 1.0)
    piece = torch.searchsorted(knots[:, 0].contiguous(), values, right=True).sub_(1).clamp_(0, PIECES - 1)
    # product and sum stay two operations: fused, they would round otherwise than the compiled path
    step = (values - knots[:, 0].gather(1, piece)) * knots[:, 2].gather(1, piece)
    return (knots[:, 1].gather(1, piece) + step).clamp_(0.0, 1.0).reshape(x.shape)
