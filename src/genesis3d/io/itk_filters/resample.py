"""Another grid for the same scan: linear interpolation, after smoothing where the new grid is coarser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.volume import Geometry

if TYPE_CHECKING:
    from genesis3d.volume import Volume

    Vector = tuple[float, float, float]

__all__ = ["grid_of_spacing", "resampled", "resampled_onto"]

# A Gaussian of the full width at half maximum w has the standard deviation w / 2.355.
FULL_WIDTH = 2.0 * np.sqrt(2.0 * np.log(2.0))


def grid_of_spacing(geometry: Geometry, spacing: Vector) -> Geometry:
    """Return the grid of ``spacing`` (mm along D, H, W) that covers ``geometry`` to half a voxel, centre on centre."""
    ratio = np.divide(spacing, geometry.spacing)
    sizes = [max(1, round(n / r)) for n, r in zip(geometry.shape, ratio, strict=True)]
    first = [(n - 1) / 2 - (m - 1) / 2 * r for n, m, r in zip(geometry.shape, sizes, ratio, strict=True)]
    s, p, left = (float(v) for v in geometry.to_world((first[0], first[1], first[2])))
    return Geometry((sizes[0], sizes[1], sizes[2]), spacing, (s, p, left), geometry.direction)


def resampled(volume: Volume, spacing: Vector) -> Volume:
    """Return ``volume`` on voxels of ``spacing`` (mm along D, H, W), float32; itself when it has them already.

    Along an axis that becomes coarser by a factor f the scan is first smoothed by a Gaussian of the standard
    deviation sqrt(f^2 - 1) / 2.355 old voxels, which takes the resolution of the old voxel to that of the new one
    (Cardoso et al.: Scale factor point spread function matching, MICCAI 2015).
    """
    if np.allclose(spacing, volume.geometry.spacing, rtol=1e-3, atol=0):
        return volume
    return _interpolated(_smoothed(volume, spacing), grid_of_spacing(volume.geometry, spacing), None)


def resampled_onto(volume: Volume, grid: Geometry, outside: float) -> Volume:
    """Return ``volume`` on ``grid``, float32, with the value ``outside`` where it does not reach."""
    return _interpolated(_smoothed(volume, grid.spacing), grid, outside)


def _smoothed(volume: Volume, spacing: Vector) -> Volume:
    import SimpleITK as sitk

    from genesis3d.io.itk import image_from_volume, volume_from_image

    own = volume.geometry.spacing
    deviations = [s * np.sqrt(max((t / s) ** 2 - 1.0, 0.0)) / FULL_WIDTH for s, t in zip(own, spacing, strict=True)]
    if max(deviations) == 0:
        return volume
    image = image_from_volume(volume, np.float32)
    variances = [float(d) ** 2 for d in reversed(deviations)]
    return volume.with_data(volume_from_image(sitk.DiscreteGaussian(image, variances, 128, 0.005, True)).data)


def _interpolated(volume: Volume, grid: Geometry, outside: float | None) -> Volume:
    import SimpleITK as sitk

    from genesis3d.io.itk import image_from_volume, volume_from_image

    filter = sitk.ResampleImageFilter()
    filter.SetInterpolator(sitk.sitkLinear)
    filter.SetSize([int(n) for n in reversed(grid.shape)])
    filter.SetOutputSpacing(grid.spacing[::-1])
    filter.SetOutputOrigin(grid.origin[::-1])
    filter.SetOutputDirection(np.asarray(grid.direction, dtype=np.float64)[::-1, ::-1].ravel().tolist())
    filter.SetUseNearestNeighborExtrapolator(outside is None)
    filter.SetDefaultPixelValue(0.0 if outside is None else float(outside))
    result = volume_from_image(filter.Execute(image_from_volume(volume, np.float32)))
    return type(volume)(
        result.data, grid, volume.modality, volume.unit, volume.name, volume.source, volume.series,
        notes=volume.notes,
    )  # fmt: skip
