"""A volume turned, moved or stretched onto the grid of another by a matrix of world coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import SimpleITK as sitk
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry, Volume

__all__ = ["matrix_of", "moved", "transform_of"]


def moved(
    volume: Volume, matrix: tuple[tuple[float, ...], ...] | NDArray[np.float64], grid: Geometry, outside: float,
    labels: bool = False,
) -> Volume:  # fmt: skip
    """Return ``volume`` (1, D, H, W) on ``grid``, each point of which lies at ``matrix`` times it in the volume.

    Linear interpolation, float32; ``labels``: the nearest voxel's value and the type as it is.  Where the volume does
    not reach, the result is ``outside``.
    """
    import SimpleITK as sitk

    from genesis3d.io.itk import image_from_volume, volume_from_image

    filter = sitk.ResampleImageFilter()
    filter.SetInterpolator(sitk.sitkNearestNeighbor if labels else sitk.sitkLinear)
    filter.SetTransform(transform_of(np.asarray(matrix)))
    filter.SetSize([int(n) for n in reversed(grid.shape)])
    filter.SetOutputSpacing(grid.spacing[::-1])
    filter.SetOutputOrigin(grid.origin[::-1])
    filter.SetOutputDirection(np.asarray(grid.direction, dtype=np.float64)[::-1, ::-1].ravel().tolist())
    filter.SetDefaultPixelValue(float(outside))
    source = volume.with_data(volume.data[:1])
    result = volume_from_image(filter.Execute(image_from_volume(source, None if labels else np.float32)))
    return type(volume)(result.data, grid, volume.modality, volume.unit, volume.name, notes=volume.notes)


def matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    """Return a transform of points (x, y, z) as a 4 x 4 matrix of (S, P, L)."""
    turn = np.asarray(transform.GetMatrix(), np.float64).reshape(3, 3)[::-1, ::-1]
    centre, shift = (np.asarray(v, np.float64)[::-1] for v in (transform.GetCenter(), transform.GetTranslation()))
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + shift - turn @ centre
    return matrix


def transform_of(matrix: NDArray[Any]) -> sitk.Transform:
    """Return a 4 x 4 matrix of (S, P, L) as a transform of points (x, y, z)."""
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetMatrix([float(v) for v in matrix[:3, :3][::-1, ::-1].ravel()])
    transform.SetTranslation([float(v) for v in matrix[:3, 3][::-1]])
    return transform
