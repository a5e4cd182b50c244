"""Segmentations opened in the viewer: they lie on the open scan and show their structures' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.io import read_volume, write_dicom_seg, write_volume
from genesis3d.labels import LabelClass
from genesis3d.volume import Volume
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.readers import read_scans

CLASSES = (LabelClass(value=2, name="left lung", colour="#ff8000"), LabelClass(value=5, name="node", colour="#00a0ff"))


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Five coronal slices, so that the canonical scan is a turned one."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder = tmp_path / "series"
    folder.mkdir()
    for index in range(5):
        d = Dataset()
        d.SOPClassUID, d.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.3", "1.2.4", "1.2.5"
        d.Modality, d.PatientID, d.PatientName = "CT", "id", "name"
        d.ImagePositionPatient, d.ImageOrientationPatient = [-20, 3 * index, 60], [1, 0, 0, 0, 0, -1]
        d.PixelSpacing, d.SliceThickness = [2, 1.5], 3
        d.Rows, d.Columns, d.SamplesPerPixel, d.PhotometricInterpretation = 8, 9, 1, "MONOCHROME2"
        d.BitsAllocated = d.BitsStored = 16
        d.HighBit, d.PixelRepresentation, d.RescaleSlope, d.RescaleIntercept = 15, 1, 1, 0
        d.PixelData = np.full((8, 9), 100 * index, np.int16).tobytes()
        d["PixelData"].VR = "OW"
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
        d.save_as(folder / f"{index}.dcm", enforce_file_format=True)
    return folder


def painted(scan: Volume) -> Volume:
    data = np.zeros(scan.geometry.shape, np.uint8)
    data[2:4, 1:3, 3:8] = 2
    data[6, 2, 1] = 5
    return scan.with_data(data)


def test_a_dicom_segmentation_lies_on_the_open_scan(viewer: Any, series: Path, tmp_path: Path) -> None:
    scan = read_volume(series).canonical()
    path = write_dicom_seg(painted(scan), CLASSES, series, tmp_path / "seg.dcm")
    ((alone, _, kind),) = read_scans(str(path))
    assert kind == "labels"
    assert alone.shape == (8, 2, 9)
    add_volume(viewer, scan, kind="image")
    ((array, options, kind),) = read_scans(str(path))
    layer = viewer.add_labels(array, **options)
    np.testing.assert_array_equal(layer.data, painted(scan).data[0])
    assert layer.metadata["structures"][0]["name"] == "left lung"
    assert list(layer.features["name"]) == ["", "left lung", "node"]
    np.testing.assert_allclose(layer.get_color(2)[:3], (1, 128 / 255, 0), atol=0.01)
    again = volume_from_layer(layer)
    assert again.geometry.matches(scan.geometry)
    assert again.as_source().geometry.matches(read_volume(series).geometry)


def test_names_in_a_file_are_shown(viewer: Any, series: Path, tmp_path: Path) -> None:
    scan = read_volume(series)
    for name in ("labels.seg.nrrd", "labels.mha", "labels.nii.gz"):
        path = write_volume(painted(scan.canonical()), tmp_path / name, labels=True, classes=CLASSES)
        ((array, options, kind),) = read_scans(str(path))
        assert kind == "labels"
        layer = viewer.add_labels(array, **options)
        if not name.endswith(".gz"):
            assert list(layer.features["name"]) == ["", "left lung", "node"]


def test_contours_without_their_scan_are_an_error(viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID, d.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3", "RTSTRUCT"
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    d.save_as(tmp_path / "rt.dcm", enforce_file_format=True)
    heard: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_error", heard.append)
    assert read_scans(str(tmp_path / "rt.dcm")) == [(None,)]
    assert "expected the scan that its contours were drawn on" in heard[0]
