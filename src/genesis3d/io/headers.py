"""DICOM headers: what of a file decides its place in a scan, read by pydicom without its voxels.

Nothing that names a patient is asked for, so nothing of it can be told.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["DicomFile", "Frame", "looks_like_dicom", "read_header"]

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
LOCALIZERS = {"LOCALIZER", "SCOUT", "SURVIEW", "REF_SURVIEW", "TOPOGRAM"}
TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType",
    "InstanceNumber", "AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "ImagePositionPatient", "ImageOrientationPatient",
    "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture in space: ``index`` in its file, where it lies, how its stored values become the scan's.

    ``position`` and ``orientation`` are DICOM's own, (x, y, z) in mm; ``spacing`` is (between rows, between columns)
    in mm; ``order`` sorts repetitions at one position.
    """

    index: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    slope: float
    intercept: float
    order: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DicomFile:
    """The header of one DICOM file that may be part of a scan.

    ``pixels`` is where voxels that are neither compressed nor packed begin in the file and how many bytes they take,
    None for all others.
    """

    path: Path
    instance: str
    series: str
    description: str
    modality: str
    kind: str
    localizer: bool
    rows: int
    columns: int
    samples: int
    photometric: str
    bits: int
    bits_stored: int
    high_bit: int
    signed: bool
    thickness: float | None
    rescaled: bool
    rescale_type: str
    syntax: str
    pixels: tuple[int, int] | None
    mosaic: bool
    frames: tuple[Frame, ...]

    @property
    def is_image(self) -> bool:
        """Whether the file holds pictures at all."""
        return self.rows > 0 and self.columns > 0 and bool(self.frames)


def looks_like_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file begin a DICOM data set, with or without its preamble."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8:
        return False
    group, element = struct.unpack("<HH", head[:4])
    return group in (2, 8) and element <= 0x0100 and (head[4:6].isalpha() or head[6:8] == b"\0\0")


def read_header(path: Path) -> DicomFile | None:
    """Return the header of ``path``, or None when it is no DICOM file.

    Raises
    ------
    ScanError
        When the header is broken.
    """
    from pydicom.filereader import dcmread

    try:
        with path.open("rb") as file:
            head = file.read(132)
            if not looks_like_dicom(head):
                return None
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = dcmread(file, force=True, stop_before_pixels=True, specific_tags=TAGS)
                syntax = _syntax(dataset)
                return _header(path, dataset, syntax, _plain_pixels(file, dataset, syntax))
    except OSError:
        raise
    # a broken header raises almost anything
    except Exception as error:
        raise ScanError(f"{path}: its DICOM header is broken ({type(error).__name__})") from error


def _syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    said = str(getattr(meta, "TransferSyntaxUID", "") or "")
    implicit, little = dataset.original_encoding
    return said or (IMPLICIT if implicit else EXPLICIT if little else "")


def _plain_pixels(file: BinaryIO, dataset: Dataset, syntax: str) -> tuple[int, int] | None:
    if syntax not in (EXPLICIT, IMPLICIT):
        return None
    implicit, little = dataset.original_encoding
    head = file.read(12)
    if not little or head[:4] != b"\xe0\x7f\x10\x00" or len(head) < 12:
        return None
    length = struct.unpack("<I", head[4:8] if implicit else head[8:12])[0]
    return (file.tell() - (4 if implicit else 0), length) if length != 0xFFFFFFFF else None


def _header(path: Path, d: Dataset, syntax: str, pixels: tuple[int, int] | None) -> DicomFile:
    image_type = {str(value).upper() for value in d.get("ImageType", None) or ()}
    bits = int(d.get("BitsAllocated", 16) or 16)
    stored = int(d.get("BitsStored", bits) or bits)
    return DicomFile(
        path=path,
        instance=str(d.get("SOPInstanceUID", "")),
        series=str(d.get("SeriesInstanceUID", "")),
        description=" ".join(str(d.get("SeriesDescription", "") or "").split()),
        modality=str(d.get("Modality", "") or ""),
        kind=str(getattr(d.get("SOPClassUID", ""), "name", "") or "DICOM object"),
        localizer=bool(image_type & LOCALIZERS),
        rows=int(d.get("Rows", 0) or 0),
        columns=int(d.get("Columns", 0) or 0),
        samples=int(d.get("SamplesPerPixel", 1) or 1),
        photometric=str(d.get("PhotometricInterpretation", "MONOCHROME2")),
        bits=bits,
        bits_stored=stored,
        high_bit=int(d.get("HighBit", stored - 1)),
        signed=bool(int(d.get("PixelRepresentation", 0) or 0)),
        thickness=_number(d.get("SpacingBetweenSlices")) or _number(d.get("SliceThickness")),
        rescaled="RescaleIntercept" in d or _group(d, None, "PixelValueTransformationSequence") is not None,
        rescale_type=str((_group(d, None, "PixelValueTransformationSequence") or d).get("RescaleType", "") or ""),
        syntax=syntax,
        pixels=pixels,
        mosaic="MOSAIC" in image_type,
        frames=_frames(d),
    )


def _frames(d: Dataset) -> tuple[Frame, ...]:
    order = tuple(
        int(_number(d.get(name)) or 0)
        for name in ("EchoNumbers", "TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")
    )
    per_frame = d.get("PerFrameFunctionalGroupsSequence", None)
    if per_frame:
        return tuple(_enhanced(d, item, index) for index, item in enumerate(per_frame))
    frame = Frame(
        index=0,
        position=_numbers(d.get("ImagePositionPatient"), 3),
        orientation=_numbers(d.get("ImageOrientationPatient"), 6),
        spacing=_numbers(d.get("PixelSpacing"), 2),
        slope=_value(d.get("RescaleSlope"), 1.0),
        intercept=_value(d.get("RescaleIntercept"), 0.0),
        order=order,
    )
    count = int(d.get("NumberOfFrames", 1) or 1)
    # frames without functional groups have no places of their own: one stands for all, and is refused
    lost = Frame(0, None, None, frame.spacing, frame.slope, frame.intercept, order)
    return (frame if count == 1 else lost,)


def _enhanced(d: Dataset, item: Dataset, index: int) -> Frame:
    measures = _group(d, item, "PixelMeasuresSequence")
    values = _group(d, item, "PixelValueTransformationSequence")
    position = _group(d, item, "PlanePositionSequence")
    orientation = _group(d, item, "PlaneOrientationSequence")
    content = _group(d, item, "FrameContentSequence")
    stack = str(content.get("StackID", "1") or "1") if content is not None else "1"
    time = _number(content.get("TemporalPositionIndex")) if content is not None else None
    return Frame(
        index=index,
        position=_numbers(position.get("ImagePositionPatient"), 3) if position is not None else None,
        orientation=_numbers(orientation.get("ImageOrientationPatient"), 6) if orientation is not None else None,
        spacing=_numbers(measures.get("PixelSpacing"), 2) if measures is not None else None,
        slope=_value(values.get("RescaleSlope"), 1.0) if values is not None else 1.0,
        intercept=_value(values.get("RescaleIntercept"), 0.0) if values is not None else 0.0,
        order=(int(stack) if stack.isdigit() else 0, int(time or 0), index),
    )


def _group(d: Dataset, item: Dataset | None, name: str) -> Dataset | None:
    shared = d.get("SharedFunctionalGroupsSequence", None)
    first = d.get("PerFrameFunctionalGroupsSequence", None)
    own = item if item is not None else (first[0] if first else None)
    for holder in (own, shared[0] if shared else None):
        sequence = holder.get(name, None) if holder is not None else None
        if sequence:
            return sequence[0]
    return None


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        value = next(iter(value), None)
    return None if value is None else float(value)


def _value(value: Any, default: float) -> float:
    number = _number(value)
    return default if number is None else number


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != count:
        return None
    return tuple(float(v) for v in value)
