"""Reading the contours of an RTSTRUCT (PS3.3, A.19) as labels on the grid of the scan they were drawn on."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.polygons import fill
from genesis3d.labels import LabelClass, named

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from genesis3d.volume import Geometry, Volume

__all__ = ["read_rtstruct"]

FLAT = 0.1  # voxels that a contour may bend out of its plane
PLANE = 0.01  # voxels within which contours lie in one plane


@dataclass(frozen=True)
class _Roi:
    one: LabelClass
    contours: tuple[NDArray[np.float64], ...]


def read_rtstruct(path: Path, like: Volume) -> tuple[Volume, tuple[LabelClass, ...]]:
    """Read the regions of the RTSTRUCT ``path`` on the grid of ``like``.

    A voxel belongs to a region when its centre lies inside its contours, by the even-odd rule over all contours of a
    plane, so that a contour within another is a hole.  A slice takes the nearest plane of contours no further than
    half their distance.  Where regions overlap the later one counts, which is said in ``notes``.

    Raises
    ------
    ScanError
        When it is no RTSTRUCT, holds no contours, or contours that are oblique to the slices or lie beside the scan.
    """
    from pydicom.filereader import dcmread

    notes: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = dcmread(path, force=True)
            if str(dataset.get("Modality", "")) != "RTSTRUCT":
                raise ScanError("expected an RTSTRUCT, got another DICOM object, or none")
            regions = list(_regions(dataset, like.geometry, notes))
    except ScanError as error:
        raise ScanError(f"{path}: {error}") from error
    except OSError as error:
        raise ScanError(f"{path}: cannot be read: {error.strerror or error}") from error
    # broken files raise almost anything
    except Exception as error:
        raise ScanError(f"{path}: is no RTSTRUCT that can be read ({type(error).__name__})") from error
    if not regions:
        raise ScanError(f"{path}: expected closed contours, got none; {'; '.join(notes[:3])}".removesuffix("; "))
    return _filled(path, regions, like, notes), tuple(region.one for region in regions)


def _filled(path: Path, regions: Sequence[_Roi], like: Volume, notes: list[str]) -> Volume:
    largest = max(region.one.value for region in regions)
    data = np.zeros(like.geometry.shape, dtype=np.uint8 if largest <= 255 else np.uint16)
    shared = 0
    for region in regions:
        try:
            shared += _paint(data, region)
        except ScanError as error:
            raise ScanError(f"{path}: {error}") from error
    if not data.any():
        raise ScanError(f"{path}: expected contours that lie in the scan {like.name}, got none")
    if shared:
        notes.append(f"{shared} voxels belong to several regions; the last of them counts")
    return replace(
        like, data=data[None], modality=None, unit=None, name=path.stem, source=str(path), series=None,
        notes=tuple(notes),
    )  # fmt: skip


def _regions(dataset: Dataset, grid: Geometry, notes: list[str]) -> Iterator[_Roi]:
    names = {int(roi.ROINumber): str(roi.get("ROIName", "") or "") for roi in dataset.StructureSetROISequence}
    items = list(dataset.get("ROIContourSequence", None) or ())
    usable = all(0 < int(item.ReferencedROINumber) <= 65535 for item in items)
    for count, item in enumerate(items, start=1):
        number = int(item.ReferencedROINumber)
        one = named(number if usable else count, names.get(number, ""), _colour(item))
        contours = []
        for contour in item.get("ContourSequence", None) or ():
            points = np.asarray(contour.ContourData, dtype=np.float64).reshape(-1, 3)
            if str(contour.ContourGeometricType).strip() == "CLOSED_PLANAR" and len(points) > 2:
                contours.append(grid.to_index(points[:, ::-1]))
        if contours:
            yield _Roi(one, tuple(contours))
        else:
            notes.append(f"{one.name} has no closed contour and is left out")


def _colour(item: Dataset) -> str | None:
    said = item.get("ROIDisplayColor", None)
    if said is None or len(said) != 3 or not all(0 <= int(v) <= 255 for v in said):
        return None
    return "#" + "".join(f"{int(v):02x}" for v in said)


def _paint(data: NDArray[Any], region: _Roi) -> int:
    """Fill one region; return how many of its voxels belonged to another."""
    bends = np.array([np.ptp(contour, axis=0) for contour in region.contours])
    flat = np.flatnonzero((bends <= FLAT).all(axis=0))
    if not flat.size:
        raise ScanError(
            f"the contours of {region.one.name} are oblique to the slices of the scan; draw them on its slices"
        )
    axis = int(flat[0])
    levels: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    heights = np.array([contour[:, axis].mean() for contour in region.contours])
    order = np.argsort(heights, kind="stable")
    plane = np.cumsum(np.diff(heights[order], prepend=heights[order[0]]) > PLANE)
    for number, index in zip(plane, order, strict=True):
        levels[int(number)].append(np.delete(region.contours[index], axis, axis=1))
    places = np.array([heights[order[plane == number]].mean() for number in levels])
    reach = max(0.5, float(np.diff(places).min()) / 2) if len(places) > 1 else 0.5
    slices = np.moveaxis(data, axis, 0)
    taken = 0
    for index in range(max(0, int(np.floor(places[0]))), min(len(slices), int(np.ceil(places[-1])) + 2)):
        nearest = int(np.argmin(np.abs(places - index)))
        if abs(places[nearest] - index) <= reach + 1e-6:
            inside = fill(levels[nearest], (slices.shape[1], slices.shape[2]))
            taken += int(np.count_nonzero(slices[index][inside]))
            slices[index][inside] = region.one.value
    return taken
