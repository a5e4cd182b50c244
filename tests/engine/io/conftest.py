"""A maker of small DICOM series, whole or broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SERIES = "1.2.826.0.1.3680043.10.1"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"


def write_slice(path: Path, plane: np.ndarray, position: tuple[float, ...], **fields: Any) -> Path:
    """Write one CT slice (rows, columns) of stored values at ``position``; ``fields`` override or, if None, remove."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    d = Dataset()
    values = {
        "SOPClassUID": CT_CLASS, "SOPInstanceUID": generate_uid(), "SeriesInstanceUID": SERIES, "Modality": "CT",
        "PatientName": "Secret^Name", "PatientID": "SECRET-ID", "StudyDate": "19990101",
        "SeriesDescription": "Made 2.5 mm", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "InstanceNumber": 1,
        "ImagePositionPatient": list(position), "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.5, 0.75], "SliceThickness": 2.5, "Rows": plane.shape[0], "Columns": plane.shape[1],
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1, "RescaleIntercept": -1024,
    }  # fmt: skip
    syntax = fields.pop("syntax", ExplicitVRLittleEndian)
    for name, value in (values | fields).items():
        if value is not None:
            setattr(d, name, value)
    d.PixelData = plane.tobytes()
    d["PixelData"].VR = "OW"
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = syntax
    d.file_meta.MediaStorageSOPClassUID = CT_CLASS
    d.file_meta.MediaStorageSOPInstanceUID = d.SOPInstanceUID
    d.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def make_slice() -> Callable[..., Path]:
    """Return :func:`write_slice`."""
    return write_slice


@pytest.fixture
def make_series(tmp_path: Path) -> Callable[..., Path]:
    """Return a function writing ``count`` slices into a new folder; ``each(index)`` overrides fields of a slice."""

    def make(count: int = 6, name: str = "series", each: Callable[[int], dict[str, Any]] = lambda i: {}) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(3)
        for index in range(count):
            plane = rng.integers(0, 2000, (8, 10)).astype(np.int16)
            fields = {"position": (-20.0, -30.0, 100.0 + 2.5 * index), "InstanceNumber": index + 1} | each(index)
            # names run against the positions: order has to come from the positions
            write_slice(
                folder / f"{fields.pop('file', f'{count - index:03d}.dcm')}", fields.pop("plane", plane), **fields
            )
        return folder

    return make
