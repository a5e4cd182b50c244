"""Segmentations from files as labels layers: on the scan that is open, with their structures' names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import GenesisError

if TYPE_CHECKING:
    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["described", "segmentation_layer"]

UNKNOWN = "#b0b0b0"
COVERED = 0.75


def segmentation_layer(path: str) -> tuple[Any, ...] | None:
    """Return the labels layer of a DICOM segmentation or RTSTRUCT, or None when ``path`` is neither.

    It lies on the grid of an open scan that covers it; a DICOM segmentation without one on its own, an RTSTRUCT
    raises ScanError.
    """
    from genesis3d.io import read_segmentation
    from genesis3d.io.segmentation import segmentation_kind
    from napari_genesis.layers import layer_data

    kind = segmentation_kind(Path(path))
    if kind is None:
        return None
    scans = _open_scans()
    if kind == "RTSTRUCT":
        labels, classes = read_segmentation(path, scans[0] if scans else None)
    else:
        labels, classes = _on_open_scan(path, scans)
    array, options, layer_type = layer_data(labels, kind="labels")
    return array, options | described(classes, options["metadata"]), layer_type


def described(classes: Sequence[LabelClass], metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a labels layer that show names under the cursor, and colours where there are any."""
    kept = [one for one in classes if one.value]
    if not kept:
        return {}
    options: dict[str, Any] = {
        "metadata": metadata | {"structures": [one.to_dict() for one in kept]},
        "features": {"index": [0, *(one.value for one in kept)], "name": ["", *(one.name for one in kept)]},
    }
    if all(one.colour is not None for one in kept):
        from napari.utils.colormaps import DirectLabelColormap

        colours: dict[int | None, Any] = {0: "transparent", None: UNKNOWN}
        options["colormap"] = DirectLabelColormap(color_dict=colours | {one.value: one.colour for one in kept})
    return options


def _on_open_scan(path: str, scans: Sequence[Volume]) -> tuple[Volume, tuple[LabelClass, ...]]:
    from genesis3d.data.channels import overlap
    from genesis3d.io import read_segmentation

    labels, classes = read_segmentation(path)
    for scan in scans:
        if overlap(labels.geometry, scan.geometry) >= COVERED:
            return read_segmentation(path, scan)
    return labels, classes


def _open_scans() -> list[Volume]:
    """The image layers that are scans, the selected one first."""
    import napari
    from napari.layers import Image

    from napari_genesis.layers import volume_from_layer

    viewer = napari.current_viewer()
    if viewer is None:
        return []
    found = []
    layers = sorted(viewer.layers, key=lambda layer: layer is not viewer.layers.selection.active)
    for layer in layers:
        if isinstance(layer, Image):
            try:
                volume = volume_from_layer(layer)
            except GenesisError:
                continue
            found.append(replace(volume, notes=()))
    return found
