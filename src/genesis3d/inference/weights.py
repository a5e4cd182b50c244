"""How much each voxel of a window counts where windows overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Blend", "gaussian", "window_weights"]

Blend = Literal["gaussian", "constant", "monai"]
Triple = tuple[int, int, int]


def gaussian(size: Triple) -> NDArray[np.float32]:
    """Return the weights of a window (D, H, W): along each axis a Gaussian of sigma one eighth, 1e-3 at least.

    Sigma is nnU-Net's choice.  The floor is set axis by axis: set on the product it would, at the border of a scan,
    make a window that sees a voxel at its rim weigh as much as one that sees it in its middle.
    """
    axes = [np.maximum(axis, 1e-3) for axis in _axes(size)]
    return np.asarray(np.einsum("i,j,k->ijk", *axes), dtype=np.float32)


def window_weights(size: Triple, blend: Blend) -> NDArray[np.float32]:
    """Return the weights of a window (D, H, W) float32: :func:`gaussian`, all one, or as MONAI's inferer has them.

    MONAI's Gaussian (sigma_scale 0.125) is the product of the axes with its floor of 1e-3 set on the product.
    """
    if blend == "constant":
        return np.ones(size, np.float32)
    if blend == "gaussian":
        return gaussian(size)
    product = np.einsum("i,j,k->ijk", *(axis.astype(np.float32) for axis in _axes(size)))
    return np.asarray(np.maximum(product, max(float(product.min()), 1e-3)), dtype=np.float32)


def _axes(size: Triple) -> list[NDArray[np.float64]]:
    return [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in size]
