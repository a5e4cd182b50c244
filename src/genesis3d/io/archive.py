"""Zips of DICOM folders: only what is DICOM is unpacked, within limits, into a folder that is gone afterwards."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genesis3d.errors import ScanError
from genesis3d.io.headers import looks_like_dicom
from genesis3d.io.limits import require_memory

__all__ = ["unpacked"]

MOST_ENTRIES = 200_000
# A real slice shrinks to a half or a third; even an empty one does not come near this when it is large.
BOMB_RATIO = 200
BOMB_BYTES = 64 << 20
SHARE_OF_DISK = 0.8
CHUNK = 1 << 20


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a temporary folder with the DICOM files of the zip ``path``, named by number; removed at the end.

    Raises
    ------
    ScanError
        When the zip is broken, encrypted, holds no DICOM file, or would unpack to more than memory or disk hold.
    """
    with tempfile.TemporaryDirectory(prefix="genesis3d-") as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path, Path(folder))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
            raise ScanError(f"{path}: cannot be read as a zip: {' '.join(str(error).split())}") from error
        yield Path(folder)


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > MOST_ENTRIES:
        raise ScanError(f"{path}: expected a zip of one scan, got {len(entries)} files")
    if any(entry.flag_bits & 1 for entry in entries):
        raise ScanError(f"{path}: is encrypted; unpack it first")
    room = int(shutil.disk_usage(folder).free * SHARE_OF_DISK)
    written = 0
    for number, entry in enumerate(sorted(entries, key=lambda e: e.filename)):
        if entry.file_size > BOMB_BYTES and entry.file_size > BOMB_RATIO * max(1, entry.compress_size):
            raise ScanError(f"{path}: one of its files would unpack to {entry.file_size} bytes, a zip bomb")
        # entries get a number for a name: what a zip calls them may lead out of the folder
        written += _extract(archive, entry, folder / f"{number:06d}.dcm")
        require_memory(written, str(path))
        if written > room:
            raise ScanError(f"{path}: does not fit on the disk of the temporary folder when unpacked")
    if not written:
        raise ScanError(f"{path}: expected a zip of DICOM files, got {len(entries)} files of which none is DICOM")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> int:
    with archive.open(entry) as source:
        head = source.read(132)
        if not looks_like_dicom(head):
            return 0
        with target.open("wb") as file:
            file.write(head)
            written = len(head)
            # zipfile itself stops at the size that the entry announces
            while chunk := source.read(CHUNK):
                file.write(chunk)
                written += len(chunk)
    return written
