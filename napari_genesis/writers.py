"""npe2 writers: image and labels layers to medical formats, on the source's own grid."""

from __future__ import annotations

from typing import Any

__all__ = ["write_image", "write_labels"]


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write an image layer to ``path`` (.nii.gz, .nii, .nrrd, .mha, .mhd) and return the path in a list.

    Raises ScanError or GeometryError, one sentence, for a layer that is no 3D volume or has no rigid grid.
    """
    return _write(path, data, attributes, "image")


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write a labels layer as :func:`write_image` does, in the smallest whole numbers that hold its labels."""
    return _write(path, data, attributes, "labels")


def _write(path: str, data: Any, attributes: dict[str, Any], kind: str) -> list[str]:
    from napari.layers import Layer

    from genesis3d.io import write_volume
    from napari_genesis.layers import volume_from_layer

    volume = volume_from_layer(Layer.create(data, attributes, kind))  # the one way from a layer to space
    return [str(write_volume(volume, path, labels=kind == "labels"))]
