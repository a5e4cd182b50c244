"""Made-up hostile input: refused in one sentence naming it, or repaired and said; never a crash or a full memory."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import SimpleITK as sitk

from genesis3d.errors import ScanError
from genesis3d.io import list_series, read_volume
from genesis3d.io.nifti import read_nifti_header, require_complete

Maker = Callable[..., Path]


def refused(path: Path, phrase: str) -> str:
    """Assert that ``path`` is refused with ``phrase`` in one sentence naming it, without taking memory."""
    before = psutil.Process().memory_info().rss
    with pytest.raises(ScanError, match=phrase) as caught:
        read_volume(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert psutil.Process().memory_info().rss - before < 200 << 20
    return message


def saved(path: Path, compress: bool = True) -> Path:
    """Write a small NIfTI, NRRD or MetaImage."""
    data = np.random.default_rng(0).integers(0, 1000, (20, 30, 40)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(data), str(path), compress)
    return path


def edited(path: Path, layout: str, offset: int, *values: Any) -> Path:
    """Overwrite fields of the header of the uncompressed file ``path``."""
    raw = bytearray(path.read_bytes())
    struct.pack_into(f"<{layout}", raw, offset, *values)
    path.write_bytes(raw)
    return path


# files


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".dcm", ".zip", ".nhdr", ""])
@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text\n" * 50, bytes(range(256)) * 40], ids=["empty", "text", "bytes"]
)
def test_what_is_no_image_is_refused(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(content)
    refused(path, ".")
    with pytest.raises(ScanError):
        list_series(path)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.003, 0.3, 0.98])
def test_truncated_files_are_refused(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / f"scan{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, ".")
    assert capfd.readouterr().err == ""


def test_a_corrupt_gzip_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "scan.nii.gz")
    whole = path.read_bytes()
    header = read_nifti_header(path)
    for first, last, phrase in ((len(whole) // 2, len(whole) // 2 + 200, "corrupt"), (-8, -4, "is corrupt .*check")):
        path.write_bytes(whole[:first] + bytes(last - first) + whole[last:])
        refused(path, "corrupt")
        with pytest.raises(ScanError, match=phrase):
            require_complete(path, header)


def detached(path: Path, data: str, size: str = "4 3 2") -> Path:
    """Write a MetaImage header that names ``data``."""
    path.write_text(
        f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementType = MET_UCHAR\nElementDataFile = {data}\n"
    )
    return path


def test_detached_headers_and_their_data(tmp_path: Path) -> None:
    (tmp_path / "scan.raw").write_bytes(bytes(24))
    volume = read_volume(detached(tmp_path / "scan.mhd", "scan.raw"))
    assert volume.notes == ("the file states no voxel spacing; 1 mm is assumed",)
    refused(detached(tmp_path / "lost.mhd", "lost.raw"), "the data file it names, lost.raw, is missing")
    refused(detached(tmp_path / "more.mhd", "scan.raw", "4 3 3"), "announces 36 bytes .* holds only 24 bytes")
    refused(detached(tmp_path / "list.mhd", "LIST"), "list of them")
    refused(detached(tmp_path / "many.mhd", "slice%03d.raw 1 2 1"), "list of them")
    refused(detached(tmp_path / "folder.mhd", "."), "no plain file")
    if Path("/dev/zero").exists():
        refused(detached(tmp_path / "endless.mhd", "/dev/zero"), "no plain file")


NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 3 2\nencoding: raw\n"
META = "ObjectType = Image\nNDims = 3\nDimSize = 4 3 2\nElementType = MET_UCHAR\n"


@pytest.mark.parametrize(
    ("name", "header", "phrase"),
    [
        ("a.nrrd", NRRD + "space: LPS\nspace directions: (1,0,0) (0.3,1,0) (0,0,2)\n\n", "no shear"),
        ("a.nrrd", NRRD + "space: LPS\nspace directions: (0,0,0) (0,1,0) (0,0,2)\n\n", "positive voxel spacings"),
        ("a.nrrd", NRRD + "spacings: -1 1 1\n\n", "positive voxel spacings"),
        ("a.mha", META + "TransformMatrix = 1 0 0 0.3 1 0 0 0 1\nElementDataFile = LOCAL\n", "no shear"),
        ("a.mha", META + "ElementSpacing = 1 -1 1\nElementDataFile = LOCAL\n", "positive voxel spacings"),
    ],
)
def test_text_headers_that_are_no_grid_are_refused(tmp_path: Path, name: str, header: str, phrase: str) -> None:
    (tmp_path / name).write_bytes(header.encode() + bytes(24))
    refused(tmp_path / name, phrase)


@pytest.mark.parametrize("spacing", ["", "spacings: nan nan nan\n"])
def test_a_missing_spacing_is_said(tmp_path: Path, spacing: str) -> None:
    (tmp_path / "a.nrrd").write_bytes(f"{NRRD}{spacing}\n".encode() + bytes(24))
    assert read_volume(tmp_path / "a.nrrd").notes == ("the file states no voxel spacing; 1 mm is assumed",)
    (tmp_path / "b.nrrd").write_bytes(f"{NRRD}spacings: 1 2 3\n\n".encode() + bytes(24))
    assert read_volume(tmp_path / "b.nrrd").notes == ()


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_of_ten_to_the_twelve_voxels_takes_no_memory(tmp_path: Path, packed: bool) -> None:
    path = edited(saved(tmp_path / "scan.nii"), "3h", 42, 10_000, 10_000, 10_000)
    if packed:
        path = path.rename(tmp_path / "scan.nii.gz")
        path.write_bytes(gzip.compress(path.read_bytes()))
    refused(path, "header announces 1.82 TiB")


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_absurd_text_headers_take_no_memory(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path / f"scan{suffix}", compress=False)
    path.write_bytes(path.read_bytes().replace(b"40 30 20", b"90000 90000 90000"))
    refused(path, ".")


def test_a_true_header_too_large_for_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 10_000

    path = saved(tmp_path / "scan.nii.gz")
    monkeypatch.setattr(psutil, "virtual_memory", Little)
    with pytest.raises(ScanError, match=r"needs 93\.8 KiB of memory, 8\.3 KiB are free"):
        read_volume(path)


@pytest.mark.parametrize(
    ("layout", "offset", "values", "phrase"),
    [
        ("h", 70, (32,), "complex numbers"),
        ("12f", 280, (1, 0.3, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0), "sheared by 16.70 degrees"),
        ("12f", 280, (0,) * 12, "sform with three axes"),
        ("f", 80, (0.0,), "positive voxel spacings"),
        ("f", 84, (-2.0,), "positive voxel spacings"),
        ("f", 88, (float("nan"),), "positive voxel spacings"),
        ("h", 40, (2,), "three dimensions"),
        ("h", 42, (-5,), "."),
        ("h", 70, (77,), "."),
        ("f", 108, (1e9,), "truncated or corrupt"),
        ("4s", 344, (b"junk",), "no NIfTI header"),
    ],
)
def test_broken_nifti_headers_are_refused(
    tmp_path: Path, layout: str, offset: int, values: tuple[Any, ...], phrase: str
) -> None:
    refused(edited(saved(tmp_path / "scan.nii"), layout, offset, *values), phrase)


@pytest.mark.parametrize(
    ("code", "scale", "note"), [(1, 1000.0, "metres"), (3, 0.001, "micrometres"), (0, 1.0, "no unit")]
)
def test_nifti_units_are_turned_into_mm_and_said(tmp_path: Path, code: int, scale: float, note: str) -> None:
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16))
    image.SetOrigin((7, 8, 9))
    sitk.WriteImage(image, str(tmp_path / "scan.nii"))
    volume = read_volume(edited(tmp_path / "scan.nii", "B", 123, code))
    assert volume.geometry.spacing == pytest.approx((scale,) * 3)
    assert volume.geometry.origin == pytest.approx((9 * scale, 8 * scale, 7 * scale))
    assert note in " ".join(volume.notes)


def test_nifti_without_or_with_two_places_in_space_says_so(tmp_path: Path) -> None:
    lost = edited(saved(tmp_path / "lost.nii"), "2h", 252, 0, 0)
    assert "no place in space" in " ".join(read_volume(lost).notes)
    moved = edited(saved(tmp_path / "moved.nii"), "12f", 280, -1, 0, 0, 50, 0, -1, 0, 0, 0, 0, 1, 0)
    assert "qform and sform disagree by 50 mm" in " ".join(read_volume(moved).notes)


def test_four_dimensions_and_colours_ask_for_a_channel(tmp_path: Path) -> None:
    data = np.arange(3 * 4 * 5 * 6, dtype=np.int16).reshape(3, 4, 5, 6)
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(part) for part in data]), str(tmp_path / "time.nii.gz"))
    colours = sitk.GetImageFromArray(np.moveaxis(data, 0, -1).astype(np.uint8), isVector=True)
    sitk.WriteImage(colours, str(tmp_path / "rgb.nrrd"))
    for path in (tmp_path / "time.nii.gz", tmp_path / "rgb.nrrd"):
        refused(path, "holds 3 values per voxel .* choose channel 0 to 2")
        assert list_series(path)[0].channels == 3
        np.testing.assert_array_equal(read_volume(path, channel=1).data[0], data[1].astype(np.uint8))
        with pytest.raises(ScanError, match="channel from 0 to 2, got 3"):
            read_volume(path, channel=3)


@pytest.mark.parametrize(("suffix", "fate"), [(".nii.gz", "were read as 0"), (".mha", "are kept as they are")])
def test_nan_is_reported_and_nothing_but_nan_refused(tmp_path: Path, suffix: str, fate: str) -> None:
    data = np.ones((4, 5, 6), np.float32)
    data[0, 0, :2] = np.nan
    data[3, 4, 5] = np.inf
    sitk.WriteImage(sitk.GetImageFromArray(data), str(tmp_path / f"some{suffix}"))
    volume = read_volume(tmp_path / f"some{suffix}")
    assert volume.notes == (f"3 voxels (2.5 %) are NaN or infinite; they {fate}",)
    np.testing.assert_array_equal(volume.data[0][np.isfinite(data)], 1)
    sitk.WriteImage(sitk.GetImageFromArray(np.full_like(data, np.nan)), str(tmp_path / f"all{suffix}"))
    refused(tmp_path / f"all{suffix}", "all 120 voxels are NaN")


# folders and archives


def test_folders_without_a_scan_say_what_they_hold(tmp_path: Path) -> None:
    refused(tmp_path, "an empty folder")
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text("text")
    refused(tmp_path, "expected DICOM files, got 3 files of which none is")
    saved(tmp_path / "scan.nrrd")
    refused(tmp_path, r"open a file of it, as scan\.nrrd")
    refused(tmp_path / "nowhere", "no such file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    refused(tmp_path, "empty folder")
    refused(tmp_path / "pipe.dcm", "device or pipe")


def test_zips_without_dicom_broken_or_bombs_are_refused(tmp_path: Path, make_series: Maker) -> None:
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    refused(tmp_path / "empty.zip", "0 files of which none is DICOM")
    with zipfile.ZipFile(tmp_path / "text.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    refused(tmp_path / "text.zip", "1 files of which none is DICOM")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(128) + b"DICM" + bytes(80 << 20))
    refused(tmp_path / "bomb.zip", "zip bomb")
    whole = zipped(make_series(), tmp_path / "cut.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.zip", "cannot be read as a zip")


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    """Pack ``folder`` into a zip whose entries are called ``prefix`` and the file's name."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def test_a_zip_whose_names_lead_out_of_the_folder_stays_inside(
    tmp_path: Path, make_series: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "deep/er"
    temporary.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder = make_series()
    path = zipped(folder, tmp_path / "scan.zip", "../../")
    np.testing.assert_array_equal(read_volume(path).data, read_volume(folder).data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "scan.zip", "series"]
    assert list(temporary.iterdir()) == []


def test_errors_inside_a_zip_name_the_zip(tmp_path: Path, make_series: Maker) -> None:
    folder = make_series(each=lambda i: {"position": (0.0, 0.0, float(i**2))})
    message = refused(zipped(folder, tmp_path / "scan.zip"), "the distance between its slices varies from 1 to 9 mm")
    assert "genesis3d-" not in message


# series


def test_a_whole_series_is_sorted_by_place(make_series: Maker) -> None:
    volume = read_volume(make_series())
    assert volume.geometry.shape == (6, 8, 10)
    assert volume.geometry.spacing == (2.5, 0.5, 0.75)
    assert volume.geometry.origin == (100.0, -30.0, -20.0)
    assert (volume.modality, volume.unit, volume.notes) == ("CT", "HU", ())
    planes = np.random.default_rng(3).integers(0, 2000, (6, 8, 10)).astype(np.int16)
    np.testing.assert_array_equal(volume.data[0], planes - 1024)


OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]


@pytest.mark.parametrize(
    ("each", "phrase"),
    [
        (
            lambda i: {"position": (0, 0, 2.5 * (i + 2 * (i > 3)))},
            "2 slices are missing .*7.5 mm between slices 2.5 mm",
        ),
        (lambda i: {"position": (0, 0, 2.5 * i + 0.3 * (i == 2))}, "varies from 2.2 to 2.8 mm"),
        (lambda i: {"position": (0, i, 2.5 * i)}, "sheared by 21.8 degrees"),
        (lambda i: {"ImageOrientationPatient": OBLIQUE if i == 4 else [1, 0, 0, 0, 1, 0]}, "mixed orientations"),
        (lambda i: {"ImageOrientationPatient": [1, 0, 0, 0.5, 0.8, 0]}, "unit vectors|perpendicular"),
        (lambda i: {"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]}, "not perpendicular"),
        (lambda i: {"ImagePositionPatient": None}, "6 of its 6 pictures have no position"),
        (lambda i: {"PixelSpacing": [0.5, 0.5 + 0.1 * (i == 1)]}, "differ in pixel spacing"),
        (lambda i: {"PixelSpacing": None}, "pixel spacing is missing"),
        (lambda i: {"PixelSpacing": [0, 0]}, "pixel spacing is missing or not positive"),
        (lambda i: {"position": (0, 0, 1)}, "6 slices all lie at one position"),
        (lambda i: {"position": (0, 0, 2.5 * min(i, 4))}, "repeated unevenly"),
        (lambda i: {"plane": np.zeros((8, 10 + (i == 2)), np.int16)}, "differ in size"),
        (lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "mosaics"),
        (lambda i: {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "only localizer"),
        (lambda i: {"Modality": "SEG"}, "DICOM objects without one"),
        (lambda i: {"Columns": 20}, "got fewer"),
        (lambda i: {"Rows": 60000, "Columns": 60000}, "."),
        (lambda i: {"NumberOfFrames": 2_000_000_000}, "no position and orientation"),
        (lambda i: {"BitsAllocated": 12}, "8, 16 or 32 bits"),
        (lambda i: {"PhotometricInterpretation": "PALETTE COLOR"}, "coloured by a palette"),
    ],
)
def test_series_that_are_no_grid_are_refused(
    make_series: Maker, each: Callable[[int], dict[str, Any]], phrase: str
) -> None:
    refused(make_series(each=each), phrase)


def test_rounded_positions_are_taken_as_even_and_said(make_series: Maker) -> None:
    volume = read_volume(make_series(each=lambda i: {"position": (0, 0, round(0.625 * i, 1))}))
    assert volume.geometry.spacing[0] == pytest.approx(0.62)
    assert "off an even grid of 0.62 mm by up to 0.04 mm (rounding)" in " ".join(volume.notes)


def test_localizers_in_a_series_are_left_out_and_said(make_series: Maker) -> None:
    other = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": OBLIQUE}
    volume = read_volume(make_series(7, each=lambda i: other if i == 6 else {}))
    assert volume.geometry.shape[0] == 6
    assert volume.notes == ("1 localizer pictures of the series were left out",)


def test_copies_and_repeats_of_slices_are_left_out_and_said(tmp_path: Path, make_series: Maker) -> None:
    folder = make_series()
    (folder / "copy.dcm").write_bytes((folder / "001.dcm").read_bytes())
    assert read_volume(folder).notes == ("1 copies of slices that are there already were left out",)
    plane = np.arange(80, dtype=np.int16).reshape(8, 10)
    again = make_series(6, "again", lambda i: {"position": (0, 0, 2.5 * min(i, 4)), "plane": plane})
    assert read_volume(again).geometry.shape[0] == 5
    assert "1 slices that repeat another" in read_volume(again).notes[0]


def test_time_points_ask_for_a_channel(make_series: Maker) -> None:
    folder = make_series(6, each=lambda i: {"position": (0, 0, 2.5 * (i % 3)), "InstanceNumber": i + 1})
    refused(folder, "holds 2 volumes at the same positions")
    planes = np.random.default_rng(3).integers(0, 2000, (6, 8, 10)).astype(np.int16) - 1024
    np.testing.assert_array_equal(read_volume(folder, channel=1).data[0], planes[3:])


def test_several_series_are_listed_and_the_largest_read(tmp_path: Path, make_series: Maker) -> None:
    make_series(3, "both/small", lambda i: {"SeriesInstanceUID": "1.2.3", "SeriesDescription": "Small"})
    make_series(6, "both/large")
    found = list_series(tmp_path / "both")
    assert [(info.uid, info.slices) for info in found][1] == ("1.2.3", 3)
    assert found[0].label() == "Made 2.5 mm, CT, 6 slices of 10 x 8, 0.75 x 0.50 x 2.50 mm"
    volume = read_volume(tmp_path / "both")
    assert volume.geometry.shape[0] == 6
    assert "the largest of 2 series was read; the others: Small, CT, 3 slices" in volume.notes[0]
    assert read_volume(tmp_path / "both", series="1.2.3").geometry.shape[0] == 3
    with pytest.raises(ScanError, match=r"has no series 9\.9"):
        read_volume(tmp_path / "both", series="9.9")


def test_a_refused_series_names_one_that_opens(tmp_path: Path, make_series: Maker) -> None:
    make_series(3, "both/small", lambda i: {"SeriesInstanceUID": "1.2.3"})
    make_series(6, "both/large", lambda i: {"position": (0, i, 2.5 * i)})
    assert "sheared" in (list_series(tmp_path / "both")[0].problem or "")
    refused(tmp_path / "both", r"tilt first; series 1\.2\.3 .* can be opened instead")


def test_truncated_and_broken_slices(make_series: Maker) -> None:
    folder = make_series()
    victim = folder / "003.dcm"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-40])
    refused(folder, "voxels are truncated")
    victim.write_bytes(whole[:300])
    refused(folder, "a slice is missing")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"])
def test_plain_transfer_syntaxes_agree(make_series: Maker, syntax: str) -> None:
    wanted = read_volume(make_series())
    volume = read_volume(make_series(6, "other", lambda i: {"syntax": syntax}))
    np.testing.assert_array_equal(volume.data, wanted.data)


def test_files_without_preamble_open(make_series: Maker) -> None:
    folder = make_series()
    wanted = read_volume(folder)
    for path in folder.iterdir():
        raw = path.read_bytes()
        meta = struct.unpack("<I", raw[140:144])[0]
        path.write_bytes(raw[144 + meta :])
    np.testing.assert_array_equal(read_volume(folder).data, wanted.data)


def test_overlays_in_high_bits_are_masked(make_series: Maker) -> None:
    planes = np.random.default_rng(3).integers(0, 2000, (6, 8, 10)).astype(np.uint16)

    def each(i: int) -> dict[str, Any]:
        return {
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "plane": planes[i] | np.uint16(0xF000 * (i == 2)),
        }

    np.testing.assert_array_equal(read_volume(make_series(each=each)).data[0], planes.astype(np.int16) - 1024)


def test_a_ct_without_rescale_is_not_called_hu(make_series: Maker) -> None:
    volume = read_volume(make_series(each=lambda i: {"RescaleSlope": None, "RescaleIntercept": None}))
    assert (volume.modality, volume.unit) == ("CT", None)
    assert "names no rescale to HU" in " ".join(volume.notes)


@pytest.mark.parametrize("suffix", [".dcm", ".zip"])
def test_nothing_of_the_patient_is_told(tmp_path: Path, make_series: Maker, suffix: str) -> None:
    folder = make_series()
    path = zipped(folder, tmp_path / "scan.zip") if suffix == ".zip" else folder / "001.dcm"
    volume = read_volume(path)
    told = f"{volume.name} {volume.notes} {volume.modality} {list_series(path)}"
    assert "ecret" not in told
    assert "SECRET" not in told
    assert "1999" not in told
