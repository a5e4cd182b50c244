"""What a list of cases knows of each: where it is, how large, and a picture of its middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GenesisError
from genesis3d.events import Control, Warned

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["EDGE", "CaseEntry", "Found", "Read", "about", "finder", "stored", "thumbnail"]

EDGE = 40
MOST_THUMBNAILS = 40  # beyond these only names are shown: a folder of a thousand scans is not read twice


@dataclass(frozen=True, eq=False)
class CaseEntry:
    """One case of the list: a file or folder, the volume of a layer (a view, never a copy), or a store of ``count``.

    ``voxels``, ``spacing`` and ``picture`` are None until the scan has been read.
    """

    name: str
    path: str | None = None
    series: str | None = None
    volume: Volume | None = None
    voxels: int | None = None
    spacing: tuple[float, float, float] | None = None
    modality: str | None = None
    count: int | None = None
    picture: np.ndarray | None = field(default=None, repr=False)

    def seen(self, volume: Volume) -> CaseEntry:
        """Return the entry with what is known once its scan was read."""
        return replace(
            self,
            voxels=volume.data.size,
            spacing=volume.geometry.spacing,
            modality=volume.modality,
            picture=thumbnail(volume),
        )


def thumbnail(volume: Volume) -> np.ndarray:
    """Return the middle axial slice as (EDGE, EDGE) uint8, in the contrast a scan is first shown with."""
    from napari_genesis.windows import default_limits

    box = volume.crop((volume.geometry.shape[0] // 2, 0, 0), (1, *volume.geometry.shape[1:]))
    return _small(box.data[0, 0].astype(np.float32), *default_limits(box))


def stored(path: str) -> CaseEntry:
    """Return the entry of a store of prepared scans: of its voxels one slice is read; raises ScanError."""
    from genesis3d.data.store import open_store

    store = open_store(path)
    first, scale = store.volume(0), store.scale
    middle = first.data[:, first.data.shape[1] // 2 : first.data.shape[1] // 2 + 1]
    modalities = sorted({case.modality for case in store.cases if case.modality})
    voxels = sum(case.channels * int(np.prod(case.shape)) for case in store.cases)
    name = Path(path).name.removesuffix(".zarr")
    return CaseEntry(
        name, path, None, None, voxels, store.cases[0].spacing, "+".join(modalities) or None, len(store),
        _small(middle[0, 0].astype(np.float32), scale.low, scale.high),
    )  # fmt: skip


def _small(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return a slice as (EDGE, EDGE) uint8, ``low`` black and ``high`` white."""
    rows, columns = (np.linspace(0, n - 1, EDGE).round().astype(int) for n in plane.shape)
    small = (plane[np.ix_(rows, columns)] - low) / max(high - low, 1e-6)
    return np.ascontiguousarray(np.nan_to_num(small).clip(0, 1) * 255).astype(np.uint8)


@dataclass(frozen=True)
class Found:
    """A case was found."""

    entry: CaseEntry


@dataclass(frozen=True)
class Read:
    """The scan of the entry ``before`` was read: ``entry`` knows more."""

    before: CaseEntry
    entry: CaseEntry


def about(entry: CaseEntry) -> str:
    """Return modality and size for people."""
    store = f"store of {entry.count:,} scan{'s' * (entry.count != 1)}" if entry.count is not None else ""
    parts = [store, entry.modality or "", f"{entry.voxels / 1e6:.1f} M voxels" if entry.voxels else ""]
    return "  ".join(part for part in parts if part)


def finder(paths: list[str], known: frozenset[Any]) -> Callable[[Control], Iterator[Any]]:
    """Return an iterator function that finds the cases, then looks at each."""

    def find(control: Control) -> Iterator[Any]:
        from genesis3d.data.cases import find_cases
        from genesis3d.data.store import is_store

        stores = [path for path in paths if is_store(path)]
        yield from (Found(stored(path)) for path in stores if (path, None) not in known)
        others = [path for path in paths if path not in stores]
        if not others:
            return
        cases = find_cases(others)
        for sentence in cases.skipped[:3]:
            yield Warned(message=sentence)
        entries = []
        for case in cases:
            if (case.path, case.series) in known:
                continue
            entry = CaseEntry(case.name, case.path, case.series)
            entries.append((case, entry))
            yield Found(entry)
        for case, entry in entries[:MOST_THUMBNAILS]:
            if control() == "stop":
                return
            try:
                yield Read(entry, entry.seen(case.load()))
            except GenesisError as error:
                yield Warned(message=str(error))

    return find
