"""The voxel work of augmentation, in torch: resampling of image and labels together, and changes of intensity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genesis3d.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.augmenting import Augmentation
    from genesis3d.rng import Address

__all__ = ["altered", "resampled", "tensors"]


def tensors(input: NDArray[np.float32], labels: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Return both as tensors of their own memory."""
    return torch.from_numpy(np.ascontiguousarray(input)), torch.from_numpy(np.ascontiguousarray(labels))


def resampled(
    x: Tensor, labels: Tensor, matrix: NDArray[np.float64], patch: tuple[int, int, int]
) -> tuple[Tensor, Tensor]:
    """Return ``x`` (C, ...) linearly and ``labels`` (1, ...) by the nearest voxel, on the grid ``patch``.

    ``matrix`` takes voxels of the result to voxels of the source, both counted from the centre.  Beyond the source the
    edge of ``x`` repeats and no voxel is labelled.
    """
    sizes = torch.tensor(x.shape[1:], dtype=torch.float64)
    axes = [torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in patch]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) @ torch.from_numpy(matrix).T
    grid = (grid * 2 / (sizes - 1).clamp_min(1)).flip(-1).float()[None]  # grid_sample wants x, y, z
    image = functional.grid_sample(x[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    # Shifted, so that its zeros beyond the source mean "not labelled".
    shifted = functional.grid_sample(
        labels[None].float() - IGNORE, grid, mode="nearest", padding_mode="zeros", align_corners=True
    )
    return image[0], (shifted[0] + IGNORE).round().to(torch.uint8)


def altered(x: Tensor, settings: Augmentation, address: Address) -> Tensor:
    """Return ``x`` (C, D, H, W) with what is drawn of noise, blur, brightness, contrast, resolution and gamma."""
    draw = (address / "intensity").generator()
    shares = (settings.noise, settings.blur, settings.brightness, settings.contrast, settings.low_resolution,
              settings.gamma)  # fmt: skip
    noise, blur, brightness, contrast, low, gamma = (bool(draw.random() < share) for share in shares)
    # All are drawn whatever happens, so that one setting does not change what another draws.
    variance, sigma = draw.uniform(0, settings.noise_variance), draw.uniform(*settings.sigma)
    brighter, steeper = 1 + draw.uniform(-settings.strength, settings.strength, 2)
    zoom, exponent = draw.uniform(*settings.zoom), draw.uniform(*settings.gamma_range)
    if noise:
        voxels = (address / "noise").generator().standard_normal(tuple(x.shape), dtype=np.float32)
        x = x + torch.from_numpy(voxels) * float(variance**0.5)
    if blur:
        x = _blurred(x, float(sigma))
    if brightness:
        x = x * float(brighter)
    if contrast:
        mean = x.mean(dim=(1, 2, 3), keepdim=True)
        x = (x - mean) * float(steeper) + mean
    if low:
        x = _coarse(x, float(zoom))
    x = x.clamp(0.0, 1.0)
    return x.pow(float(exponent)) if gamma else x


def _blurred(x: Tensor, sigma: float) -> Tensor:
    radius = max(1, round(3 * sigma))
    offset = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = (-0.5 * (offset / sigma).square()).exp()
    weights = weights / weights.sum()
    x = x[:, None]
    for axis in (0, 1, 2):
        kernel = [len(weights) if i == axis else 1 for i in range(3)]
        pad = [p for i in (2, 1, 0) for p in ((radius, radius) if i == axis else (0, 0))]
        x = functional.conv3d(functional.pad(x, pad, mode="replicate"), weights.reshape(1, 1, *kernel))
    return x[:, 0]


def _coarse(x: Tensor, zoom: float) -> Tensor:
    shape = x.shape[1:]
    small = functional.interpolate(x[None], size=[max(1, round(n * zoom)) for n in shape], mode="nearest-exact")
    return functional.interpolate(small, size=shape, mode="trilinear", align_corners=False)[0]
