"""Where the files of a store lie: a folder, or whatever fsspec reaches by a URL (``s3://bucket/store``)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from genesis3d.errors import ConfigError

__all__ = ["LocalStorage", "RemoteStorage", "Storage", "is_url", "storage_at"]

Span = tuple[int, int]  # offset and length in bytes


class Storage(Protocol):
    """Files by their path below a root; whatever goes wrong is an OSError."""

    url: str

    def read(self, name: str) -> bytes:
        """Return a whole file; FileNotFoundError when there is none."""

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return those of many files that exist."""

    def tail(self, name: str, length: int) -> bytes:
        """Return the last ``length`` bytes of a file."""

    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Return parts of a file, in the order asked for."""

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file: the new content or the old is there, never a part."""

    def children(self) -> list[str]:
        """Return the names right below the root, sorted; none where there is no root yet."""

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with all in it; nothing happens when there is none."""


def is_url(path: str) -> bool:
    """Whether ``path`` is a URL such as ``s3://bucket/store``, not a path of this machine."""
    return "://" in path


def storage_at(url: str | Path) -> Storage:
    """Return the storage at a path or URL; raises ConfigError when nothing here reads such URLs."""
    text = str(url)
    return RemoteStorage(text) if is_url(text) else LocalStorage(Path(text).expanduser())


class LocalStorage:
    """A folder.  Each file is opened afresh for each reading: nothing to bound, nothing to inherit by processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        return (self.root / name).read_bytes()

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return those files that exist."""
        return {name: self.read(name) for name in names if (self.root / name).is_file()}

    def tail(self, name: str, length: int) -> bytes:
        """Return the last bytes of a file."""
        with open(self.root / name, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - length))
            return file.read()

    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Return parts of a file."""
        parts = []
        with open(self.root / name, "rb", buffering=0) as file:
            for offset, length in spans:
                file.seek(offset)
                parts.append(file.read(length))
        return parts

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, and wait until the disk has it."""
        from genesis3d.files import write_atomic

        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)

    def children(self) -> list[str]:
        """Return the names right below the root."""
        return sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class RemoteStorage:
    """What fsspec reaches; a file is put in one piece, which object stores do whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url
        protocol = url.partition("://")[0]
        try:
            from fsspec.core import url_to_fs

            with _as_os_error():
                fs, root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"{url}: expected an installed fsspec package that reads {protocol}:// (s3fs for s3://), got none"
            ) from error
        self._fs: Any = fs
        self._root: str = root.rstrip("/")

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        with _as_os_error():
            return bytes(self._fs.cat_file(self._path(name)))

    def read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return those files that exist, fetched together."""
        paths = {self._path(name): name for name in names}
        if not paths:
            return {}
        with _as_os_error():
            found = self._fs.cat(list(paths), on_error="omit")
        return {name: bytes(found[path]) for path, name in paths.items() if path in found}

    def tail(self, name: str, length: int) -> bytes:
        """Return the last bytes of a file."""
        with _as_os_error():
            return bytes(self._fs.cat_file(self._path(name), start=-length))

    def spans(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Return parts of a file, fetched together."""
        starts, stops = [start for start, _ in spans], [start + length for start, length in spans]
        with _as_os_error():
            return [bytes(p) for p in self._fs.cat_ranges([self._path(name)] * len(spans), starts, stops)]

    def write(self, name: str, content: bytes) -> None:
        """Put a whole file."""
        with _as_os_error():
            self._fs.pipe_file(self._path(name), content)

    def children(self) -> list[str]:
        """Return the names right below the root."""
        with _as_os_error():
            self._fs.invalidate_cache()
            if not self._fs.exists(self._root):
                return []
            return sorted(path.rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._root, detail=False))

    def remove(self, name: str) -> None:
        """Remove a file or all below a name."""
        with _as_os_error():
            if self._fs.exists(self._path(name)):
                self._fs.rm(self._path(name), recursive=True)


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Turn what the client of an object store raises into an OSError; those are many classes without a common base."""
    try:
        yield
    except (OSError, ImportError, ValueError, KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
