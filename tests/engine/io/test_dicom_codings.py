"""DICOM in other clothes: enhanced multi-frame, compressed, big-endian, colours, many series of one kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless, generate_uid

from genesis3d.errors import ScanError
from genesis3d.io import list_series, read_volume

Maker = Callable[..., Path]
PLANES = np.random.default_rng(5).integers(0, 2000, (6, 8, 10)).astype(np.uint16)


def item(**fields: Any) -> Sequence:
    """Return a sequence of one item."""
    dataset = Dataset()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return Sequence([dataset])


def enhanced(path: Path, heights: list[float], slopes: list[float], times: list[int] | None = None) -> Path:
    """Write an enhanced CT whose frame ``i``, PLANES[i], lies at ``heights[i]``."""
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID = EnhancedCTImageStorage, generate_uid(), generate_uid()
    d.Modality, d.Rows, d.Columns, d.NumberOfFrames = "CT", 8, 10, len(heights)
    d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
    d.BitsAllocated, d.BitsStored, d.HighBit = 16, 16, 15
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=[0.5, 0.75], SliceThickness=9)
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, height in enumerate(heights):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=[1, 2, height])
        frame.FrameContentSequence = item(TemporalPositionIndex=times[index] if times else 1, StackID="1")
        frame.PixelValueTransformationSequence = item(
            RescaleSlope=slopes[index], RescaleIntercept=-1024, RescaleType="HU"
        )
        frames.append(frame)
    d.PerFrameFunctionalGroupsSequence = Sequence(frames)
    d.PixelData = PLANES[: len(heights)].tobytes()
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize("rle", [False, True])
def test_enhanced_frames_are_sorted_and_rescaled_each(tmp_path: Path, rle: bool) -> None:
    order = [3, 0, 5, 1, 4, 2]
    path = enhanced(tmp_path / "a.dcm", [2.5 * place for place in order], [1, 2, 1, 1, 3, 1])
    if rle:
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    volume = read_volume(path)
    wanted = PLANES * np.array([1, 2, 1, 1, 3, 1]).reshape(-1, 1, 1) - 1024.0
    np.testing.assert_array_equal(volume.data[0], wanted[np.argsort(order)])
    assert volume.geometry.spacing == (2.5, 0.5, 0.75)
    assert volume.geometry.origin == (0.0, 2.0, 1.0)
    assert (volume.modality, volume.unit) == ("CT", "HU")


def test_enhanced_time_points_ask_for_a_channel(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", [0, 2, 4, 0, 2, 4], [1] * 6, [2, 2, 2, 1, 1, 1])
    with pytest.raises(ScanError, match="holds 2 volumes at the same positions"):
        read_volume(path)
    assert list_series(path)[0].channels == 2
    np.testing.assert_array_equal(read_volume(path, channel=0).data[0], PLANES[3:].astype(np.int16) - 1024)


def test_enhanced_frames_that_are_no_grid_are_refused(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "a.dcm", [0, 1, 2, 3, 4, 9], [1] * 6)
    with pytest.raises(ScanError, match="4 slices are missing"):
        read_volume(path)


def test_compressed_slices_hold_the_same_values(make_series: Maker) -> None:
    folder = make_series()
    wanted = read_volume(folder)
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    volume = read_volume(folder)
    np.testing.assert_array_equal(volume.data, wanted.data)
    assert volume.geometry == wanted.geometry


def test_big_endian_slices_hold_the_same_values(make_series: Maker) -> None:
    planes = PLANES.astype(">i2")
    volume = read_volume(make_series(each=lambda i: {"plane": planes[i], "syntax": ExplicitVRBigEndian}))
    np.testing.assert_array_equal(volume.data[0], planes - 1024)


def test_a_truncated_compressed_slice_is_refused(make_series: Maker) -> None:
    folder = make_series()
    for path in folder.iterdir():
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    victim = folder / "003.dcm"
    victim.write_bytes(victim.read_bytes()[:-30])
    with pytest.raises(ScanError, match=r"003\.dcm: its voxels are truncated"):
        read_volume(folder)


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_ask_for_a_channel(make_series: Maker, planar: int) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (4, 8, 10, 3)).astype(np.uint8)

    def each(i: int) -> dict[str, Any]:
        plane = colours[i] if planar == 0 else np.ascontiguousarray(np.moveaxis(colours[i], -1, 0))
        return {
            "plane": plane, "Rows": 8, "Columns": 10, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": planar, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
            "PixelRepresentation": 0, "Modality": "OT", "RescaleSlope": None, "RescaleIntercept": None,
        }  # fmt: skip

    folder = make_series(4, each=each)
    with pytest.raises(ScanError, match="holds 3 colours per pixel: choose channel 0 to 2"):
        read_volume(folder)
    np.testing.assert_array_equal(read_volume(folder, channel=2).data[0], colours[..., 2])


@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (1, -1024), (2, -7), (0.5, 3)])
def test_every_width_sign_and_rescale(
    make_series: Maker, bits: int, signed: int, slope: float, intercept: float
) -> None:
    dtype = np.dtype(f"{'i' if signed else 'u'}{bits // 8}")
    low, high = (max(np.iinfo(dtype).min, -100_000), min(np.iinfo(dtype).max, 100_000))
    planes = np.random.default_rng(1).integers(low, high, (3, 8, 10)).astype(dtype)
    fields = {
        "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": signed,
        "RescaleSlope": slope, "RescaleIntercept": intercept,
    }  # fmt: skip
    volume = read_volume(make_series(3, each=lambda i: fields | {"plane": planes[i]}))
    np.testing.assert_allclose(volume.data[0], planes.astype(np.float64) * slope + intercept, rtol=1e-7)
    assert volume.data.dtype.kind in "iu" or slope != 1
