"""Opening any segmentation: which voxel carries which value, and what the values are called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ScanError
from genesis3d.io.read import read_volume
from genesis3d.labels import whole_values

if TYPE_CHECKING:
    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["is_segmentation", "read_segmentation"]


def is_segmentation(path: Path) -> bool:
    """Whether ``path`` is a DICOM segmentation or RTSTRUCT, from its header alone."""
    from genesis3d.io.headers import read_header

    try:
        header = read_header(path)
    except (ScanError, OSError):
        return False
    return header is not None and header.modality in ("SEG", "RTSTRUCT")


def read_segmentation(path: str | Path, like: Volume | None = None) -> tuple[Volume, tuple[LabelClass, ...]]:
    """Read the segmentation at ``path`` and the classes that the file names (none for a plain NIfTI).

    Parameters
    ----------
    path : NIfTI, NRRD, MetaImage
    like : the scan it belongs to

    Returns
    -------
    the labels as stored, (1, D, H, W), uint8 or uint16, on the file's own grid, and its classes.

    Raises
    ------
    ScanError
        One sentence naming the path and the cause.
    """
    volume = read_volume(path)
    if volume.channels != 1:
        raise ScanError(f"{path}: expected one label a voxel, got {volume.channels} values")
    values = whole_values(volume.data, str(path))
    return replace(volume, data=values, modality=None, unit=None, notes=_spatial(volume.notes)), ()


def _spatial(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what is said of a scan's values alone."""
    return tuple(note for note in notes if "HU" not in note)
