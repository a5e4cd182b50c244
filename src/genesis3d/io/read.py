"""Opening any scan: a DICOM folder, a zip of one, a DICOM file, or a NIfTI, NRRD or MetaImage file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ScanError
from genesis3d.io.files import file_suffix, read_file, series_of_file
from genesis3d.io.series import SeriesInfo
from genesis3d.volume import Volume

if TYPE_CHECKING:
    from genesis3d.io.dicom import Series

__all__ = ["list_series", "read_volume"]


def list_series(path: str | Path) -> list[SeriesInfo]:
    """Return what ``path`` offers to open, largest first, from headers alone.

    Raises
    ------
    ScanError
        When there is nothing that could be a scan: one sentence naming the path and the cause.
    """
    path = _existing(path)
    if file_suffix(path) and path.is_file():
        return series_of_file(path)
    with _series(path) as found:
        return [series.info() for series in found]


def read_volume(path: str | Path, *, series: str | None = None, channel: int | None = None) -> Volume:
    """Read the scan at ``path`` as it is stored (not turned to canonical axes).

    Parameters
    ----------
    path : folder of DICOM files (with its subfolders), zip of one, single DICOM, NIfTI, NRRD or MetaImage file
    series : series UID where there are several; without it the largest is read and ``notes`` name the others
    channel : which of several time points, components or colours

    Raises
    ------
    ScanError
        One sentence naming the path and the cause.
    """
    path = _existing(path)
    if file_suffix(path) and path.is_file():
        if series:
            raise ScanError(f"{path}: expected no series for a single image file, got {series!r}")
        return read_file(path, channel)
    with _series(path) as found:
        from genesis3d.io.dicom import read_series

        chosen = _chosen(path, found, series)
        try:
            volume = read_series(chosen, channel)
        except ScanError as error:
            raise ScanError(f"{error}{_way_out(chosen, found)}") from error
    named = replace(volume, name=path.stem if path.is_file() else path.resolve().name, source=str(path))
    return replace(named, notes=(*_others(chosen, found, series), *volume.notes))


def _existing(path: str | Path) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise ScanError(f"{path}: no such file or folder")
    if not (path.is_file() or path.is_dir()):
        raise ScanError(f"{path}: expected a file or folder, got a device or pipe")
    return path


@contextmanager
def _series(path: Path) -> Iterator[list[Series]]:
    from genesis3d.io.archive import unpacked
    from genesis3d.io.dicom import find_series

    try:
        if path.is_file() and path.suffix.lower() == ".zip":
            with unpacked(path) as folder, _named_as(path, folder):
                yield [replace(series, path=path) for series in find_series(folder)]
        else:
            yield find_series(path)
    except OSError as error:
        raise ScanError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def _named_as(path: Path, folder: Path) -> Iterator[None]:
    """Name the zip ``path``, not the temporary ``folder`` it was unpacked into, in errors raised inside."""
    try:
        yield
    except ScanError as error:
        raise ScanError(
            re.sub(rf"{re.escape(str(folder))}([/\\]\w+\.dcm)?", lambda _: str(path), str(error))
        ) from error


def _chosen(path: Path, found: list[Series], uid: str | None) -> Series:
    if uid is None:
        return found[0]
    for series in found:
        if series.uid == uid:
            return series
    known = ", ".join(series.uid or "(no UID)" for series in found[:5])
    raise ScanError(f"{path}: has no series {uid}, it holds {known}")


def _way_out(refused: Series, found: list[Series]) -> str:
    infos = (series.info() for series in found if series is not refused)
    usable = next((info for info in infos if info.problem is None), None)
    return f"; series {usable.uid} ({usable.label()}) can be opened instead" if usable else ""


def _others(chosen: Series, found: list[Series], uid: str | None) -> tuple[str, ...]:
    others = [series.info() for series in found if series is not chosen]
    if uid is not None or not others:
        return ()
    named = "; ".join(f"{info.label()} ({info.uid})" for info in others[:5])
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return (f"the largest of {len(found)} series was read; the others: {named}{more}",)
