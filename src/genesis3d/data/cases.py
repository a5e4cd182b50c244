"""Cases: scans to learn from, found on disk or handed over, with nothing of the patient in their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.data.loading import LoadedCases, load_cases
from genesis3d.errors import GenesisError, ScanError

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["SUFFIXES", "Case", "Cases", "LoadedCases", "case_of", "find_cases", "load_cases"]

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
SALT = "napari-genesis"


@dataclass(frozen=True)
class Case:
    """One scan.

    Attributes
    ----------
    name : for people: the file or folder name without its suffix, never from the patient's data
    key : 16 hex digits, a salted hash of path and series: names the case where its path must not stand
    path, series : where it comes from; None for a scan in memory
    """

    name: str
    key: str
    path: str | None = None
    series: str | None = None
    volume: Volume | None = field(default=None, repr=False, compare=False)

    def load(self) -> Volume:
        """Return the scan in canonical orientation (axes closest to S, P, L); raises ScanError."""
        if self.volume is not None:
            return self.volume.canonical()
        from genesis3d.io import read_volume

        if self.path is None:
            raise ScanError(f"{self.name}: expected a case with a path or a volume, got neither")
        return read_volume(self.path, series=self.series).canonical()


class Cases(list[Case]):
    """The cases found, and in ``skipped`` one sentence for each thing that was passed over."""

    def __init__(self, cases: Iterable[Case] = (), skipped: Iterable[str] = ()) -> None:
        super().__init__(cases)
        self.skipped: list[str] = list(skipped)


def case_of(volume: Volume, *, salt: str = SALT) -> Case:
    """Return a case for a scan in memory; its key follows from its source, else from its name and shape."""
    path = volume.source or f"{volume.name} {volume.data.shape}"
    return Case(volume.name, _key(salt, path, volume.series), volume.source, volume.series, volume)


def find_cases(paths: str | Path | Iterable[str | Path], *, salt: str = SALT) -> Cases:
    """Return the cases under ``paths``: scan files, DICOM folders, zips, and folders of any of these, in order.

    A folder gives its files with a known suffix (:data:`SUFFIXES`) and, where DICOM files lie directly in it or in a
    folder below, the largest series of each such folder.  Nothing is read but headers.  What cannot be a case is
    named in ``skipped`` of the result.

    Raises
    ------
    ScanError
        When nothing is found.
    """
    found = Cases()
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    seen: set[str] = set()
    for path in given:
        for case in _under(Path(path), salt, found.skipped):
            if case.key not in seen:
                seen.add(case.key)
                found.append(case)
    if not found:
        where = ", ".join(str(path) for path in given) or "an empty list of paths"
        raise ScanError(f"{where}: expected at least one scan; {'; '.join(found.skipped[:3]) or 'nothing was found'}")
    return found


def _under(path: Path, salt: str, skipped: list[str]) -> Iterator[Case]:
    if path.is_file():
        yield from _file(path, salt, skipped, given=True)
    elif (path / "zarr.json").is_file():
        skipped.append(
            f"{path}: expected scans, got a store of prepared scans, which genesis3d pretrain takes as it is"
        )
    elif path.is_dir():
        for folder in _folders(path):
            files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
            for file in files:
                if _is_scan_file(file):
                    yield from _file(file, salt, skipped, given=False)
            if any(_is_dicom(file) for file in files):
                yield from _series(folder, salt, skipped)
    else:
        skipped.append(f"{path}: expected a scan or a folder, found nothing there")


def _folders(path: Path) -> list[Path]:
    """Return ``path`` and all folders below it, sorted, but for stores, which may hold very many files."""
    found = [path]
    for below in sorted(p for p in path.iterdir() if p.is_dir()):
        if not (below / "zarr.json").is_file():
            found += [below] if below.is_symlink() else _folders(below)
    return found


def _file(path: Path, salt: str, skipped: list[str], *, given: bool) -> Iterator[Case]:
    if path.suffix.lower() == ".zip" or (given and not _is_scan_file(path)):
        yield from _series(path, salt, skipped)
    elif path.stat().st_size == 0:
        skipped.append(f"{path}: expected a scan, got an empty file")
    else:
        yield Case(_stem(path), _key(salt, str(path.resolve()), None), str(path))


def _series(path: Path, salt: str, skipped: list[str]) -> Iterator[Case]:
    from genesis3d.io import list_series

    try:
        series = list_series(path)
    except GenesisError as error:
        skipped.append(str(error))
        return
    usable = [one for one in series if not one.problem]
    if not usable:
        cause = series[0].problem if series else "it holds no series of images"
        skipped.append(f"{path} is passed over: {cause}")
        return
    if len(series) > 1:
        skipped.append(f"{path}: {len(series)} series; the largest that opens is used ({usable[0].label()})")
    uid = usable[0].uid or None
    yield Case(_stem(path), _key(salt, str(path.resolve()), uid), str(path), uid)


def _is_scan_file(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _is_dicom(path: Path) -> bool:
    if path.suffix.lower() in (".dcm", ".ima"):
        return True
    if path.suffix and not path.suffix[1:].isdigit():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _stem(path: Path) -> str:
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _key(salt: str, path: str, series: str | None) -> str:
    return blake2b(f"{salt}|{path}|{series or ''}".encode(), digest_size=8).hexdigest()
