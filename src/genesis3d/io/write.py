"""Saving volumes: the scan's own grid, whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.files import IMAGE_IO, file_suffix
from genesis3d.io.limits import readable_bytes
from genesis3d.io.nifti import read_nifti_header, require_complete
from genesis3d.io.segment_keys import segment_keys
from genesis3d.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Sequence

    import SimpleITK as sitk

    from genesis3d.labels import LabelClass

__all__ = ["WRITABLE", "write_volume"]

WRITABLE = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
INTEGERS = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64)
KEPT = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"}


def write_volume(volume: Volume, path: str | Path, *, labels: bool = False, classes: Sequence[LabelClass] = ()) -> Path:
    """Write ``volume.as_source()`` to ``path``, in the format of its suffix, and return the path.

    The file appears under its name only when it is complete on disk; a file that was there before stays as it was
    if anything goes wrong.  Integers wider than 32 bits, truth values, and ``labels`` of any integer type are stored
    in the smallest integer type that holds them; float16 as float32; all else as it is.  Names and colours of the
    ``classes`` of labels stand in the header of an NRRD or MetaImage file, where 3D Slicer looks for them.

    Raises
    ------
    ScanError
        For an unknown suffix, a folder that is not there or not writable, or a full disk.
    """
    path = Path(path).expanduser()
    suffix = file_suffix(path)
    if suffix not in WRITABLE:
        raise ScanError(f"{path}: expected a name ending in {', '.join(WRITABLE)}, got {path.suffix or 'no suffix'}")
    if not path.parent.is_dir():
        raise ScanError(f"{path}: its folder does not exist")
    if path.is_dir():
        raise ScanError(f"{path}: expected a file name, got a folder")
    from genesis3d.io.itk import image_from_volume

    source = volume.as_source()
    image = image_from_volume(source, _stored_type(source, labels))
    _describe(image, source, labels)
    for key, value in segment_keys(classes if labels and not suffix.startswith(".nii") else ()).items():
        image.SetMetaData(key, value)
    try:
        with tempfile.TemporaryDirectory(prefix=".genesis3d-", dir=path.parent) as folder:
            _write_whole(image, Path(folder) / path.name, suffix)
            _put_in_place(Path(folder), path)
    except OSError as error:
        raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _stored_type(volume: Volume, labels: bool) -> Any:
    dtype = volume.data.dtype
    if dtype.kind == "b":
        return np.uint8
    if dtype.kind in "iu" and (labels or dtype.name not in KEPT):
        low, high = int(volume.data.min()), int(volume.data.max())
        return next(t for t in INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    if dtype.name in KEPT:
        return dtype.newbyteorder("=")
    if dtype.name == "float16":
        return np.float32
    raise ScanError(f"{volume.name}: expected real numbers to save, got {dtype}")


def _describe(image: sitk.Image, volume: Volume, labels: bool) -> None:
    """Put modality and unit (never anything of a patient) where NRRD and MetaImage keep them."""
    if labels or volume.modality is None:
        return
    image.SetMetaData("modality", volume.modality)
    if volume.unit:
        image.SetMetaData("unit", volume.unit)


def _write_whole(image: sitk.Image, path: Path, suffix: str) -> None:
    import SimpleITK as sitk

    from genesis3d.io.itk import quiet

    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetImageIO(IMAGE_IO[suffix])
    writer.SetUseCompression(suffix not in (".nii", ".mhd"))
    try:
        with quiet():
            writer.Execute(image)
        if suffix.startswith(".nii"):
            # the NIfTI writer says nothing when the disk is full
            require_complete(path, read_nifti_header(path))
    except (RuntimeError, ScanError) as error:
        free = readable_bytes(shutil.disk_usage(path.parent).free)
        raise OSError(f"the image library failed to write it whole ({free} are free on the disk)") from error
    for part in path.parent.iterdir():
        with part.open("rb+") as file:
            os.fsync(file.fileno())


def _put_in_place(folder: Path, path: Path) -> None:
    # the header last: until then a reader finds the old one, or none
    parts = sorted(folder.iterdir(), key=lambda part: part.name == path.name)
    for part in parts:
        os.replace(part, path.parent / part.name)
    if os.name == "posix":
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
