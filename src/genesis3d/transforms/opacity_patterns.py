"""What fills a synthetic opacity: uneven haze, open bronchi, and nets of thickened septa."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genesis3d.transforms.opacity_fields import Lungs, Vector, generator, smooth_field, torch_from, white_noise

if TYPE_CHECKING:
    import torch

__all__ = ["Fields"]

JITTER = 0.7  # of a cell: how far from its middle the seed of a lobule may lie
BRONCHUS = (1.0, 2.0)  # mm: radius of an open bronchus
TALL = (2.5, 1.0, 1.0)  # cells along (D, H, W): most septa cross the slices
BEND = 0.15  # of a cell: how far a smooth field moves the walls
BRONCHI = 18.0  # mm: about their distance


@dataclass(frozen=True, eq=False)
class Fields:
    """What all opacities of one sub-volume share, made when asked for; ``params`` are those of one case."""

    lungs: Lungs
    params: dict[str, Any]

    def _rng(self, name: str) -> np.random.Generator:
        return generator(int(self.params["field_key"]), name)

    @cached_property
    def noise(self) -> torch.Tensor:
        """Noise in HU, as of a scanner."""
        return white_noise(self._rng("noise"), self.lungs).mul_(float(self.params["noise"]))

    @cached_property
    def lumps(self) -> torch.Tensor:
        """What displaces borders, of unit variance."""
        return smooth_field(self._rng("lumps"), self.lungs, float(self.params["lump"]))

    @cached_property
    def uneven(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Two fields of unit variance, a fine and a coarse one, that textures mix."""
        rng = self._rng("uneven")
        fine, coarse = (smooth_field(rng, self.lungs, float(self.params[name])) for name in ("fine", "coarse"))
        return fine, coarse

    @cached_property
    def bronchi(self) -> torch.Tensor:
        """What bronchi that stay open leave of a consolidation: 1 outside them, near 0 in their middle.

        They run where two smooth fields both vanish: curved tubes.
        """
        rng, voxel = self._rng("bronchi"), self.lungs.spacing[1]
        first, second = (smooth_field(rng, self.lungs, BRONCHI) for _ in range(2))
        width = max(rng.uniform(*BRONCHUS), 0.6 * voxel) * 2 / BRONCHI
        return (first.square_() + second.square_()).mul_(-0.5 / width**2).exp_().mul_(-0.95).add_(1)

    @cached_property
    def cores(self) -> torch.Tensor:
        """Where ground glass is denser, in [0, 1]: ragged patches in a third of it."""
        return (self.uneven[0] + self.uneven[1]).sub_(0.5).clamp_(0, 1)

    @cached_property
    def net(self) -> torch.Tensor:
        """Walls in [0, 1] between polygonal cells, as of secondary lobules with thickened septa.

        Voronoi cells of one seed in each cell of a grid, moved by a smooth field.  A wall thinner than a voxel is as
        faint as its share of it.  Along thick slices the cells are as long as two of them.
        """
        lungs, period, septum = self.lungs, float(self.params["period"]), float(self.params["septum"])
        size = np.maximum(period * np.array(TALL), 2 * np.array(lungs.spacing))
        counts = [int(n * mm / s) + 6 for n, mm, s in zip(lungs.shape, lungs.spacing, size, strict=True)]
        seeds = self._rng("net").uniform(-JITTER / 2, JITTER / 2, (3, *counts)).astype(np.float32)
        bent = (self.uneven[1], self.uneven[0], self.uneven[1])
        places = [b * BEND + (axis / float(s) + 2) for b, axis, s in zip(bent, lungs.axes, size, strict=True)]
        cell = float(size[1:].mean())
        away = _from_walls(places, torch_from(seeds, lungs), size / cell).mul_(cell)
        away = away / _slope(away, lungs.spacing)
        width = max(septum, lungs.spacing[1])
        thick = (bent[1] * 0.4).add_(0.6).clamp_(0, 1)  # not every septum alike
        wall = away.sub_(width / 2).div_(-max(0.5, 0.8 * lungs.spacing[1])).add_(0.5).clamp_(0, 1)
        return wall.mul_(min(1.0, septum / width)).mul_(thick)

    def texture(self, one: dict[str, Any]) -> torch.Tensor:
        """Return the uneven density of an opacity, 1 on average and never below 0.2."""
        amount, mix = float(one["texture"]), float(one["mix"])
        fine, coarse = self.uneven
        mixed = (fine * (amount * math.sin(mix))).add_(coarse, alpha=amount * math.cos(mix))
        return mixed.add_(1).clamp_(min=0.2)


def _from_walls(places: list[torch.Tensor], seeds: torch.Tensor, stretch: NDArray[np.float64]) -> torch.Tensor:
    """Return half of how much farther, in cells, the second nearest of the seeds is than the nearest, at each place."""
    import torch

    counts = seeds.shape[1:]
    first = [(p - 0.5).floor_().long().clamp_(0, n - 2) for p, n in zip(places, counts, strict=True)]
    flat = ((first[0] * counts[1] + first[1]) * counts[2] + first[2]).flatten()
    table = seeds.reshape(3, -1)
    rest = [p - (f + 0.5) for p, f in zip(places, first, strict=True)]
    near = torch.full_like(places[0], 9.0)
    next_near = near.clone()
    for step in np.ndindex(2, 2, 2):
        cell = flat + ((step[0] * counts[1] + step[1]) * counts[2] + step[2])
        square = torch.zeros_like(near)
        for axis in range(3):
            seed = table[axis].index_select(0, cell).add_(float(step[axis])).view_as(near)
            square.add_(seed.sub_(rest[axis]).mul_(float(stretch[axis])).square_())
        next_near = torch.minimum(next_near, torch.maximum(near, square))
        near = torch.minimum(near, square)
    return next_near.sqrt_().sub_(near.sqrt_()).mul_(0.5)


def _slope(field: torch.Tensor, spacing: Vector) -> torch.Tensor:
    """Return how steep ``field`` (D, H, W) is in the plane, per mm, the steeper side counting; 0.2 at least.

    What a distance is divided by to hold in the plane: a wall that leans is cut no wider than one that stands.
    """
    import torch
    from torch.nn import functional

    rows, columns = (field.diff(dim=axis).abs_().div_(mm) for axis, mm in ((1, spacing[1]), (2, spacing[2])))
    down = torch.maximum(functional.pad(rows, (0, 0, 1, 0)), functional.pad(rows, (0, 0, 0, 1)))
    along = torch.maximum(functional.pad(columns, (1, 0)), functional.pad(columns, (0, 1)))
    return down.square_().add_(along.square_()).sqrt_().clamp_(min=0.2)
