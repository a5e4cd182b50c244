"""File -> napari layer -> file: shape, spacing, origin, direction and voxels are those of the scan, for any grid."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.layers import Layer
from scipy.spatial.transform import Rotation

from napari_genesis.readers import read_scans
from napari_genesis.writers import write_image

FORMATS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


def assert_same_scan(path: Path, image: Any, tolerance: float) -> None:
    """Compare a file with ``image`` by SimpleITK alone; tolerance in mm."""
    found = sitk.ReadImage(str(path))
    assert found.GetSize() == image.GetSize()
    corners = [
        (0, 0, 0),
        *(tuple(int(n) - 1 if i == axis else 0 for i, n in enumerate(image.GetSize())) for axis in range(3)),
    ]
    for corner in corners:
        expected = image.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose(found.TransformIndexToPhysicalPoint(corner), expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.GetSpacing(), image.GetSpacing(), rtol=1e-6)
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(found), sitk.GetArrayViewFromImage(image))


def through_napari(source: Path, target: Path) -> Any:
    (item,) = read_scans(str(source))
    layer = Layer.create(*item)
    assert write_image(str(target), *layer.as_layer_data_tuple()[:2]) == [str(target)]
    return layer


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), first=st.sampled_from(FORMATS), second=st.sampled_from(FORMATS))
def test_any_oblique_file_survives_napari(tmp_path: Path, seed: int, first: str, second: str) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(2, 7, 3))
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, shape).astype(np.int16))
    image.SetSpacing(tuple(rng.uniform(0.3, 5, 3)))
    image.SetOrigin(tuple(rng.uniform(-300, 300, 3)))
    direction = Rotation.random(random_state=seed).as_matrix() * rng.choice([-1, 1], 3)
    image.SetDirection(direction.ravel())
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    source, target = folder / f"source{first}", folder / f"target{second}"
    sitk.WriteImage(image, str(source))
    through_napari(source, target)
    single = ".nii" in first + second  # NIfTI keeps positions in single precision
    assert_same_scan(target, image, 2e-3 if single else 1e-6)


@pytest.mark.real
def test_a_chest_ct_from_dicom_is_what_itk_reads(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "open" / "dicom" / "lidc-0001.zip"
    with zipfile.ZipFile(archive) as files:
        files.extractall(tmp_path)
    folder = next(path.parent for path in tmp_path.rglob("*.dcm"))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    layer = through_napari(archive, tmp_path / "saved.nrrd")
    assert_same_scan(tmp_path / "saved.nrrd", image, 1e-6)
    np.testing.assert_allclose(layer.scale, image.GetSpacing()[::-1], rtol=1e-9)
    assert layer.data.shape == image.GetSize()[::-1]
    point = tuple(n // 2 for n in image.GetSize())
    np.testing.assert_allclose(layer.data_to_world(point[::-1]), image.TransformIndexToPhysicalPoint(point)[::-1])
    assert layer.metadata["genesis"]["unit"] == "HU"


@pytest.mark.real
def test_every_hostile_input_opens_or_is_said(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", errors.append)
    monkeypatch.setattr("napari.utils.notifications.show_warning", lambda message: None)
    folders = sorted((real_data / "hostile").iterdir())
    for folder in folders:
        before = len(errors)
        found = read_scans(str(folder))
        layers = [Layer.create(*item) for item in found if item[0] is not None]
        assert layers or len(errors) == before + 1, folder.name
        assert all(np.isfinite(layer.scale).all() for layer in layers)
    assert all("\n" not in error for error in errors)
