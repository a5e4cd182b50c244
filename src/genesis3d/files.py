"""Files that are either whole or not there (temporary file, fsync, rename), and the folder that is the user's."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["home", "write_atomic"]


def home() -> Path:
    """Return the folder of models, runs and settings: ``GENESIS_HOME``, or the user's data folder."""
    given = os.environ.get("GENESIS_HOME")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("napari-genesis", appauthor=False))


def write_atomic(path: Path, write: bytes | Callable[[IO[bytes]], object], *, durable: bool = True) -> int:
    """Write ``path`` so that a crash or a full disk at any point leaves the old file or the new one, never a part.

    Parameters
    ----------
    path : its folder must exist
    write : the content, or a function that writes it into an open binary file
    durable : wait until the disk has it (fsync); without, a power cut may bring the old content back

    Returns
    -------
    int
        The number of bytes written.

    Raises
    ------
    OSError
        When the disk refuses; the temporary file is removed and ``path`` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            if callable(write):
                write(file)
            else:
                file.write(write)
            file.flush()
            size = file.tell()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)
    return size


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":  # folders cannot be opened there, and renames are journalled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot sync a folder
        pass
    finally:
        os.close(descriptor)
