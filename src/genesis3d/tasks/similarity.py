"""How alike two sub-volumes are, case by case: peak signal-to-noise ratio and structural similarity, in 3D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MAX_PSNR", "WindowKind", "psnr", "ssim"]

WindowKind = Literal["gaussian", "uniform"]

MAX_PSNR = 100.0  # dB: a mean squared error below 1e-10 is that of float32 itself
SIGMA = 1.5  # voxels (Wang 2004, section III.C)
C1, C2 = 0.01**2, 0.03**2  # (K1 L)^2 and (K2 L)^2 of Wang 2004 for a data range L of 1


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each case, (B,) float32 in dB.

    ``x`` and ``y`` are (B, C, D, H, W) in [0, 1]: 10 log10(1 / mean squared error) over all channels and voxels, at
    most :data:`MAX_PSNR`.

    Raises
    ------
    ConfigError
        Unless both are of one shape (B, C, D, H, W).
    """
    _same_shape(x, y)
    error = (x.float() - y.float()).square().mean(dim=(1, 2, 3, 4))
    return -10.0 * error.clamp_min(10 ** (-MAX_PSNR / 10)).log10()


def ssim(x: Tensor, y: Tensor, *, window: WindowKind = "gaussian", size: int | None = None) -> Tensor:
    """Return the mean structural similarity of each case, (B,) float32, 1 for equal sub-volumes; differentiable.

    ``x`` and ``y`` are (B, C, D, H, W) in [0, 1].  Means, variances and covariance are taken in a 3D window around
    every voxel whose window lies inside (population statistics), then equation 13 of Wang et al. 2004 (Image Quality
    Assessment, IEEE TIP 13, 4) is averaged over channels and voxels.

    Parameters
    ----------
    window : ``gaussian`` with a standard deviation of 1.5 voxels, or ``uniform``
    size : voxels along each axis, odd; None: 11 (gaussian) or 7 (uniform); along an axis of fewer voxels, the
        largest odd number that fits

    Raises
    ------
    ConfigError
        Unless both are of one shape (B, C, D, H, W) and ``size`` is odd and positive.
    """
    import torch

    _same_shape(x, y)
    size = {"gaussian": 11, "uniform": 7}[window] if size is None else size
    if size < 1 or size % 2 == 0:
        raise ConfigError(f"ssim size: expected an odd number of voxels, got {size}")
    a, b = x.float(), y.float()
    with torch.autocast(x.device.type, enabled=False):  # differences of squares need all bits of float32
        maps = torch.cat([a, b, a * a, b * b, a * b], dim=1)
        mean_a, mean_b, square_a, square_b, product = _windowed(maps, window, size).chunk(5, dim=1)
    means = mean_a * mean_b
    variance_a, variance_b = square_a - mean_a.square(), square_b - mean_b.square()
    above = (2 * means + C1) * (2 * (product - means) + C2)
    below = (mean_a.square() + mean_b.square() + C1) * (variance_a + variance_b + C2)
    return (above / below).mean(dim=(1, 2, 3, 4))


def _same_shape(x: Tensor, y: Tensor) -> None:
    if x.ndim != 5 or x.shape != y.shape:
        raise ConfigError(f"similarity: expected two (B, C, D, H, W) of one shape, got {(*x.shape,)} and {(*y.shape,)}")


def _windowed(x: Tensor, window: WindowKind, size: int) -> Tensor:
    """Return the weighted mean of ``x`` (B, C, D, H, W) in every whole window: one axis after the other."""
    import torch
    from torch.nn import functional

    cases = x.shape[:2]
    x = x.flatten(0, 1)[:, None]
    for axis in (2, 3, 4):
        taps = min(size, x.shape[axis] - 1 + x.shape[axis] % 2)
        weights = torch.ones(taps, device=x.device)
        if window == "gaussian":
            offset = torch.arange(taps, device=x.device, dtype=torch.float32) - taps // 2
            weights = (-0.5 * (offset / SIGMA).square()).exp()
        kernel = [taps if i == axis else 1 for i in (2, 3, 4)]
        x = functional.conv3d(x, (weights / weights.sum()).reshape(1, 1, *kernel))
    return x.reshape(*cases, *x.shape[2:])
