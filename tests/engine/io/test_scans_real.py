"""Real scans agree with SimpleITK on shape, spacing, origin, direction and every voxel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from genesis3d.io import list_series, read_volume, write_volume
from genesis3d.volume import Volume

pytestmark = [pytest.mark.real, pytest.mark.slow]


def assert_equal(volume: Volume, image: sitk.Image, tolerance_mm: float = 1e-9) -> None:
    assert volume.geometry.shape == image.GetSize()[::-1]
    np.testing.assert_allclose(volume.geometry.spacing, image.GetSpacing()[::-1], atol=tolerance_mm)
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin()[::-1], atol=tolerance_mm)
    direction = np.reshape(image.GetDirection(), (3, 3))[::-1, ::-1]
    np.testing.assert_allclose(volume.geometry.direction, direction, atol=1e-9)
    np.testing.assert_array_equal(volume.data[0], sitk.GetArrayViewFromImage(image))


@pytest.fixture(scope="module")
def lidc(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lidc")
    with zipfile.ZipFile(real_data / "open/dicom/lidc-0001.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def lidc_itk(lidc: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(lidc / "lidc-0001")))
    return reader.Execute()


def test_lidc_from_folder_and_zip(real_data: Path, lidc: Path, lidc_itk: sitk.Image) -> None:
    for path in (lidc, real_data / "open/dicom/lidc-0001.zip"):
        volume = read_volume(path)
        assert_equal(volume, lidc_itk)
        assert (volume.modality, volume.unit, volume.data.dtype) == ("CT", "HU", np.int16)
        assert any("-2048 HU" in note for note in volume.notes)
        [info] = list_series(path)
        assert (info.slices, info.shape, info.problem) == (133, (133, 512, 512), None)
        assert info.uid == volume.series


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_lidc_saved(lidc: Path, lidc_itk: sitk.Image, tmp_path: Path, suffix: str) -> None:
    path = write_volume(read_volume(lidc).canonical(), tmp_path / f"saved{suffix}")
    saved = read_volume(path)
    assert_equal(saved, lidc_itk, 1e-5 if suffix == ".nii.gz" else 1e-9)
    assert_equal(saved, sitk.ReadImage(str(path)))


def test_every_open_file(real_data: Path) -> None:
    files = sorted((real_data / "open").rglob("*.nii.gz"))
    assert len(files) > 100
    for path in files:
        assert_equal(read_volume(path), sitk.ReadImage(str(path)))


def test_chest_scans_are_taken_as_ct_and_nothing_else_is(real_data: Path) -> None:
    for path in sorted((real_data / "open/chest_ct").iterdir()):
        volume = read_volume(path)
        assert (volume.modality, volume.unit) == ("CT", "HU")
        assert any("taken as CT" in note for note in volume.notes)
    others = [*(real_data / "open/sarcoma_mr").iterdir(), *(real_data / "open/ms_brain_mr").rglob("*.nii.gz")]
    for path in [*others, *sorted((real_data / "open/hippocampus_mr").rglob("*.nii.gz"))[:40]]:
        assert read_volume(path).modality is None
