"""Writing a DICOM Segmentation (PS3.3, A.51) of a DICOM scan: its frames lie on the slices of the series."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError, ScanError
from genesis3d.files import write_atomic
from genesis3d.io.read import _chosen, _existing, _series
from genesis3d.io.segment_codes import segment_codes
from genesis3d.labels import LabelClass, named, whole_values

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from genesis3d.io.dicom import Series
    from genesis3d.io.stack import Stack
    from genesis3d.volume import Volume

__all__ = ["VALUE", "write_dicom_seg"]

MAKER = "napari-genesis"
SAME_MM = 0.05  # positions in DICOM are decimal strings
SERIES_NUMBER = 700
VALUE = "label value "  # in a segment's description, before the value it had
# of the scan's patient and study; a file that lacks one must not stop the segmentation
REQUIRED = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
            "StudyTime", "ReferringPhysicianName")  # fmt: skip


def write_dicom_seg(
    labels: Volume, classes: Sequence[LabelClass], source: str | Path, path: str | Path, series: str | None = None
) -> Path:
    """Write ``labels`` as a DICOM Segmentation that belongs to the scan ``source``, and return the path.

    Each value that occurs, but 0, becomes a binary segment with the name and colour of its class; values that no class
    names are called ``label 3``.  Patient and study are those of the scan, because it is an object of that study;
    nothing else of the scan is taken over.

    Parameters
    ----------
    labels : (1, D, H, W), whole numbers, on the scan's grid, turned in any way
    classes : names and colours of the values
    source : the DICOM scan: folder, zip or file
    path : the file to write; it appears when it is complete
    series : series of the scan; None: the one the labels came from, else the first on whose grid they lie

    Raises
    ------
    ScanError
        When the scan is no DICOM series, the labels mark nothing, or the file cannot be written.
    GeometryError
        When the labels do not lie on the grid of the series.
    """
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise ScanError(f"{path}: its folder does not exist")
    values = labels.with_data(whole_values(labels.data, labels.name))
    place = _existing(source)
    with _series(place) as found:
        chosen, stack, planes = _on_series(values, place, found, series)
        array, described = _segments(planes, classes, labels.name)
        with warnings.catch_warnings():
            # of the scan's own values, which are copied as they are
            warnings.simplefilter("ignore")
            segmentation = _segmentation(stack, array, described, chosen.path)
            try:
                write_atomic(path, lambda file: segmentation.save_as(file, enforce_file_format=True))
            except OSError as error:
                raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _on_series(labels: Volume, path: Path, found: list[Series], uid: str | None) -> tuple[Series, Stack, NDArray[Any]]:
    """Return the series on whose grid the labels lie, and the labels (D, H, W) in the order of its slices."""
    wanted = uid if uid is not None else labels.series
    known = {series.uid for series in found}
    candidates = [_chosen(path, found, wanted)] if uid is not None or wanted in known else found
    told = ""
    for series in candidates:
        try:
            stack = series.stack()
        except ScanError as error:
            told = told or str(error)
            continue
        turn = stack.geometry.canonical_orientation()
        upright = labels.canonical()
        if upright.geometry.matches(stack.geometry.oriented(turn), SAME_MM):
            return series, stack, turn.inverse().apply(upright.data)[0]
        told = told or f"its series has {stack.geometry.describe()}, or lies elsewhere"
    raise GeometryError(
        f"{path}: expected the scan on whose grid the labels lie ({labels.geometry.describe()}); {told}"
    )


def _segments(
    planes: NDArray[Any], classes: Sequence[LabelClass], name: str
) -> tuple[NDArray[np.uint8], list[SegmentDescription]]:
    """Return segment numbers (D, H, W), from 1 without a gap, and what each segment is."""
    present = np.zeros(65536, dtype=bool)
    for plane in planes:
        present[plane] = True
    values = [int(v) for v in np.flatnonzero(present) if v != 0]
    if not values:
        raise ScanError(f"{name}: expected at least one labelled voxel to save as DICOM SEG, got none")
    if len(values) > 255:
        raise ScanError(f"{name}: expected at most 255 labels to save as DICOM SEG, got {len(values)}")
    known = {c.value: c for c in classes}
    number = np.zeros(65536, dtype=np.uint8)
    number[values] = np.arange(1, len(values) + 1)
    ordered = [known.get(value) or named(value) for value in values]
    return number[planes], [_description(i, one) for i, one in enumerate(ordered, start=1)]


def _description(number: int, one: LabelClass) -> SegmentDescription:
    from highdicom.color import CIELabColor
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    category, kind = segment_codes(one.name)
    description = SegmentDescription(
        segment_number=number,
        segment_label=one.name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MAKER, version=_version(), family=codes.DCM.ArtificialIntelligence
        ),
        display_color=None if one.colour is None else CIELabColor.from_string(one.colour),
    )
    if one.value != number:
        description.SegmentDescription = f"{VALUE}{one.value}"
    return description


def _segmentation(
    stack: Stack, array: NDArray[np.uint8], described: Sequence[SegmentDescription], path: Path
) -> Dataset:
    """Return the object; of several volumes at the same places, the first is the source."""
    from highdicom.content import PixelMeasuresSequence, PlaneOrientationSequence, PlanePositionSequence
    from highdicom.enum import CoordinateSystemNames
    from highdicom.seg import Segmentation, SegmentationTypeValues
    from pydicom.uid import generate_uid

    pictures = stack.volumes[0]
    files = list(dict.fromkeys(picture.file.path for picture in pictures))
    patient, (step, *pixel) = CoordinateSystemNames.PATIENT, stack.geometry.spacing
    measures = PixelMeasuresSequence(pixel, pictures[0].file.thickness or step, step)
    orientation = PlaneOrientationSequence(patient, pictures[0].frame.orientation or ())
    try:
        segmentation = Segmentation(
            source_images=_alike([_header(file, measures, orientation) for file in files]),
            pixel_array=array,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=generate_uid(prefix=None),
            series_number=SERIES_NUMBER,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=_version(),
            device_serial_number="0",
            content_label="SEGMENTATION",
            content_description="Segmentation by a neural network",
            pixel_measures=measures,
            plane_orientation=orientation,
            plane_positions=[PlanePositionSequence(patient, picture.frame.position or ()) for picture in pictures],
        )
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        why = " ".join(str(error).split())[:200]
        raise ScanError(f"{path}: its DICOM headers do not allow for a segmentation: {why}") from error
    segmentation.SeriesDescription = "Segmentation"
    return segmentation


def _header(file: Path, measures: Any, orientation: Any) -> Dataset:
    """Return the header of a slice, completed, and without what says who made it: that would be taken over."""
    from pydicom.filereader import dcmread

    header = dcmread(file, force=True, stop_before_pixels=True)
    header.decode()
    # names of classes may be in any script
    header.SpecificCharacterSet = "ISO_IR 192"
    for keyword in REQUIRED:
        if keyword not in header:
            setattr(header, keyword, "")
    if "SliceThickness" not in header:
        header.SliceThickness = measures[0].SliceThickness
    for shared in header.get("SharedFunctionalGroupsSequence", None) or ():
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = measures, orientation
    if "Manufacturer" in header:
        del header.Manufacturer
    return header


def _alike(headers: list[Dataset]) -> list[Dataset]:
    """Return ``headers`` with one frame of reference and study: in anonymous series each slice may have its own."""
    from pydicom.uid import generate_uid

    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        said = [str(header.get(keyword, "") or "") for header in headers]
        one = next((uid for uid in said if uid), None) or generate_uid(prefix=None)
        for header in headers:
            setattr(header, keyword, one)
    return headers


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(MAKER)
    except PackageNotFoundError:
        return "unknown"
