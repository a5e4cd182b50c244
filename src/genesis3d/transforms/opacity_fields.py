"""What synthetic opacities stand on, on any device: lungs with their depth, places in them, smooth random fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = [
    "Lungs",
    "Vector",
    "box_mean",
    "generator",
    "lungs_of",
    "places",
    "ranks",
    "smooth_field",
    "torch_from",
    "white_noise",
]

Vector = tuple[float, float, float]

AERATED = (-965.0, -400.0)  # HU of a lung's voxels but for vessels: neither the air around the body nor tissue
FILLED = 5.0  # mm: vessels thinner than about this lie in the lungs
THIN = 24.0  # mm: what fills less than a third of so much is no lung
DEEPEST = 24.0  # mm: end of the depth that is found without a distance transform


@dataclass(frozen=True, eq=False)
class Lungs:
    """The lungs of one sub-volume (D, H, W).

    Attributes
    ----------
    mask : float32, 0 or 1
    depth : mm from where they end, float32; 0 outside
    spacing : mm along (D, H, W)
    """

    mask: torch.Tensor
    depth: torch.Tensor
    spacing: Vector
    _ranks: dict[float, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def found(cls, x: torch.Tensor, spacing: Vector, window: tuple[float, float]) -> Lungs:
        """Return the lungs that ``x`` (D, H, W), HU of ``window`` as [0, 1], shows; their depth is approximate."""
        mask = lungs_of(x, spacing, window)
        return cls(mask, _depth(mask, spacing), spacing)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The size (D, H, W) in voxels."""
        d, h, w = self.mask.shape
        return d, h, w

    @cached_property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The voxels' places in mm along D, H and W, of shapes (D, 1, 1), (H, 1) and (W,)."""
        import torch

        d, h, w = (
            torch.arange(n, device=self.mask.device, dtype=torch.float32) * mm
            for n, mm in zip(self.shape, self.spacing, strict=True)
        )
        return d[:, None, None], h[:, None], w

    def place(self, share: NDArray[np.float64], within: float = np.inf) -> tuple[torch.Tensor, torch.Tensor]:
        """Return voxels (N, 3) that lie at ``share`` (N) of the lung in its own order, and whether there is any lung.

        ``within`` mm of the pleura only, or one and a half voxels if that is more.
        """
        if within not in self._ranks:
            least = max(within, 1.5 * max(self.spacing[1:]))
            there = self.mask > 0 if np.isinf(within) else (self.depth > 0) & (self.depth <= least)
            self._ranks[within] = ranks(there)
        return places(self._ranks[within], share, self.shape)


def ranks(there: torch.Tensor) -> torch.Tensor:
    """Return for each voxel of ``there`` (D, H, W), in order, how many of the set come up to it."""
    return there.flatten().int().cumsum(0)


def places(
    ranked: torch.Tensor, share: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return voxels (N, 3) int64 at ``share`` (N) in [0, 1) of the set of :func:`ranks`, and whether it has any."""
    import torch

    total = ranked[-1]
    wanted = (torch.from_numpy(share.astype(np.float32)).to(ranked.device) * total).long() + 1
    flat = torch.searchsorted(ranked, torch.minimum(wanted, total))
    _, h, w = shape
    return torch.stack([flat // (h * w), flat // w % h, flat % w], dim=-1), total > 0


def lungs_of(x: torch.Tensor, spacing: Vector, window: tuple[float, float]) -> torch.Tensor:
    """Return 1 where ``x`` (D, H, W), HU of ``window`` as [0, 1], is lung: mostly dark within 5 mm in the plane.

    Thin layers, as clothes on the skin, are none.
    """
    low, high = ((hu - window[0]) / (window[1] - window[0]) for hu in AERATED)
    dark = ((x > low) & (x < high)).float()
    dark = (box_mean(dark, FILLED, spacing) > 0.5).float()
    return dark * (box_mean(dark, THIN, spacing) > 0.3)


def box_mean(x: torch.Tensor, size: float, spacing: Vector) -> torch.Tensor:
    """Return the mean of ``x`` (D, H, W) over ``size`` mm in the plane, over 3 voxels at least."""
    from torch.nn import functional

    h, w = (max(1, round(size / mm / 2)) for mm in spacing[1:])
    rows = functional.avg_pool2d(x[None], (1, 2 * w + 1), 1, (0, w), count_include_pad=False)
    return functional.avg_pool2d(rows, (2 * h + 1, 1), 1, (h, 0), count_include_pad=False)[0]


def _depth(mask: torch.Tensor, spacing: Vector) -> torch.Tensor:
    """Return about the mm in the plane from where the lungs end, up to 24: how little else lies around."""
    around = box_mean(box_mean(mask, DEEPEST, spacing), DEEPEST, spacing)
    return (around - 0.5).mul_(2 * DEEPEST).clamp_(min=spacing[1]).mul_(mask)


def smooth_field(rng: np.random.Generator, lungs: Lungs, size: float) -> torch.Tensor:
    """Return noise (D, H, W) of zero mean and unit variance that changes over about ``size`` mm.

    A cubic B-spline through random knots: no creases where they lie.
    """
    import torch

    counts = [int((n - 1) * mm / size) + 5 for n, mm in zip(lungs.shape, lungs.spacing, strict=True)]
    phase = rng.random(3)
    values = torch_from(rng.standard_normal(counts, dtype=np.float32), lungs)
    d, h, w = (
        torch_from(_spline(n, mm / size, float(first), count), lungs)
        for n, mm, first, count in zip(lungs.shape, lungs.spacing, phase, counts, strict=True)
    )
    values = torch.matmul(h, torch.matmul(d, values.flatten(1)).reshape(-1, counts[1], counts[2]))
    return torch.matmul(values, w.T)


def _spline(n: int, step: float, first: float, count: int) -> NDArray[np.float32]:
    """Return the weights (N, ``count``) of a cubic B-spline's knots, the square of each row 1; ``step`` in knots."""
    place = np.arange(n) * step + (1 + first)
    knot = place.astype(np.int64)
    t = place - knot
    u = 1 - t
    four = np.stack([u**3, 4 - 3 * t * t * (2 - t), 4 - 3 * u * u * (2 - u), t**3], 1)
    four /= np.sqrt(np.einsum("nk,nk->n", four, four))[:, None]
    weights = np.zeros((n, count), np.float32)
    weights[np.arange(n)[:, None], knot[:, None] + np.arange(-1, 3)] = four
    return weights


def generator(key: int, name: str = "") -> np.random.Generator:
    """Return a fresh, fast generator that is a function of a 64-bit ``key`` and of ``name``."""
    return np.random.Generator(np.random.SFC64([key, *name.encode()]))


def torch_from(array: NDArray[Any], lungs: Lungs) -> torch.Tensor:
    """Return ``array`` as a tensor where the lungs are."""
    import torch

    return torch.from_numpy(array).to(lungs.mask.device)


def white_noise(rng: np.random.Generator, lungs: Lungs) -> torch.Tensor:
    """Return independent noise (D, H, W) of zero mean and unit variance."""
    return torch_from(rng.random(lungs.shape, dtype=np.float32), lungs).sub_(0.5).mul_(12**0.5)
