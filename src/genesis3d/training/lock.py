"""One trainer at a time in a run directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO

from genesis3d.errors import RunError

__all__ = ["DirectoryLock"]


class DirectoryLock:
    """One owner at a time of a folder: a lock of the operating system on ``folder/lock``, freed when the owner dies.

    Raises
    ------
    RunError
        On entering, when another process (or another run in this one) holds the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lock"
        self._file: IO[bytes] | None = None

    def __enter__(self) -> DirectoryLock:
        file = open(self.path, "ab")  # held open as long as the lock
        try:
            _lock(file)
        except OSError as error:
            file.close()
            raise RunError(
                f"{self.path.parent}: expected a run nobody is training, but another process trains in it"
            ) from error
        self._file = file
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
