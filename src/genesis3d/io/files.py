"""Single image files: NIfTI, NRRD and MetaImage, by SimpleITK, looked at before their voxels are read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import GeometryError, ScanError
from genesis3d.io.limits import require_memory, require_plausible
from genesis3d.io.meaning import guess_ct, note_padding, require_numbers
from genesis3d.io.nifti import NiftiHeader, read_nifti_header, require_complete
from genesis3d.io.series import SeriesInfo
from genesis3d.io.textheader import TextHeader, read_text_header
from genesis3d.volume import Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["SUFFIXES", "file_suffix", "read_file", "series_of_file", "stem_of"]

IMAGE_IO = {
    ".nii": "NiftiImageIO",
    ".nii.gz": "NiftiImageIO",
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}
SUFFIXES = tuple(IMAGE_IO)
COMPLEX = "expected real values, got complex numbers; save their magnitude or phase"


def file_suffix(path: Path) -> str | None:
    """Return the suffix of ``path`` among those this module reads, or None."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), None)


def stem_of(path: Path) -> str:
    """Return the file's name without its image suffix."""
    suffix = file_suffix(path)
    return path.name[: -len(suffix)] if suffix else path.stem


def series_of_file(path: Path) -> list[SeriesInfo]:
    """Return the one entry of an image file, from its header alone."""
    from genesis3d.io.itk import geometry_from_itk

    with _alone(path) as file:
        reader, _ = _inspect(path, file)
    size, spacing = reader.GetSize(), reader.GetSpacing()
    directions = np.reshape(reader.GetDirection(), (len(size), -1))[:3, :3].ravel().tolist()
    problem = None
    try:
        geometry_from_itk(size[:3], spacing[:3], reader.GetOrigin()[:3], directions)
    except GeometryError as error:
        problem = f"{path}: {error}"
    info = SeriesInfo(
        uid="",
        description=stem_of(path),
        modality=_said_modality(reader)[0],
        slices=size[2],
        shape=(size[2], size[1], size[0]),
        spacing=(spacing[2], spacing[1], spacing[0]) if problem is None else None,
        channels=_channels(reader),
        problem=problem,
    )
    return [info]


def read_file(path: Path, channel: int | None = None) -> Volume:
    """Read the image file ``path``.

    Raises
    ------
    ScanError
        When it is no image, cannot be true, does not fit into memory, is complex, has no rigid grid, or holds
        several channels of which ``channel`` picks none.
    """
    from genesis3d.io.itk import volume_from_image

    with _alone(path) as file:
        reader, header = _inspect(path, file)
        chosen = _chosen(path, _channels(reader), channel)
        zeroed = require_complete(path, header) if isinstance(header, NiftiHeader) else 0
        image = _load(path, reader, chosen, checked=isinstance(header, NiftiHeader))
    modality, unit = _said_modality(reader)
    try:
        volume = volume_from_image(image, name=stem_of(path), source=str(path), modality=modality, unit=unit)
    except GeometryError as error:
        raise ScanError(f"{path}: {error}") from error
    notes = header.notes(volume.geometry) if isinstance(header, NiftiHeader) else header.notes
    volume = replace(volume, notes=notes)
    return note_padding(guess_ct(require_numbers(volume, zeroed)))


@contextmanager
def _alone(path: Path) -> Iterator[Path]:
    """Give ``path`` as the image library may read it: of a.nii beside a.nii.gz it takes a.nii for both."""
    if file_suffix(path) != ".nii.gz" or not path.with_suffix("").exists():
        yield path
        return
    with TemporaryDirectory(prefix="genesis3d-") as folder:
        file = Path(folder) / "scan.nii.gz"
        try:
            file.symlink_to(path.resolve())
        except OSError:  # a system or user without links
            copyfile(path, file)
        yield file


def _inspect(path: Path, file: Path) -> tuple[sitk.ImageFileReader, NiftiHeader | TextHeader]:
    """Look at the header of ``path``, which lies at ``file`` for the image library."""
    import SimpleITK as sitk

    from genesis3d.io.itk import quiet, speaking

    suffix = file_suffix(path) or ""
    if path.stat().st_size == 0:
        raise ScanError(f"{path}: the file is empty")
    header = read_nifti_header(path) if suffix.startswith(".nii") else read_text_header(path)
    if isinstance(header, NiftiHeader):
        if header.complex_values:
            raise ScanError(f"{path}: {COMPLEX}")
        header.require_rigid(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(file))
    reader.SetImageIO(IMAGE_IO[suffix])
    with speaking(f"{path}: cannot be read as {suffix}"), quiet():
        reader.ReadImageInformation()
    _require_sane(path, reader)
    _require_room(path, reader, header)
    return reader, header


def _require_sane(path: Path, reader: sitk.ImageFileReader) -> None:
    import SimpleITK as sitk

    size = reader.GetSize()
    if len(size) not in (3, 4) or min(size) < 1 or (len(size) == 4 and reader.GetNumberOfComponents() > 1):
        raise ScanError(f"{path}: expected three dimensions, got an image of {' x '.join(map(str, size))} (x, y, ...)")
    if reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise ScanError(f"{path}: {COMPLEX}")
    spacing = reader.GetSpacing()[:3]
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ScanError(f"{path}: expected positive voxel spacings, got {spacing} mm (x, y, z)")


def _require_room(path: Path, reader: sitk.ImageFileReader, header: NiftiHeader | TextHeader) -> None:
    needed = _needed(reader)
    if isinstance(header, NiftiHeader):
        require_plausible(header.voxel_bytes, path.stat().st_size, not path.name.lower().endswith(".nii"), str(path))
    else:
        require_plausible(needed, header.stored, header.packed, str(path))
    require_memory(2 * needed, str(path))


def _needed(reader: sitk.ImageFileReader) -> int:
    voxels = math.prod(int(n) for n in reader.GetSize())
    return voxels * int(reader.GetNumberOfComponents()) * _bytes(reader)


def _bytes(reader: sitk.ImageFileReader) -> int:
    import SimpleITK as sitk

    name = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    return next((bits // 8 for bits in (64, 32, 16, 8) if f"{bits}-bit" in name), 8)


def _channels(reader: sitk.ImageFileReader) -> int:
    size = reader.GetSize()
    return int(size[3]) if len(size) == 4 else int(reader.GetNumberOfComponents())


def _chosen(path: Path, count: int, channel: int | None) -> int | None:
    if count == 1:
        if channel not in (None, 0):
            raise ScanError(f"{path}: expected channel 0, the only one, got {channel}")
        return None
    if channel is None:
        raise ScanError(
            f"{path}: holds {count} values per voxel (4-D, colour or tensor): choose channel 0 to {count - 1}"
        )
    if not 0 <= channel < count:
        raise ScanError(f"{path}: expected a channel from 0 to {count - 1}, got {channel}")
    return channel


def _load(path: Path, reader: sitk.ImageFileReader, channel: int | None, checked: bool) -> sitk.Image:
    import SimpleITK as sitk

    from genesis3d.io.itk import quiet, speaking

    size = reader.GetSize()
    # a file found complete gives the library no reason to talk
    with speaking(f"{path}: its voxels cannot be read"), nullcontext() if checked else quiet():
        if len(size) == 4:
            reader.SetExtractIndex([0, 0, 0, channel or 0])
            reader.SetExtractSize([*size[:3], 0])
        image = reader.Execute()
        if channel is not None and len(size) == 3:
            image = sitk.VectorIndexSelectionCast(image, channel)
    return image


def _said_modality(reader: sitk.ImageFileReader) -> tuple[str | None, str | None]:
    # keys and values of a broken header may be no text at all
    keys = {key.lower(): key for key in reader.GetMetaDataKeys() if isinstance(key, str) and key.isascii()}
    said = {name: str(reader.GetMetaData(keys[name])) for name in ("modality", "unit") if name in keys}
    modality = said.get("modality", "").strip().removeprefix("MET_MOD_").upper() or None
    if modality is not None and not modality.isalnum():
        modality = None
    if modality in ("UNKNOWN", "OTHER"):
        modality = None
    return modality, "HU" if said.get("unit", "").strip() == "HU" else None
