"""Where a synthetic opacity lies: random complex shapes with soft edges, and lung-wide distributions."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.transforms.opacity_fields import Lungs, places, ranks, smooth_field, torch_from
from genesis3d.transforms.opacity_patterns import Fields

if TYPE_CHECKING:
    import torch

__all__ = ["blob", "diffuse", "nodules"]

SLOPE = 24.0  # mm over which a lung-wide opacity falls off from the pleura, or along its direction
SOFT = (0.15, 0.6)  # half-width of a lung-wide opacity's border, in standard deviations of what decides on it
SAMPLES = 2048  # voxels of the lung that decide how much of it a lung-wide opacity covers
OUTSIDE = -99.0  # mm
RIM_MM = 1.5  # edge of a nodule


def blob(one: dict[str, Any], fields: Fields) -> torch.Tensor:
    """Return the weight in [0, 1] of one opacity: a union of turned ellipsoids, its soft border uneven and ragged.

    It begins in the lung, near the pleura or not, and may end at a plane as at a fissure.
    It is not yet cut to the lung; 0 without lung.
    """
    import torch

    lungs, fine = fields.lungs, fields.uneven[0]
    voxel, there = lungs.place(one["place"][None], float(fields.params["within"]) if one["near"] else np.inf)
    centre = voxel[0] * torch.tensor(lungs.spacing, device=voxel.device)
    parts = (_ellipsoid(one, part, lungs, centre) for part in range(int(one["parts"])))
    inside = reduce(torch.maximum, parts)
    inside = (fields.lumps * float(one["lumps"])).add_(inside).add_(fine, alpha=float(one["ragged"]))
    weight = inside.div_(float(one["edge"])).add_(0.5)
    if np.isfinite(one["cut"]):
        z, y, x = ((axis - centre[i]) * float(one["direction"][i]) for i, axis in enumerate(lungs.axes))
        weight = torch.minimum(weight, (float(one["cut"]) - z - y - x) / max(1.5, lungs.spacing[1]) + 0.5)
    return weight.clamp_(0, 1) * there


def _ellipsoid(one: dict[str, Any], part: int, lungs: Lungs, centre: torch.Tensor) -> torch.Tensor:
    """Return about the depth in mm (D, H, W) inside one ellipsoid, negative outside."""
    form, least, offset = one["form"][part], float(one["least"][part]), one["offset"][part]
    z, y, x = (axis - (centre[i] + float(offset[i])) for i, axis in enumerate(lungs.axes))
    square = (z * z * float(form[0, 0]) + 2 * float(form[0, 1]) * z * y) + y * y * float(form[1, 1])
    square = square + (z * (2 * float(form[0, 2])) + y * (2 * float(form[1, 2])) + x * float(form[2, 2])) * x
    return square.clamp_(min=0).sqrt_().mul_(-least).add_(least)


def diffuse(one: dict[str, Any], lungs: Lungs, rng: np.random.Generator) -> torch.Tensor:
    """Return the weight in [0, 1] of a lung-wide opacity: more than one half in the ``extent`` share of the lung.

    Denser at the pleura, or along a direction as gravity makes it, and patchy over some ``drift_size`` mm.
    """
    score = smooth_field(rng, lungs, float(one["drift_size"]))
    if one["peripheral"]:
        score = score - lungs.depth * (float(one["drift"]) / SLOPE)
    else:
        z, y, x = (axis * float(part) for axis, part in zip(lungs.axes, one["direction"], strict=True))
        score = score + (z + y + x) * (float(one["drift"]) / SLOPE / 2)
    voxel, there = lungs.place((np.arange(SAMPLES) + 0.5) / SAMPLES)
    found = score[voxel[:, 0], voxel[:, 1], voxel[:, 2]].sort().values
    limit = found[min(SAMPLES - 1, int((1 - float(one["extent"])) * SAMPLES))]
    if one["extent"] >= 1:
        limit = limit - 2 * SOFT[1]
    soft = SOFT[0] + (SOFT[1] - SOFT[0]) * rng.random()
    return ((score - limit) / (2 * soft) + 0.5).clamp_(0, 1) * there


def nodules(one: dict[str, Any], where: torch.Tensor, fields: Fields, rng: np.random.Generator) -> torch.Tensor:
    """Return the weight in [0, 1] of ``one["nodules"]`` nodules, whose middles lie ``where`` that exceeds one half."""
    import torch

    lungs, n, device = fields.lungs, int(one["nodules"]), where.device
    ranked = ranks((where > 0.5) & (lungs.mask > 0))
    voxel, there = places(ranked, rng.random(n), lungs.shape)
    low, high = one["nodule_radius"]
    radius = np.exp(rng.uniform(np.log(low), np.log(high), n)).astype(np.float32)
    stretch = np.exp(rng.uniform(-0.2, 0.2, (n, 3))).astype(np.float32)
    reach = [int((1.25 * float(high) + RIM_MM) / mm) + 1 for mm in lungs.spacing]
    index, squares = [], []
    for axis, (mm, r) in enumerate(zip(lungs.spacing, reach, strict=True)):
        steps = torch.arange(-r, r + 1, device=device)
        shape = [n, 1, 1, 1]
        shape[axis + 1] = len(steps)
        index.append((voxel[:, axis, None] + steps).reshape(shape))
        squares.append((steps * mm / torch_from(stretch[:, axis, None], lungs)).square().reshape(shape))
    distance = (squares[0] + squares[1] + squares[2]).sqrt_()
    deep = torch_from(radius, lungs)[:, None, None, None] - distance
    for place, extent in zip(index, lungs.shape, strict=True):
        deep = deep.where((place >= 0) & (place < extent), OUTSIDE)
    d, h, w = (place.clamp(0, extent - 1) for place, extent in zip(index, lungs.shape, strict=True))
    flat = ((d * lungs.shape[1] + h) * lungs.shape[2] + w).flatten()
    inside = torch.full((where.numel(),), OUTSIDE, device=device).scatter_reduce(0, flat, deep.flatten(), "amax")
    ragged = fields.uneven[0] * float(one["nodule_radius"][0] * 0.2)
    weight = ragged.add_(inside.reshape(where.shape)).div_(max(RIM_MM, lungs.spacing[1])).add_(0.5)
    return weight.clamp_(0, 1) * there
