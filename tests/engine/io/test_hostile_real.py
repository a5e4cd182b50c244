"""Every folder and file of the hostile collection: opened with the right geometry, or refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from genesis3d.errors import ScanError
from genesis3d.io import list_series, read_volume

pytestmark = pytest.mark.real

# path: (shape D, H, W; spacing in mm; what the notes must say)
OPENS: dict[str, tuple[tuple[int, int, int], tuple[float, float, float], str]] = {
    "dicom2nifti/failing/slicecount/001": ((2, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/ge/anatomical/001_implicit": ((4, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/ge/anatomical/001_single_slice": ((1, 256, 256), (1.0, 1.0, 1.0), "single slice"),
    "dicom2nifti/generic/anatomical/002_non_isotropic": ((4, 28, 64), (0.5, 4.0, 6.4), ""),
    "dicom2nifti/generic/compressed_j2k/001": ((4, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/generic/compressed_jpeg/001": ((4, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/generic/compressed_jpegls/001": ((4, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/generic/compressed_rle/001": ((4, 256, 256), (1.0, 1.0, 1.0), ""),
    "dicom2nifti/philips_enhanced/anatomical/001": ((8, 256, 256), (1.2, 1.0, 1.0), ""),
    "nifti/CT_pitch.nii.gz": ((58, 248, 175), (2.39705, 0.8125, 0.8125), ""),
    "nifti/IAL.nii.gz": ((64, 79, 67), (2.38523, 2.38975, 2.36649), ""),
    "nifti/LPI.nii.gz": ((67, 79, 64), (2.36649, 2.38975, 2.38523), ""),
    "nifti/RAS.nii.gz": ((67, 79, 64), (2.36649, 2.38975, 2.38523), ""),
    "nifti/nan.mha": ((64, 110, 78), (1.0, 1.0, 1.0), "1592 voxels .* NaN"),
    "pydicom/CT_small.dcm": ((1, 128, 128), (5.0, 0.661468, 0.661468), "single slice"),
    "pydicom/MR_small_RLE.dcm": ((1, 64, 64), (0.8, 0.3125, 0.3125), "single slice"),
}
REFUSED: dict[str, str] = {
    "dcm_qa_ct_GE_tilt_varspacing": r"sheared by 18\.5 degrees",
    "dcm_qa_ct_philips_secondary_rgb": "only localizer",
    "dicom2nifti/failing/gantrytilting/001": r"sheared by 14\.0 degrees",
    "dicom2nifti/failing/notavolume/001": "all lie at one position",
    "dicom2nifti/failing/sliceincrement/001": "a slice is missing",
    "dicom2nifti/ge/fmri/001": "holds 2 volumes .* choose channel 0 to 1",
    "dicom2nifti/generic/rgb/001": "holds 3 colours per pixel: choose channel 0 to 2",
    "fda_phantom_j2k": "voxels cannot be decoded",
    "lidc0002_missing_slices": "12 slices are missing",
    "nifti/img4d_11f.nii.gz": "choose channel 0 to 10",
    "nifti/seg4d_11f.nii.gz": "choose channel 0 to 10",
    "nifti/multi_chunk.nii.gz": "choose channel 0 to 1",
    "nifti/tensor_rgb.nii.gz": "choose channel 0 to 2",
    "pydicom/ExplVR_BigEnd.dcm": "no position and orientation in space",
    "pydicom/JPEG2000.dcm": "no position and orientation in space",
    "pydicom/SC_rgb_small_odd.dcm": "no position and orientation in space",
    "pydicom/image_dfl.dcm": "no position and orientation in space",
    "pydicom/meta_missing_tsyntax.dcm": "DICOM objects without one",
    "pydicom/no_meta.dcm": "neither DICOM nor",
    "pydicom/rtstruct.dcm": r"without one \(RTSTRUCT\)",
}
CHANNELS = {
    "dicom2nifti/ge/fmri/001": (2, (4, 64, 64)),
    "dicom2nifti/generic/rgb/001": (3, (4, 77, 52)),
    "nifti/img4d_11f.nii.gz": (11, (38, 35, 38)),
    "nifti/multi_chunk.nii.gz": (2, (39, 52, 64)),
    "nifti/tensor_rgb.nii.gz": (3, (20, 36, 36)),
}


def entries(root: Path) -> set[str]:
    """Return the things a user would open: folders of slices, and single files of the two mixed folders."""
    folders = {p.parent for p in root.rglob("*") if p.is_file()} - {root / "nifti", root / "pydicom"}
    files = [*(root / "nifti").iterdir(), *(root / "pydicom").iterdir()]
    return {p.relative_to(root).as_posix() for p in (*folders, *files)}


def test_the_tables_cover_the_collection(real_data: Path) -> None:
    assert entries(real_data / "hostile") == set(OPENS) | set(REFUSED)


@pytest.mark.parametrize("entry", OPENS)
def test_opens_with_the_right_geometry(real_data: Path, capfd: pytest.CaptureFixture[str], entry: str) -> None:
    shape, spacing, note = OPENS[entry]
    path = real_data / "hostile" / entry
    volume = read_volume(path)
    assert volume.data.shape == (1, *shape)
    assert volume.geometry.spacing == pytest.approx(spacing, rel=1e-4)
    assert re.search(note, " | ".join(volume.notes))
    assert [info.shape for info in list_series(path)] == [shape]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("entry", REFUSED)
def test_is_refused_in_one_sentence(real_data: Path, capfd: pytest.CaptureFixture[str], entry: str) -> None:
    path = real_data / "hostile" / entry
    with pytest.raises(ScanError, match=REFUSED[entry]) as caught:
        read_volume(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("entry", CHANNELS)
def test_each_channel_opens_when_asked_for(real_data: Path, entry: str) -> None:
    count, shape = CHANNELS[entry]
    path = real_data / "hostile" / entry
    volumes = [read_volume(path, channel=channel) for channel in range(count)]
    assert {volume.data.shape for volume in volumes} == {(1, *shape)}
    assert not np.array_equal(volumes[0].data, volumes[1].data)
    with pytest.raises(ScanError, match=f"channel from 0 to {count - 1}, got {count}"):
        read_volume(path, channel=count)


def test_the_four_codings_of_one_scan_agree(real_data: Path) -> None:
    generic = real_data / "hostile/dicom2nifti/generic"
    codings = [read_volume(generic / f"compressed_{name}/001") for name in ("rle", "jpeg", "jpegls", "j2k")]
    for other in codings[1:]:
        np.testing.assert_array_equal(other.data, codings[0].data)
        assert other.geometry == codings[0].geometry


def test_three_turns_of_one_brain_lie_at_the_same_place(real_data: Path) -> None:
    folder = real_data / "hostile/nifti"
    turned = [read_volume(folder / f"{name}.nii.gz") for name in ("RAS", "LPI", "IAL")]
    first = turned[0].canonical()
    for other in turned[1:]:
        assert other.canonical().geometry.matches(first.geometry, 1e-2)
        np.testing.assert_array_equal(other.canonical().data, first.data)


def test_slices_with_their_own_rescale_are_each_rescaled(real_data: Path) -> None:
    import pydicom

    folder = real_data / "hostile/dicom2nifti/generic/anatomical/002_non_isotropic"
    volume = read_volume(folder)
    stored = sorted((pydicom.dcmread(p) for p in folder.iterdir()), key=lambda d: float(d.ImagePositionPatient[2]))
    assert len({float(d.RescaleSlope) for d in stored}) == 4
    for plane, dataset in zip(volume.data[0], stored, strict=True):
        wanted = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_allclose(plane, wanted, rtol=1e-6)


def test_a_folder_of_everything_reads_a_scan_and_names_the_others(real_data: Path) -> None:
    folder = real_data / "hostile/dicom2nifti/generic"
    volume = read_volume(folder)
    assert "largest of 3 series" in volume.notes[0]
    assert any("12 copies" in note for note in volume.notes)
    smallest = list_series(folder)[-1]
    assert read_volume(folder, series=smallest.uid).geometry.shape == smallest.shape
