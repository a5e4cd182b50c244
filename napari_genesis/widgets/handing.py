"""Handing layers to a training: one that still equals its file travels as a path, any other is written once."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from genesis3d.errors import GenesisError, RunError
from genesis3d.volume import Volume
from napari_genesis.widgets.status import memory

__all__ = ["equals_its_file", "require_room", "safe_name", "write_scan"]

SPARE = 1.1  # a file may be a little larger than its voxels


def equals_its_file(volume: Volume) -> bool:
    """Whether the file or folder that ``volume`` came from would give the very same scan again."""
    from genesis3d.io import list_series, read_volume

    if volume.source is None or not Path(volume.source).exists():
        return False
    try:
        if volume.series and list_series(volume.source)[0].uid != volume.series:
            return False  # a training takes the largest series of a folder
        stored = read_volume(volume.source, series=volume.series).canonical()
    except GenesisError:
        return False
    same_grid = stored.geometry.matches(volume.geometry)
    return same_grid and stored.data.shape == volume.data.shape and _equal(stored.data, volume.data)


def write_scan(volume: Volume, name: str, folder: Path, number: int) -> Path:
    """Write a scan into ``folder`` (made if needed) as ``NN_name.mha``.

    Raises
    ------
    RunError
        When the disk has no room for it.
    """
    from genesis3d.io import write_volume

    require_room(folder, volume.data.nbytes, name)
    return write_volume(volume, folder / f"{number:02d}_{safe_name(name)}.mha")


def require_room(folder: Path, count: int, name: str) -> None:
    """Make ``folder`` and raise RunError unless its disk has room for ``count`` bytes of ``name``."""
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = int(count * SPARE), shutil.disk_usage(folder).free
    if needed > free:
        raise RunError(f"{name}: expected {memory(needed)} free on the disk of the runs, found {memory(free)}")


def safe_name(name: str) -> str:
    """Return ``name`` as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("._") or "layer"


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    """Compare slice by slice: no temporary as large as the scan."""
    return all(np.array_equal(a, b) for a, b in zip(first[0], second[0], strict=True))
