"""DICOM folders and single files as series: found, listed, refused or read."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from genesis3d.errors import GeometryError, ScanError
from genesis3d.io.files import file_suffix
from genesis3d.io.headers import DicomFile, read_header
from genesis3d.io.meaning import note_padding
from genesis3d.io.series import SeriesInfo
from genesis3d.io.stack import Picture, Stack, build_stack
from genesis3d.volume import Volume

__all__ = ["Series", "find_series", "read_series"]

MOST_FILES = 200_000
NOT_SCANS = {"SEG", "PR", "KO", "SR", "RTSTRUCT", "RTPLAN", "RTDOSE", "REG"}


@dataclass(frozen=True)
class Series:
    """The files of one series under ``path``, without its localizers, and what was noticed while collecting."""

    path: Path
    files: tuple[DicomFile, ...]
    notes: tuple[str, ...] = ()

    @property
    def uid(self) -> str:
        """The series instance UID."""
        return self.files[0].series

    @property
    def samples(self) -> int:
        """Samples per pixel, 3 for colours."""
        return self.files[0].samples

    def stack(self) -> Stack:
        """Return the slices as a grid; raises ScanError naming the path and the cause."""
        from genesis3d.io.pixels import same_values

        pictures = [Picture(file, frame) for file in self.files for frame in file.frames]
        try:
            return build_stack(pictures, same_values)
        except (ScanError, GeometryError) as error:
            raise ScanError(f"{self.path}: cannot be opened as one volume: {error}") from error

    def info(self) -> SeriesInfo:
        """Return the entry of the series for a picker."""
        first = self.files[0]
        count = sum(len(file.frames) for file in self.files)
        shape, spacing, channels, problem = (count, first.rows, first.columns), None, self.samples, None
        try:
            stack = self.stack()
            shape, spacing = stack.geometry.shape, stack.geometry.spacing
            channels = len(stack.volumes) * self.samples
        except ScanError as error:
            problem = str(error)
        return SeriesInfo(
            uid=self.uid,
            description=first.description,
            modality=first.modality or None,
            slices=shape[0],
            shape=shape,
            spacing=spacing,
            channels=channels,
            problem=problem,
        )


def find_series(path: Path) -> list[Series]:
    """Return the series of images under ``path`` (a folder with all its subfolders, or one file), largest first.

    Raises
    ------
    ScanError
        When there is no DICOM image: one sentence saying what there is instead.
    """
    files, seen, broken = _headers(path)
    images = [f for f in files if f.is_image and f.modality not in NOT_SCANS]
    scans = [f for f in images if not f.localizer]
    if not scans:
        raise ScanError(_nothing(path, seen, files, images))
    groups: dict[str, list[DicomFile]] = defaultdict(list)
    for file in scans:
        groups[file.series].append(file)
    skipped: dict[str, int] = defaultdict(int)
    for file in images:
        skipped[file.series] += file.localizer
    found = [Series(path, tuple(group), (*broken, *_localizer_note(skipped[uid]))) for uid, group in groups.items()]
    return sorted(found, key=lambda series: (not _in_space(series), -_size(series), series.uid))


def read_series(series: Series, channel: int | None = None) -> Volume:
    """Read ``series``; ``channel`` picks one of several time points, echoes or colours.

    Raises
    ------
    ScanError
        When the slices are no regular grid, cannot be decoded or do not fit into memory, or when a channel is
        needed and not given.
    """
    from genesis3d.io.pixels import read_pixels

    first = series.files[0]
    if first.photometric == "PALETTE COLOR":
        raise ScanError(f"{series.path}: expected a scan, got pictures coloured by a palette")
    stack = series.stack()
    chosen = _channel(series, stack, channel)
    pictures = stack.volumes[chosen // series.samples]
    data = read_pixels(pictures, chosen % series.samples, str(series.path))
    volume = Volume(
        data=data[None],
        geometry=stack.geometry,
        modality=first.modality or None,
        unit="HU" if _in_hu(first) else None,
        name=series.path.stem if series.path.is_file() else series.path.name,
        source=str(series.path),
        series=series.uid or None,
        notes=(*series.notes, *stack.notes, *_value_notes(first)),
    )
    return note_padding(volume)


def _headers(path: Path) -> tuple[list[DicomFile], int, tuple[str, ...]]:
    """Return the headers under ``path``, the number of files looked at, and a note about broken ones."""
    seen, broken = 0, 0
    files: list[DicomFile] = []
    for candidate in _walk(path):
        seen += 1
        if seen > MOST_FILES:
            raise ScanError(f"{path}: expected a scan, got a folder of more than {MOST_FILES} files")
        try:
            header = read_header(candidate)
        except ScanError:
            if candidate == path:
                raise
            broken += 1
            continue
        if header is not None:
            files.append(header)
    return files, seen, (f"{broken} DICOM files with a broken header were left out",) if broken else ()


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, subfolders, names in os.walk(path):
        subfolders.sort()
        for name in sorted(names):
            file = Path(folder, name)
            # a pipe or a device would never end
            if not name.startswith(".") and file.is_file():
                yield file


def _size(series: Series) -> int:
    return sum(file.rows * file.columns * len(file.frames) for file in series.files)


def _in_space(series: Series) -> bool:
    """Whether any picture has a place: screenshots and dose reports, however large, come after the scans."""
    return any(frame.position is not None for file in series.files for frame in file.frames)


def _localizer_note(count: int) -> tuple[str, ...]:
    return (f"{count} localizer pictures of the series were left out",) if count else ()


def _nothing(path: Path, seen: int, files: Sequence[DicomFile], images: Sequence[DicomFile]) -> str:
    if images:
        return f"{path}: expected a scan, got only localizer (survey) pictures"
    if files:
        kinds = ", ".join(sorted({file.modality or file.kind for file in files})[:3])
        return f"{path}: expected a scan, got DICOM objects without one ({kinds})"
    if path.is_file():
        return f"{path}: expected a scan, got a file that is neither DICOM nor .nii, .nii.gz, .nrrd, .mha or .mhd"
    other = next((file.name for file in _walk(path) if file_suffix(file)), None)
    hint = f"; open a file of it, as {other}" if other else ""
    return f"{path}: expected DICOM files, got {f'{seen} files of which none is' if seen else 'an empty folder'}{hint}"


def _in_hu(file: DicomFile) -> bool:
    return file.modality == "CT" and file.rescaled and file.rescale_type in ("", "HU")


def _value_notes(file: DicomFile) -> tuple[str, ...]:
    notes = []
    if file.modality == "CT" and not _in_hu(file):
        notes.append("the CT names no rescale to HU; its values are as stored")
    if file.photometric == "MONOCHROME1":
        notes.append("the pictures are meant to be shown inverted (MONOCHROME1); values are as stored")
    return tuple(notes)


def _channel(series: Series, stack: Stack, channel: int | None) -> int:
    count = len(stack.volumes) * series.samples
    if channel is None and count > 1:
        what = "colours per pixel" if len(stack.volumes) == 1 else "volumes at the same positions (4-D)"
        raise ScanError(f"{series.path}: holds {count} {what}: choose channel 0 to {count - 1}")
    if not 0 <= (channel or 0) < count:
        raise ScanError(f"{series.path}: expected a channel from 0 to {count - 1}, got {channel}")
    return channel or 0
