"""Handing a scan and its labels to a fine-tuning: files in ``RUN/inputs``, edited labels as a new version each time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Finished, Started, Stepped, Warned
from genesis3d.labels import whole_values
from napari_genesis.widgets.handing import equals_its_file, require_room, safe_name, write_scan
from napari_genesis.widgets.status import memory

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["Pair", "label_files", "next_labels", "prepare_labels", "prepare_run"]


@dataclass(frozen=True, eq=False)
class Pair:
    """The ``channels`` of a scan, canonical volumes, and the ``labels`` painted on it; views of the layers' data."""

    channels: tuple[Volume, ...]
    labels: Volume

    @property
    def scan(self) -> Volume:
        """The first channel, on whose grid results lie."""
        return self.channels[0]


def prepare_run(pair: Pair, run: Path, control: Control) -> Iterator[Event]:
    """Make files of ``pair`` in the folder of a new run; what comes to nothing leaves no folder.

    The last event's result holds ``data``, the fields of :class:`TargetData` that name the files, and the painted
    ``values``.

    Raises
    ------
    ScanError
        When nothing is painted, or the labels are no labels.
    RunError
        When the disk has no room.
    """
    done = False
    try:
        yield Started(what="hand over", total=len(pair.channels) + 1, unit="file")
        values = _values(pair.labels)
        images: list[str] = []
        for index, channel in enumerate(pair.channels):
            if control() == "stop":
                yield Finished(cancelled=True)
                return
            said, path = _handed(channel, pair, run / "inputs", index)
            yield from (Warned(message=sentence) for sentence in said)
            images.append(path)
            yield Stepped(step=index + 1, total=len(pair.channels) + 1)
        written = _write_labels(pair, run, 1)
        done = True
        yield Finished(result={"data": _named(pair, images, written), "values": values})
    finally:
        if not done:
            shutil.rmtree(run, ignore_errors=True)


def prepare_labels(pair: Pair, run: Path, control: Control) -> Iterator[Event]:
    """Write the labels as they stand now beside the earlier versions of ``run``; equal ones are not written again.

    The last event's result holds ``labels``, the file, and whether it is ``new``.

    Raises
    ------
    ScanError
        When nothing is painted, or the labels lie on another grid than those of before.
    RunError
        When the disk has no room.
    """
    from genesis3d.io import read_volume

    yield Started(what="hand over", total=1, unit="file")
    _values(pair.labels)
    before = label_files(run)
    if before:
        last = read_volume(before[-1]).canonical()
        if not last.geometry.matches(pair.labels.geometry, 0.01):
            raise ScanError(
                f"{pair.labels.name}: expected labels on the grid that '{run.name}' was given "
                f"({last.geometry.describe()}), got {pair.labels.geometry.describe()}"
            )
        if _same(last.data[0], pair.labels.data[0]):
            yield Finished(result={"labels": str(before[-1]), "new": False})
            return
    yield Finished(result={"labels": str(_write_labels(pair, run, next_labels(run))), "new": True})


def label_files(run: Path) -> list[Path]:
    """Return the versions of the labels that ``run`` was given, oldest first."""
    return sorted((run / "inputs").glob("*labels-[0-9][0-9][0-9].nii.gz"), key=lambda path: path.name[-10:])


def next_labels(run: Path) -> int:
    """Return the number of the next version."""
    files = label_files(run)
    return int(files[-1].name[-10:-7]) + 1 if files else 1


def _values(labels: Volume) -> list[int]:
    """Return the painted values; raises ScanError when there are none."""
    found: set[int] = set()
    for plane in labels.data[0]:
        found.update(int(value) for value in np.unique(plane[plane != 0]))
    if not found:
        raise ScanError(f"{labels.name}: nothing is painted yet; paint a structure on a few slices, then train")
    return sorted(found)


def _handed(channel: Volume, pair: Pair, folder: Path, index: int) -> tuple[list[str], str]:
    if len(pair.channels) > 1:  # registered files are found by the ends of their names, in one folder
        stem = f"{_stem(pair)}_{index:04d}.mha"
        return [], str(_renamed(write_scan(channel, channel.name, folder, index + 1), stem))
    if equals_its_file(channel):
        return [], str(Path(channel.source or "").absolute())
    size = memory(channel.data.nbytes)
    said = f"{channel.name} is not as in its file: {size} are written to the run" if channel.source else ""
    return [said] if said else [], str(write_scan(channel, channel.name, folder, index + 1))


def _named(pair: Pair, images: list[str], labels: Path) -> dict[str, object]:
    if len(images) == 1:
        return {"images": (images[0],), "labels": (str(labels),)}
    ends = tuple(f"_{index:04d}" for index in range(len(images)))
    suffix = labels.name.removeprefix(_stem(pair)).removesuffix(".nii.gz")
    return {"images": tuple(images), "labels": (str(labels),), "channels": ends, "label_suffix": suffix}


def _write_labels(pair: Pair, run: Path, number: int) -> Path:
    from genesis3d.io import write_volume

    folder = run / "inputs"
    require_room(folder, pair.labels.data[0].size, pair.labels.name)
    # a copy, once: painting goes on meanwhile
    values = whole_values(np.array(pair.labels.data), pair.labels.name)
    first = f"{_stem(pair)}-" if len(pair.channels) > 1 else ""
    path = folder / f"{first}labels-{number:03d}.nii.gz"
    return write_volume(pair.labels.with_data(values), path, labels=True)


def _stem(pair: Pair) -> str:
    return safe_name(pair.scan.name)


def _renamed(path: Path, name: str) -> Path:
    return path.rename(path.with_name(name))


def _same(first: np.ndarray, second: np.ndarray) -> bool:
    return first.shape == second.shape and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
