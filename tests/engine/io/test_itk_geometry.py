"""Geometry against SimpleITK: 200 random oblique grids, in memory and through every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from genesis3d.errors import GeometryError, ScanError
from genesis3d.io import read_volume, write_volume
from genesis3d.io.itk import geometry_from_itk, image_from_volume, speaking, volume_from_image
from genesis3d.volume import Volume

CASES = 200
# NIfTI keeps spacing, offsets and quaternion as float32: 24 bits of a coordinate of some hundred millimetres.
NIFTI_MM = 1e-4
EXACT_MM = 1e-6


def oblique_image(seed: int) -> sitk.Image:
    """Return a small image on a random grid: any handedness, spacings from 0.2 to 6 mm, origins to 900 mm."""
    rng = np.random.default_rng(seed)
    matrix, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    shape = tuple(int(n) for n in rng.integers(1, 7, 3))
    kind = (np.int16, np.uint8, np.float32)[seed % 3]
    image = sitk.GetImageFromArray(rng.integers(0, 120, shape).astype(kind))
    image.SetSpacing(rng.uniform(0.2, 6.0, 3).tolist())
    image.SetOrigin(rng.uniform(-900.0, 900.0, 3).tolist())
    image.SetDirection(matrix.ravel().tolist())
    return image


def farthest(image: sitk.Image, volume: Volume) -> float:
    """Return the largest distance in mm between where ITK and the volume place the corners of the grid."""
    worst = 0.0
    for corner in np.ndindex(2, 2, 2):
        index = [c * (n - 1) for c, n in zip(corner, image.GetSize(), strict=True)]
        lps = image.TransformIndexToPhysicalPoint(index)
        world = volume.geometry.to_world(tuple(index[::-1]))
        worst = max(worst, float(np.abs(np.subtract(world, lps[::-1])).max()))
    return worst


def test_volume_lies_where_itk_says_and_comes_back_the_same() -> None:
    for seed in range(CASES):
        image = oblique_image(seed)
        volume = volume_from_image(image)
        assert volume.data.shape == (1, *image.GetSize()[::-1])
        np.testing.assert_array_equal(volume.data[0], sitk.GetArrayViewFromImage(image))
        assert farthest(image, volume) < 1e-9
        back = image_from_volume(volume.canonical().as_source())
        np.testing.assert_allclose(back.GetDirection(), image.GetDirection(), atol=1e-12)
        np.testing.assert_allclose(back.GetOrigin(), image.GetOrigin(), atol=1e-9)
        assert back.GetSpacing() == image.GetSpacing()
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(back), sitk.GetArrayViewFromImage(image))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
def test_saved_canonical_volumes_keep_the_scans_own_grid(tmp_path: Path, suffix: str) -> None:
    limit = NIFTI_MM if suffix.startswith(".nii") else EXACT_MM
    for seed in range(0, CASES, 1 if suffix in (".nii.gz", ".nrrd") else 10):
        image = oblique_image(seed)
        path = write_volume(volume_from_image(image).canonical(), tmp_path / f"case{seed}{suffix}")
        saved, volume = sitk.ReadImage(str(path)), read_volume(path)
        assert volume.data.dtype == sitk.GetArrayViewFromImage(image).dtype
        np.testing.assert_array_equal(volume.data[0], sitk.GetArrayViewFromImage(image))
        assert farthest(image, volume) < limit
        assert farthest(saved, volume) < 1e-9


def test_channels_become_a_vector_image_and_back() -> None:
    data = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    volume = Volume(data=data, geometry=volume_from_image(sitk.Image([5, 4, 3], sitk.sitkUInt8)).geometry)
    image = image_from_volume(volume)
    assert image.GetNumberOfComponentsPerPixel() == 2
    np.testing.assert_array_equal(volume_from_image(image).data, data)


def test_a_two_dimensional_image_is_refused() -> None:
    with pytest.raises(GeometryError, match="three-dimensional"):
        geometry_from_itk((4, 5), (1.0, 1.0), (0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def test_a_failure_of_itk_becomes_one_sentence() -> None:
    with pytest.raises(ScanError) as caught, speaking("scan.nii"):
        sitk.ReadImage("nowhere.nii")
    assert str(caught.value).startswith("scan.nii: ")
    assert "\n" not in str(caught.value)
    assert ".cxx" not in str(caught.value)
