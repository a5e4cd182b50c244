"""A file that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from genesis3d.errors import ModelError

__all__ = ["write_atomically"]


def write_atomically(path: Path, data: bytes) -> str:
    """Write ``data`` to ``path`` by way of a synced temporary file beside it; return its SHA-256 in hex.

    Raises ModelError, leaving an earlier file untouched, when the folder or disk does not take it.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise ModelError(f"{path}: the model could not be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
    return sha256(data).hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
