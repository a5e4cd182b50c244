"""What fills a synthetic opacity: uneven haze, open bronchi, and nets of thickened septa."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.transforms.opacity_fields import Lungs, smooth_field

if TYPE_CHECKING:
    import torch

__all__ = ["net", "open_bronchi", "texture"]

JITTER = 0.7  # of a cell: how far from its middle the seed of a lobule may lie
BRONCHUS = (1.0, 2.0)  # mm: radius of an open bronchus
BRONCHI = 18.0  # mm: about their distance


def texture(one: dict[str, Any], lungs: Lungs, rng: np.random.Generator) -> torch.Tensor:
    """Return the uneven density (D, H, W) of an opacity, 1 on average and never below 0.2."""
    field = smooth_field(rng, lungs, float(one["texture_size"]))
    return field.mul_(float(one["texture"])).add_(1).clamp_(min=0.2)


def open_bronchi(lungs: Lungs, rng: np.random.Generator) -> torch.Tensor:
    """Return what bronchi that stay open leave of a consolidation: 1 outside them, near 0 in their middle.

    They run where two smooth fields both vanish: curved tubes.
    """
    first, second = (smooth_field(rng, lungs, BRONCHI) for _ in range(2))
    width = max(rng.uniform(*BRONCHUS), 0.6 * lungs.spacing[1]) * 2 / BRONCHI
    return (first.square_() + second.square_()).mul_(-0.5 / width**2).exp_().mul_(-0.95).add_(1)


def net(period: float, septum: float, lungs: Lungs, rng: np.random.Generator) -> torch.Tensor:
    """Return the walls (D, H, W) in [0, 1] between polygonal cells ``period`` mm apart, ``septum`` mm thick.

    Voronoi cells of one seed in each cell of a grid, moved by a smooth field: secondary lobules.  A wall thinner than
    a voxel is as faint as its share of it.  Along thick slices the cells are as long as two of them.
    """
    import torch

    size = np.maximum(period, 2 * np.array(lungs.spacing) * (1, 1, 1))
    counts = [int(n * mm / s) + 5 for n, mm, s in zip(lungs.shape, lungs.spacing, size, strict=True)]
    device = lungs.mask.device
    seeds = torch.from_numpy(rng.uniform(-JITTER / 2, JITTER / 2, (3, *counts)).astype(np.float32)).to(device)
    places = [
        smooth_field(rng, lungs, 2.5 * period).mul_(0.15).add_(axis / float(s) + 2)
        for axis, s in zip(lungs.axes, size, strict=True)
    ]
    near, next_near = _two_nearest(places, seeds, size / size[1:].mean())
    width = max(septum, 1.3 * lungs.spacing[1])
    away = (next_near - near).mul_(float(size[1:].mean()))
    return away.div_(-width).add_(1.2).clamp_(0, 1).mul_(min(1.0, septum / width))


def _two_nearest(
    places: list[torch.Tensor], seeds: torch.Tensor, stretch: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the distances, in cells, to the nearest and the second nearest of the seeds around each place."""
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
        square = 0.0
        for axis in range(3):
            seed = table[axis].index_select(0, cell).add_(float(step[axis])).view_as(rest[axis])
            square = seed.sub_(rest[axis]).mul_(float(stretch[axis])).square_().add_(square)
        next_near = torch.minimum(next_near, torch.maximum(near, square))
        near = torch.minimum(near, square)
    return near.sqrt_(), next_near.sqrt_()
