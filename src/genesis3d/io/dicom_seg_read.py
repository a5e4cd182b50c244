"""Reading a DICOM Segmentation (PS3.3, A.51): binary, fractional, or a label map."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.dicom_seg import VALUE
from genesis3d.io.headers import read_header
from genesis3d.io.planes import paste, place, regular_grid
from genesis3d.labels import LabelClass, named
from genesis3d.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from genesis3d.io.headers import DicomFile

__all__ = ["read_dicom_seg"]


def read_dicom_seg(path: Path, like: Volume | None = None) -> tuple[Volume, tuple[LabelClass, ...]]:
    """Read the segmentation ``path`` on the grid of ``like``, or on its own.

    A fractional segment holds what reaches half its maximum.  Where segments overlap the later one counts, which is
    said in ``notes``.

    Raises
    ------
    ScanError
        When it is broken, has no place in space, or its own frames make no grid.
    """
    from pydicom.filereader import dcmread

    header = read_header(path)
    if header is None or header.modality != "SEG":
        raise ScanError(f"{path}: expected a DICOM segmentation, got {header.kind if header else 'no DICOM file'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, force=True)
            classes = _classes(dataset)
            volume = _volume(path, dataset, header, classes, like)
    except ScanError as error:
        raise ScanError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except OSError as error:
        raise ScanError(f"{path}: cannot be read: {error.strerror or error}") from error
    # broken files raise almost anything
    except Exception as error:
        raise ScanError(f"{path}: is no segmentation that can be read ({type(error).__name__}: {error})") from error
    return volume, tuple(sorted(classes.values(), key=lambda one: one.value))


def _volume(
    path: Path, dataset: Dataset, header: DicomFile, classes: dict[int, LabelClass], like: Volume | None
) -> Volume:
    rows, columns = header.rows, header.columns
    if any(frame.position is None or frame.orientation is None for frame in header.frames):
        raise ScanError("its frames have no place in space")
    grid = like.geometry if like is not None else regular_grid(header.frames, rows, columns, header.thickness)
    where = [place(frame, rows, columns, grid) for frame in header.frames]
    if None in where and like is not None:
        from genesis3d.io.itk_filters.relabel import labels_onto

        return _as(like, labels_onto(_volume(path, dataset, header, classes, None), grid, 0).data, path, ())
    largest = max((one.value for one in classes.values()), default=0)
    data = np.zeros(grid.shape, dtype=np.uint8 if largest <= 255 else np.uint16)
    shared = 0
    for index, number, inside in _pieces(dataset):
        spot, one = where[index], classes.get(number)
        if spot is not None and one is not None:
            shared += paste(data, inside, spot, one.value)
    notes = (f"{shared} voxels belong to several segments; the last of them counts",) if shared else ()
    if like is not None:
        return _as(like, data[None], path, notes)
    return Volume(data[None], grid, name=path.stem, source=str(path), notes=notes)


def _as(like: Volume, data: NDArray[Any], path: Path, notes: tuple[str, ...]) -> Volume:
    return replace(
        like, data=data, modality=None, unit=None, name=path.stem, source=str(path), series=None, notes=notes
    )


def _pieces(dataset: Dataset) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """Yield index of the frame, number of the segment, and where it is (rows, columns)."""
    from pydicom.pixels import iter_pixels

    kind = str(dataset.get("SegmentationType", "BINARY"))
    half = float(dataset.get("MaximumFractionalValue", 255)) / 2
    for index, plane in enumerate(iter_pixels(dataset, raw=True)):
        if kind == "LABELMAP":
            for number in np.unique(plane[plane != 0]):
                yield index, int(number), plane == number
        else:
            yield index, _segment(dataset, index), plane >= half if kind == "FRACTIONAL" else plane != 0


def _segment(dataset: Dataset, index: int) -> int:
    for groups in (dataset.get("PerFrameFunctionalGroupsSequence", None), dataset.SharedFunctionalGroupsSequence):
        item = groups[index if len(groups) > 1 else 0] if groups else None
        if item is not None and "SegmentIdentificationSequence" in item:
            return int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
    raise ScanError("its frames name no segments")


def _classes(dataset: Dataset) -> dict[int, LabelClass]:
    """Return the class of each segment number; its value is the number, or what this project noted it to be."""
    found: dict[int, LabelClass] = {}
    for segment in dataset.SegmentSequence:
        number = int(segment.SegmentNumber)
        noted = str(segment.get("SegmentDescription", "") or "").removeprefix(VALUE)
        ours = str(segment.get("SegmentDescription", "") or "").startswith(VALUE) and noted.isdigit()
        if number > 0:
            value = int(noted) if ours else number
            found[number] = named(value, str(segment.get("SegmentLabel", "") or ""), _colour(segment))
    values = [one.value for one in found.values()]
    if len(set(values)) < len(values):
        return {number: one.replaced(value=number) for number, one in found.items()}
    return found


def _colour(segment: Dataset) -> str | None:
    from highdicom.color import CIELabColor

    said = segment.get("RecommendedDisplayCIELabValue", None)
    if said is None or len(said) != 3:
        return None
    red, green, blue = CIELabColor.from_dicom_value([int(v) for v in said]).to_rgb(clip=True)
    return f"#{red:02x}{green:02x}{blue:02x}"
