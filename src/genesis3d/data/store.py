"""A store of prepared scans: what ``genesis3d prepare`` writes, and how a training reads it.

``STORE/zarr.json`` says by which settings it was made; ``STORE/KEY`` is the array of one case with its record among
the attributes, whole as soon as its own ``zarr.json`` is there; ``STORE/index.jsonl`` holds all records together, a
line each after the fingerprint, and is there only while nothing is being added.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from genesis3d.config import Config
from genesis3d.data.lazy import LazyArray, LazyVolume, lazy_volume
from genesis3d.data.shards import ATTRIBUTE, LEVELS, ShardReader
from genesis3d.data.storage import Storage, is_url, storage_at
from genesis3d.errors import ConfigError, ScanError
from genesis3d.intensity import INTENSITIES, Intensity, Scale, common_intensity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from genesis3d.data.loading import LoadedCases

__all__ = [
    "SCHEMA",
    "ScanStore",
    "StoreHeader",
    "StoredCase",
    "is_store",
    "open_store",
    "read_header",
    "read_records",
    "write_index",
]

SCHEMA = 1
Triple = tuple[int, int, int]
Vector = tuple[float, float, float]


class StoredCase(Config):
    """One case of a store.  It names neither a path nor a patient."""

    name: str = Field(description="file or folder name without its suffix")
    key: str = Field(pattern="^[0-9a-f]{16}$", description="salted hash of where it came from: its array's name")
    modality: str | None = Field(None, description="DICOM term, where known")
    shape: Triple = Field(description="voxels (D, H, W)")
    spacing: Vector = Field(description="mm along D, H, W")
    origin: Vector = Field((0.0, 0.0, 0.0), description="place of the first voxel (S, P, L) in mm")
    direction: tuple[Vector, Vector, Vector] = Field(
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), description="columns: axes D, H, W in (S, P, L)"
    )
    channels: int = Field(1, ge=1, description="number of channels")
    intensity: Annotated[Intensity, *INTENSITIES.field()] = Field(description="how its values became [0, 1]")
    scales: tuple[tuple[float, float], ...] = Field(description="value that became 0 and that became 1, by channel")
    mean: float = Field(description="mean of the stored values in [0, 1]")
    std: float = Field(description="their standard deviation")
    source_shape: Triple = Field(description="voxels (D, H, W) of the scan before cropping and resampling")
    source_spacing: Vector = Field(description="its spacing in mm")
    nbytes: int = Field(ge=0, description="bytes in the store")
    digest: str = Field(description="hash of the stored voxels and their spacing")
    warnings: tuple[str, ...] = Field((), description="what was said while it was read")


class StoreHeader(Config):
    """The attributes of a store: by which settings it was made."""

    schema_version: int = Field(description="version of this layout")
    levels: int = Field(LEVELS, description="stored value of 1.0")
    settings: dict[str, Any] = Field(default_factory=dict, description="settings of prepare")


@dataclass(frozen=True, eq=False)
class ScanStore:
    """Prepared scans, read box by box.

    Attributes
    ----------
    url : path or URL
    header : the settings it was made by
    cases : in order of their names
    finished : whether the preparation came to its end (or stopped by request), so that ``index.jsonl`` is there
    """

    url: str
    header: StoreHeader
    cases: Sequence[StoredCase]
    finished: bool
    reader: ShardReader

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def fingerprint(self) -> str:
        """32 hex digits that follow from the settings and the voxels of all cases: not from names, paths or order."""
        return fingerprint(self.header, self.cases)

    @property
    def intensity(self) -> Intensity:
        """The mapping to [0, 1] that was applied: that of all cases, or ``auto`` where they differ."""
        return common_intensity([case.intensity for case in self.cases])

    @property
    def scale(self) -> Scale:
        """The map of stored values to [0, 1], the same for every case."""
        return Scale(0.0, float(LEVELS))

    def volume(self, index: int) -> LazyVolume:
        """Return a case as a volume that reads its boxes when they are taken.

        Reading raises ScanError naming store, case and cause when the case is gone or damaged.
        """
        from genesis3d.volume import Geometry

        case = self.cases[index]
        data = LazyArray(partial(self._read, case), case.channels, case.shape)
        geometry = Geometry(case.shape, case.spacing, case.origin, case.direction)
        return lazy_volume(data, geometry, modality=case.modality, name=case.name)

    def loaded(self) -> LoadedCases:
        """Return all cases for a training; what was said while they were prepared is said again."""
        from genesis3d.data.cases import Case
        from genesis3d.data.loading import LoadedCases

        warnings = [f"{case.name}: {sentence}" for case in self.cases for sentence in case.warnings]
        if not self.finished:
            warnings.insert(0, f"{self.url}: its preparation has not come to an end; {len(self)} cases are there")
        return LoadedCases(
            [Case(case.name, case.key) for case in self.cases],
            [self.volume(i) for i in range(len(self))],
            [self.scale] * len(self),
            self.intensity,
            tuple(warnings),
            self.fingerprint,
        )

    def _read(self, case: StoredCase, start: Triple, stop: Triple) -> NDArray[Any]:
        try:
            return self.reader.read(case.key, (case.channels, *case.shape), start, stop)
        except (OSError, ValueError, RuntimeError) as error:
            cause = "a file of it is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise ScanError(
                f"{self.url}: expected to read case {case.name} ({case.key}), but {cause}; remove its folder and run "
                "genesis3d prepare again"
            ) from error


def fingerprint(header: StoreHeader, cases: Sequence[StoredCase]) -> str:
    """Return 32 hex digits for settings and contents."""
    text = json.dumps([SCHEMA, header.settings, sorted(case.digest for case in cases)], sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def is_store(path: str | Path) -> bool:
    """Whether ``path`` is given as a store: a URL, a name ending in ``.zarr``, or a folder with a ``zarr.json``."""
    text = str(path)
    return is_url(text) or text.rstrip("/\\").endswith(".zarr") or (Path(text).expanduser() / "zarr.json").is_file()


def open_store(url: str | Path) -> ScanStore:
    """Return the store at a path or URL; no voxel is read.

    Raises
    ------
    ScanError
        For what is not a store, a store of another version, a damaged index, or one without cases.
    """
    storage = storage_at(url)
    header = read_header(storage)
    if header is None:
        raise ScanError(f"{url}: expected a store made by genesis3d prepare, found none")
    try:
        cases = _index(storage, header)
        finished = cases is not None
        if cases is None:
            cases = list(read_records(storage).values())
    except OSError as error:
        raise ScanError(f"{url}: expected to read the list of cases, got: {error}") from error
    if not cases:
        raise ScanError(f"{url}: expected at least one prepared case, got an empty store")
    cases.sort(key=lambda case: (case.name, case.key))
    return ScanStore(storage.url, header, tuple(cases), finished, ShardReader(storage))


class _Sharing:
    """Holds equal values of cases once: an archive of 100,000 has few spacings and intensities."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}
        self._fields = set(StoredCase.model_fields)

    def case(self, values: Any) -> StoredCase:
        """Return the case of plain ``values``; raises ConfigError."""
        case = StoredCase.parse(values, "case")
        pairs = ((name, getattr(case, name)) for name in self._fields)
        return StoredCase.model_construct(self._fields, **{n: self._known.setdefault((n, v), v) for n, v in pairs})


def read_header(storage: Storage) -> StoreHeader | None:
    """Return what a store says of itself, None where there is nothing; raises ScanError for anything else."""
    try:
        raw = storage.read("zarr.json")
    except (FileNotFoundError, NotADirectoryError):
        if not is_url(storage.url) and Path(storage.url).is_file():
            raise ScanError(f"{storage.url}: expected the folder of a store, got a file") from None
        return None
    except OSError as error:
        raise ScanError(f"{storage.url}: expected to read a store there, got: {error}") from error
    try:
        found = json.loads(raw)["attributes"][ATTRIBUTE]
        version = found["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise ScanError(f"{storage.url}: expected a store made by genesis3d prepare, got other Zarr data") from None
    if version != SCHEMA:
        raise ScanError(f"{storage.url}: expected a store of version {SCHEMA}, got version {version!r}: prepare anew")
    try:
        header = StoreHeader.parse(found)
    except ConfigError as error:
        raise ScanError(f"{storage.url}/zarr.json: {error}") from error
    if header.levels != LEVELS:
        raise ScanError(f"{storage.url}: expected {LEVELS} for 1.0, got {header.levels}")
    return header


def _index(storage: Storage, header: StoreHeader) -> list[StoredCase] | None:
    try:
        raw = storage.read("index.jsonl")
    except FileNotFoundError:
        return None
    try:
        first, *lines = raw.splitlines()
        share = _Sharing()
        cases = [share.case(json.loads(line)) for line in lines]
        if json.loads(first)["fingerprint"] != fingerprint(header, cases):
            raise ValueError("its fingerprint is not that of its cases")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        cause = " ".join(str(error).split())[:200]
        raise ScanError(
            f"{storage.url}/index.jsonl: expected the list of cases, but {cause}; the same genesis3d prepare command "
            "writes it again"
        ) from error
    return cases


def write_index(storage: Storage, header: StoreHeader, cases: Sequence[StoredCase]) -> str:
    """Write all records together, a line each after the fingerprint, and return that."""
    found = fingerprint(header, cases)
    lines = [json.dumps({"fingerprint": found}), *(json.dumps(case.to_dict()) for case in cases)]
    storage.write("index.jsonl", "\n".join(lines).encode())
    return found


def read_records(storage: Storage) -> dict[str, StoredCase]:
    """Return the cases that are whole, by their keys; what is damaged or half there is not among them."""
    names = [f"{name}/zarr.json" for name in storage.children() if len(name) == 16]
    records, share = {}, _Sharing()
    for name, raw in storage.read_all(names).items():
        try:
            case = share.case(json.loads(raw)["attributes"][ATTRIBUTE])
        except (ValueError, KeyError, TypeError):  # such a case is prepared again
            continue
        if name.startswith(case.key):
            records[case.key] = case
    return records
