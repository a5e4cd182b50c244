"""Masks of a map as DICOM Segmentations of its series."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from genesis3d.io import read_segmentation, read_volume
from genesis3d.workflows.anomaly_files import _segmentations
from genesis3d.workflows.anomaly_masks import write_segmentations


class Result:
    """What the masks need of a map."""

    def __init__(self, scan: Any, flagged: bool = True) -> None:
        self.scan = scan
        lungs = np.zeros(scan.geometry.shape, np.uint8)
        lungs[:, 2:6, 2:6], lungs[:, 2:6, 9:13] = 2, 1
        labels = np.zeros(scan.geometry.shape, np.int32)
        if flagged:
            labels[1:3, 3:5, 10:12], labels[0, 3, 3] = 1, 2
        self.lungs, self.labels = scan.with_data(lungs), scan.with_data(labels)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series of four slices, stored feet first and head last."""
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("series")
    for z in range(4):
        image = sitk.GetImageFromArray(np.full((1, 16, 16), -900 + z, np.int16))
        for key, value in {"0008|0060": "CT", "0020|000e": "1.2.3.4", "0020|000d": "1.2.3", "0020|0052": "1.2.5",
                           "0020|0032": f"0\\0\\{2 * z}", "0020|0037": "1\\0\\0\\0\\1\\0", "0010|0010": "Doe^John",
                           "0028|1054": "HU", "0028|1052": "0", "0028|1053": "1"}.items():  # fmt: skip
            image.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{z}.dcm"))
        writer.Execute(image)
    return folder


def test_masks_lie_on_the_series_with_their_names(series: Path, tmp_path: Path) -> None:
    result: Any = Result(read_volume(series).canonical())
    assert [path.name for path in write_segmentations(result, tmp_path)] == ["mask.dcm", "lungs.dcm"]
    mask, lungs = (dcmread(tmp_path / name) for name in ("mask.dcm", "lungs.dcm"))
    assert mask.Modality == lungs.Modality == "SEG"
    assert mask.StudyInstanceUID == "1.2.3"
    assert [segment.SegmentLabel for segment in mask.SegmentSequence] == ["anomaly"]
    assert [segment.SegmentLabel for segment in lungs.SegmentSequence] == ["left lung", "right lung"]
    assert (
        mask.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    )
    read, classes = read_segmentation(tmp_path / "mask.dcm", like=read_volume(series))
    assert classes[0].name == "anomaly"
    np.testing.assert_array_equal(read.canonical().data[0] > 0, result.labels.data[0] > 0)
    nothing: Any = Result(result.scan, flagged=False)
    assert [path.name for path in write_segmentations(nothing, tmp_path)] == ["lungs.dcm"]
    assert not (tmp_path / "mask.dcm").exists()


def test_a_scan_of_another_kind_has_none(tmp_path: Path, series: Path) -> None:
    scan = read_volume(series).canonical()
    plain: Any = Result(replace(scan, series=None))
    assert list(write_segmentations(plain, tmp_path)) == []


def test_a_series_that_is_no_longer_there_costs_a_warning(series: Path, tmp_path: Path) -> None:
    scan = replace(read_volume(series).canonical(), source=str(tmp_path / "gone"))
    events = list(_segmentations(Result(scan), tmp_path))  # type: ignore[arg-type]
    assert len(events) == 1
    assert "only as NIfTI" in events[0].message  # type: ignore[union-attr]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_real_series(real_data: Path, tmp_path: Path) -> None:
    """Masks on lidc-0001, from its zip: every voxel on the slice where it was."""
    result: Any = Result(read_volume(real_data / "open" / "dicom" / "lidc-0001.zip").canonical())
    assert [path.name for path in write_segmentations(result, tmp_path)] == ["mask.dcm", "lungs.dcm"]
    segments = dcmread(tmp_path / "mask.dcm")
    assert segments.Rows == segments.Columns == 512
    assert segments.pixel_array.sum() == np.count_nonzero(result.labels.data)
    read, _ = read_segmentation(tmp_path / "mask.dcm", like=result.scan)
    np.testing.assert_array_equal(read.canonical().data[0] > 0, result.labels.data[0] > 0)
