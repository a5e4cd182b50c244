"""Sample scans, built when asked for: nothing is downloaded."""

from __future__ import annotations

from typing import Any

__all__ = ["chirality", "thorax", "thorax_with_opacity"]

LayerData = tuple[Any, ...]


def thorax() -> list[LayerData]:
    """A thorax phantom in HU: lungs with airways and vessels, ribs, heart."""
    from genesis3d.data import phantoms
    from napari_genesis.layers import layer_data

    return [layer_data(phantoms.thorax())]


def thorax_with_opacity() -> list[LayerData]:
    """The thorax phantom with a diffuse opacity, and its known extent as labels."""
    from genesis3d.data import phantoms
    from napari_genesis.layers import layer_data

    scan, opacity = phantoms.thorax_with_opacity()
    return [layer_data(scan), layer_data(opacity, "labels")]


def chirality() -> list[LayerData]:
    """A phantom that no mirror image can be taken for: one sign each for left, front and head."""
    from genesis3d.data import phantoms
    from napari_genesis.layers import layer_data

    return [layer_data(phantoms.chirality())]
