"""Single image files: NIfTI, NRRD and MetaImage, by SimpleITK, looked at before their voxels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError, ScanError
from genesis3d.io.limits import require_memory, require_plausible
from genesis3d.io.meaning import guess_ct, note_padding, require_numbers
from genesis3d.io.nifti import NiftiHeader, read_nifti_header
from genesis3d.io.series import SeriesInfo
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
DETACHED = (".nhdr", ".mhd")


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
    reader = _inspect(path)
    size, spacing = reader.GetSize(), reader.GetSpacing()
    scale = _length_scale(path)
    info = SeriesInfo(
        uid="",
        description=stem_of(path),
        modality=_said_modality(reader)[0],
        slices=size[2],
        shape=(size[2], size[1], size[0]),
        spacing=(spacing[2] * scale, spacing[1] * scale, spacing[0] * scale),
        channels=_channels(reader),
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

    reader = _inspect(path)
    image = _load(path, reader, _chosen(path, _channels(reader), channel))
    modality, unit = _said_modality(reader)
    try:
        volume = volume_from_image(image, name=stem_of(path), source=str(path), modality=modality, unit=unit)
    except GeometryError as error:
        raise ScanError(f"{path}: {error}") from error
    header = _nifti(path)
    if header is not None:
        volume = _in_millimetres(replace(volume, notes=header.notes()), header)
    return note_padding(guess_ct(require_numbers(volume)))


def _nifti(path: Path) -> NiftiHeader | None:
    return read_nifti_header(path) if IMAGE_IO[file_suffix(path) or ""] == "NiftiImageIO" else None


def _length_scale(path: Path) -> float:
    header = _nifti(path)
    return header.unit if header is not None and header.unit else 1.0


def _in_millimetres(volume: Volume, header: NiftiHeader) -> Volume:
    if header.unit in (None, 1.0):
        return volume
    scale = header.unit or 1.0
    grid = volume.geometry
    spacing = (grid.spacing[0] * scale, grid.spacing[1] * scale, grid.spacing[2] * scale)
    origin = (grid.origin[0] * scale, grid.origin[1] * scale, grid.origin[2] * scale)
    return replace(volume, geometry=replace(grid, spacing=spacing, origin=origin))


def _inspect(path: Path) -> sitk.ImageFileReader:
    import SimpleITK as sitk

    from genesis3d.io.itk import speaking

    if path.stat().st_size == 0:
        raise ScanError(f"{path}: the file is empty")
    header = _nifti(path)
    if header is not None:
        if header.complex_values:
            raise ScanError(f"{path}: expected real values, got complex numbers; save magnitude or phase")
        header.require_rigid(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(IMAGE_IO[file_suffix(path) or ""])
    with speaking(f"{path}: cannot be read as {file_suffix(path)}"):
        reader.ReadImageInformation()
    _require_sane(path, reader)
    return reader


def _require_sane(path: Path, reader: sitk.ImageFileReader) -> None:
    import SimpleITK as sitk

    size = reader.GetSize()
    if len(size) not in (3, 4) or min(size) < 1 or (len(size) == 4 and reader.GetNumberOfComponents() > 1):
        raise ScanError(
            f"{path}: expected a three-dimensional image, got size {' x '.join(map(str, size))} (x, y, ...)"
        )
    if reader.GetPixelID() in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        raise ScanError(f"{path}: expected real values, got complex numbers; save magnitude or phase")
    spacing = reader.GetSpacing()[:3]
    if not all(np.isfinite(s) and s > 0 for s in spacing):
        raise ScanError(f"{path}: expected positive voxel spacings, got {spacing} mm (x, y, z)")
    needed = int(np.prod([int(n) for n in size], dtype=object)) * reader.GetNumberOfComponents() * _bytes(reader)
    suffix = file_suffix(path) or ""
    if suffix not in DETACHED:
        require_plausible(needed, path.stat().st_size, suffix != ".nii", str(path))
    require_memory(2 * needed, str(path))


def _bytes(reader: sitk.ImageFileReader) -> int:
    kind = reader.GetPixelID()
    import SimpleITK as sitk

    name = sitk.GetPixelIDValueAsString(kind)
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


def _load(path: Path, reader: sitk.ImageFileReader, channel: int | None) -> sitk.Image:
    import SimpleITK as sitk

    from genesis3d.io.itk import speaking

    size = reader.GetSize()
    with speaking(f"{path}: its voxels cannot be read"):
        if len(size) == 4:
            reader.SetExtractIndex([0, 0, 0, channel or 0])
            reader.SetExtractSize([*size[:3], 0])
        image = reader.Execute()
        if channel is not None and len(size) == 3:
            image = sitk.VectorIndexSelectionCast(image, channel)
    return image


def _said_modality(reader: sitk.ImageFileReader) -> tuple[str | None, str | None]:
    said: dict[str, Any] = {key.lower(): reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
    modality = said.get("modality", "").strip().removeprefix("MET_MOD_").upper() or None
    if modality in ("UNKNOWN", "OTHER"):
        modality = None
    return modality, "HU" if said.get("unit", "").strip() == "HU" else None
