"""Opening any segmentation: which voxel carries which value, and what the values are called."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.files import file_suffix
from genesis3d.io.headers import read_header
from genesis3d.io.read import read_volume
from genesis3d.labels import whole_values

if TYPE_CHECKING:
    from genesis3d.labels import LabelClass
    from genesis3d.volume import Geometry, Volume

__all__ = ["is_segmentation", "read_segmentation", "segmentation_kind"]

DICOM = ("SEG", "RTSTRUCT")


def segmentation_kind(path: Path) -> str | None:
    """Return ``SEG`` or ``RTSTRUCT`` for a DICOM file that is one, from its header alone; None for any other file."""
    if not path.is_file() or file_suffix(path):
        return None
    try:
        header = read_header(path)
    except (ScanError, OSError):
        return None
    return header.modality if header is not None and header.modality in DICOM else None


def is_segmentation(path: Path) -> bool:
    """Whether ``path`` is a DICOM segmentation or RTSTRUCT, from its header alone."""
    return segmentation_kind(path) is not None


def read_segmentation(path: str | Path, like: Volume | None = None) -> tuple[Volume, tuple[LabelClass, ...]]:
    """Read the segmentation at ``path`` and the classes that the file names (none for a plain NIfTI).

    Parameters
    ----------
    path : NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT; or a folder that holds one of the latter
    like : the scan it belongs to, on whose grid DICOM segmentations are put, and files that name their segments and
        hold a part of it, as 3D Slicer saves them; an RTSTRUCT cannot do without

    Returns
    -------
    the labels, (1, D, H, W), uint8 or uint16 (other image files: on their own grid), and the classes.

    Raises
    ------
    ScanError
        One sentence naming the path and the cause.
    """
    path = _file(Path(path).expanduser())
    kind = segmentation_kind(path)
    if kind == "SEG":
        from genesis3d.io.dicom_seg_read import read_dicom_seg

        return read_dicom_seg(path, like)
    if kind == "RTSTRUCT":
        from genesis3d.io.rtstruct import read_rtstruct

        if like is None:
            raise ScanError(f"{path}: expected the scan that its contours were drawn on; open that, too")
        return read_rtstruct(path, like)
    labels, classes = _image(path)
    if like is not None and classes and _part_of(labels.geometry, like.geometry):
        from genesis3d.io.itk_filters.relabel import labels_onto

        # 3D Slicer saves what is around the segments alone
        whole = labels_onto(labels, like.geometry, 0)
        return replace(labels, data=whole.data, geometry=like.geometry, orientation=like.orientation), classes
    return labels, classes


def _part_of(inner: Geometry, outer: Geometry) -> bool:
    """Whether ``inner`` is a smaller box within ``outer``, to half a voxel."""
    if np.prod(np.multiply(inner.shape, inner.spacing)) >= np.prod(np.multiply(outer.shape, outer.spacing)) * 0.999:
        return False
    corners = np.array(list(product(*((0, n - 1) for n in inner.shape))), dtype=np.float64)
    index = outer.to_index(inner.to_world(corners))
    return bool(((index >= -0.5) & (index <= np.subtract(outer.shape, 0.5))).all())


def _image(path: Path) -> tuple[Volume, tuple[LabelClass, ...]]:
    from genesis3d.io.segment_keys import read_classes

    volume = read_volume(path)
    if volume.channels != 1:
        raise ScanError(f"{path}: expected one label a voxel, got {volume.channels} values")
    values = whole_values(volume.data, str(path))
    # what is said of a scan's values does not hold for labels
    notes = tuple(note for note in volume.notes if "HU" not in note)
    return replace(volume, data=values, modality=None, unit=None, notes=notes), read_classes(path)


def _file(path: Path) -> Path:
    """Return ``path``, or of a folder the one DICOM segmentation in it; a folder without is left to the reader."""
    if not path.is_dir():
        return path
    found = [file for file in sorted(path.iterdir()) if is_segmentation(file)]
    if len(found) > 1:
        raise ScanError(f"{path}: expected one segmentation, got {len(found)} ({found[0].name}, {found[1].name}, ...)")
    return found[0] if found else path
