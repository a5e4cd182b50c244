"""Synthetic opacities put into healthy lungs, with their exact extent: what a restoration is trained to take out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms.opacity_draws import NODULAR, RETICULATION, draw_opacities
from genesis3d.transforms.opacity_fields import Lungs, Vector, generator
from genesis3d.transforms.opacity_patterns import Fields
from genesis3d.transforms.opacity_shapes import blob, diffuse, nodules

if TYPE_CHECKING:
    import torch

    from genesis3d.transforms.opacity import Opacity

__all__ = ["WINDOW", "opacities", "render"]

WINDOW = (-1000.0, 200.0)  # HU at 0 and 1 of the sub-volumes that opacity models see
RIM = 3.0  # mm over which an opacity may fade towards the pleura


def opacities(
    x: NDArray[np.float32], lungs: NDArray[Any], depth_mm: NDArray[Any], spacing: Vector, settings: Opacity,
    rng: np.random.Generator | Address, window: tuple[float, float] = WINDOW,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:  # fmt: skip
    """Return ``x`` (D, H, W) with opacities in its lungs, and their weight in [0, 1], float32.

    Parameters
    ----------
    x : (D, H, W) float32, HU of ``window`` as [0, 1]
    lungs : 0 or 1, of the same shape
    depth_mm : distance in mm of each voxel from where the lungs end, of the same shape
    spacing : mm along (D, H, W)
    settings : its patterns, sizes and strengths; not its ``spacing``, ``low`` and ``high``
    rng : an address, of which the result is a function, or a generator that gives one
    window : HU at 0 and at 1

    Where the weight is 0, and outside the lungs, nothing changes; nowhere does an intensity fall.

    Raises
    ------
    ConfigError
        If the three arrays are not of one 3D shape.
    """
    import torch

    if x.ndim != 3 or not x.shape == np.shape(lungs) == np.shape(depth_mm):
        raise ConfigError(
            f"opacities: expected x, lungs and depth of one shape (D, H, W), got {x.shape}, {np.shape(lungs)} and "
            f"{np.shape(depth_mm)}"
        )
    address = rng if isinstance(rng, Address) else Address(int(rng.integers(0, 2**63)))
    mask, depth, given = (torch.from_numpy(np.ascontiguousarray(a, np.float32)) for a in (lungs, depth_mm, x))
    inside = Lungs((mask > 0).float(), depth, spacing)
    changed, weight = render(given, inside, draw_opacities(settings, address), window)
    return changed.numpy(), weight.numpy()


def render(
    x: torch.Tensor, lungs: Lungs, params: dict[str, Any], window: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``x`` (D, H, W) with the opacities of ``params`` (one case), and their weight in [0, 1]; any device.

    Each blends a voxel towards soft tissue, which leaves vessels as they are; where lung is replaced its noise is too.
    """
    import torch

    low, span = window[0], window[1] - window[0]
    rim = (lungs.depth / RIM).clamp(0, 1) * lungs.mask if params["soft_rim"] else lungs.mask
    fields, result, total = Fields(lungs, params), x, torch.zeros_like(x)
    for k in range(int(params["count"])):
        one = {key: array[k] for key, array in params.items() if array.ndim}
        strength, weight = _filled(one, fields)
        weight = weight * rim
        tissue = (fields.noise + (float(one["tissue"]) - low)).div_(span)
        result = tissue.sub_(result).clamp_(min=0).mul_((strength * weight).clamp_(0, 1)).add_(result)
        total = torch.maximum(total, weight)
    return torch.maximum(result.clamp(0, 1), x), total


def _filled(one: dict[str, Any], fields: Fields) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far one opacity goes towards soft tissue, 0 to 1 and more, and its weight in [0, 1]."""
    rng, lungs, uneven = generator(int(one["key"])), fields.lungs, fields.texture(one)
    weight = diffuse(one, lungs, rng) if one["wide"] else blob(one, fields)
    if one["pattern"] == NODULAR:
        return uneven.mul_(float(one["nodule_strength"])), nodules(one, weight, fields, rng)
    if one["pattern"] == RETICULATION:
        return uneven.mul_(float(one["haze"])).add_(fields.net, alpha=float(one["septa"])), weight
    if one["bronchi"]:
        uneven.mul_(fields.bronchi)
    uneven.mul_(float(one["strength"]))
    return (uneven.add_(fields.cores, alpha=float(one["core"])) if one["core"] else uneven), weight
