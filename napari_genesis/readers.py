"""npe2 readers: scans of any known format, DICOM folders and archives of them, as layers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import GenesisError

if TYPE_CHECKING:
    from genesis3d.io import SeriesInfo
    from genesis3d.volume import Volume

__all__ = ["get_reader", "read_scans"]

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip", ".dcm")
LayerData = tuple[Any, ...]
NOTHING: list[LayerData] = [(None,)]
"""What napari takes for: read, and nothing to add."""

_MOST_ENTRIES = 500


def get_reader(path: str | list[str]) -> Callable[..., list[LayerData]] | None:
    """Return :func:`read_scans` if every path is a scan file, or a folder that holds DICOM; else None."""
    paths = [path] if isinstance(path, str | os.PathLike) else path
    return read_scans if paths and all(_readable(Path(p)) for p in paths) else None


def read_scans(path: str | list[str], **_: Any) -> list[LayerData]:
    """Read one or several paths, each of which may give several layers.

    A path that cannot be opened is said in an error notification, the others are read.
    """
    from napari.utils.notifications import show_error

    layers: list[LayerData] = []
    for item in _together([path] if isinstance(path, str | os.PathLike) else path):
        try:
            layers += _read(item)
        except GenesisError as error:
            show_error(str(error))
    return layers or NOTHING


def _readable(path: Path) -> bool:
    return _holds_dicom(path) if path.is_dir() else path.name.lower().endswith(SUFFIXES)


def _holds_dicom(folder: Path) -> bool:
    """Whether one of the first few hundred entries of a folder, taken level by level, is DICOM."""
    waiting, seen = [folder], 0
    while waiting and seen < _MOST_ENTRIES:
        try:
            entries = sorted(os.scandir(waiting.pop(0)), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries[: _MOST_ENTRIES - seen]:
            seen += 1
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif _is_dicom(entry):
                return True
    return False


def _is_dicom(entry: os.DirEntry[str]) -> bool:
    if entry.name.lower().endswith((".dcm", ".ima")) or entry.name == "DICOMDIR":
        return True
    try:
        if not entry.is_file():
            return False
        with open(entry.path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _together(paths: Iterable[str]) -> list[str]:
    """Paths to open: slices picked one by one in a folder are opened as that folder, so that they become a volume."""
    items = [str(p) for p in paths]
    slices = [p for p in items if p.lower().endswith(".dcm")]
    if len(slices) < 2:
        return items
    folders = [str(Path(p).parent) for p in slices]
    return list(dict.fromkeys(str(Path(p).parent) if p in slices and folders.count(str(Path(p).parent)) > 1 else p
                              for p in items))  # fmt: skip


def _read(path: str) -> list[LayerData]:
    from genesis3d.io import read_volume
    from napari_genesis.layers import layer_data, say_oblique
    from napari_genesis.segmentations import segmentation_layer

    segmentation = segmentation_layer(path)
    if segmentation is not None:
        return [segmentation]
    layers: list[LayerData] = []
    for series, channel in _chosen(path):
        volume = read_volume(path, series=series, channel=channel)
        if channel is not None:
            volume = volume.with_data(volume.data, name=f"{volume.name} channel {channel}")
        _say_notes(volume)
        say_oblique(volume)
        layers.append(_named(layer_data(_whole_numbers(volume)), path))
    return layers


def _named(layer: LayerData, path: str) -> LayerData:
    """A labels layer with the names and colours that its file holds; any other as it is."""
    from genesis3d.io.segment_keys import read_classes
    from napari_genesis.segmentations import described

    array, options, kind = layer
    if kind != "labels":
        return layer
    return array, options | described(read_classes(Path(path)), options["metadata"]), kind


def _chosen(path: str) -> list[tuple[str | None, int | None]]:
    """The (series, channel) to read from a path, asking where there is a choice and somebody to ask."""
    from genesis3d.io import list_series

    series = list_series(path)
    if len(series) == 1 and series[0].channels == 1:
        return [(series[0].uid or None, None)]
    from napari_genesis.widgets.scan.series import ask_series, can_ask

    if can_ask() and any(info.problem is None for info in series):
        return ask_series(series, Path(path).name)
    largest = next((info for info in series if info.problem is None), series[0])
    _say_others(path, largest, [info for info in series if info is not largest])
    return [(largest.uid or None, 0 if largest.channels > 1 else None)]


def _say_others(path: str, opened: SeriesInfo, others: list[SeriesInfo]) -> None:
    from napari.utils.notifications import show_warning

    channel = f", channel 0 of {opened.channels}" if opened.channels > 1 else ""
    rest = "; ".join(info.label() for info in others)
    show_warning(f"{Path(path).name}: opens {opened.label()}{channel}" + (f"; not opened: {rest}" if rest else ""))


def _say_notes(volume: Volume) -> None:
    from napari.utils.notifications import show_warning

    if volume.notes:
        show_warning(f"{volume.name}: {'; '.join(volume.notes)}")


def _whole_numbers(volume: Volume) -> Volume:
    """A segmentation that was stored as floating point, as whole numbers; anything else as it is."""
    import numpy as np

    from napari_genesis.kinds import layer_kind, sounds_like_labels

    if volume.data.dtype.kind != "f" or not sounds_like_labels(volume) or not np.isfinite(volume.data).all():
        return volume
    whole = volume.with_data(volume.data.astype(np.int32))
    return whole if layer_kind(whole) == "labels" and np.array_equal(whole.data, volume.data) else volume
