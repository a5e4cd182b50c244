"""Restored samples of a running training as three layers that refresh in place: input, restored, target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image

__all__ = ["SampleLayers", "read_samples"]

ROWS = ("input", "restored", "target")
GAP = 4  # voxels between two samples


def read_samples(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the samples of ``path`` as strips (D, H, n W) float32 in [0, 1] by name, and what was done to each.

    Raises OSError, KeyError or ValueError for a file that is not, or not yet, one of samples.
    """
    with np.load(path) as file:
        strips = {name: _strip(file[name].astype(np.float32)) for name in ROWS}
        outcomes = [str(text) for text in file["outcomes"]] if "outcomes" in file.files else []
    return strips, outcomes


def _strip(samples: np.ndarray) -> np.ndarray:
    """Lay (n, C, D, H, W) side by side along W, first channel, black between them."""
    pieces: list[np.ndarray] = []
    for sample in samples[:, 0]:
        pieces += [sample, np.zeros((*sample.shape[:2], GAP), np.float32)]
    return np.ascontiguousarray(np.concatenate(pieces[:-1], axis=2))


class SampleLayers:
    """Three image layers, one row each, to the right of what the viewer shows; made at the first samples."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layers: dict[str, Image] = {}

    @property
    def layers(self) -> list[Image]:
        """The layers that are (still) in the viewer."""
        return [layer for layer in self._layers.values() if layer in self._viewer.layers]

    def show(self, path: Path, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> list[str]:
        """Show the samples in ``path`` and return their outcomes; a layer the user removed stays away."""
        strips, outcomes = read_samples(path)
        if self._layers and any(layer.data.shape != strips[row].shape for row, layer in self._layers.items()):
            self.remove()
        if not self._layers:
            self._add(strips, spacing)
        for row, layer in self._layers.items():
            if layer in self._viewer.layers:
                layer.data[...] = strips[row]
                layer.refresh(extent=False, thumbnail=False, highlight=False)
        return outcomes

    def remove(self) -> None:
        """Take the layers out of the viewer; the next samples make them anew."""
        for layer in self.layers:
            self._viewer.layers.remove(layer)
        self._layers.clear()

    def go_to(self) -> None:
        """Show the middle of the samples."""
        layers = self.layers
        if not layers:
            return
        boxes = np.array([layer.extent.world for layer in layers])
        low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
        middle = (low + high) / 2
        self._viewer.dims.set_point(range(-3, 0), middle)
        camera = getattr(self._viewer, "scene", self._viewer).camera  # napari before 0.9 has it on the viewer
        canvas = getattr(self._viewer, "canvas", None)
        camera.center = tuple(middle)
        camera.zoom = 0.9 * min(canvas.size if canvas else (600, 600)) / max(high[-1] - low[-1], high[-2] - low[-2])

    def _add(self, strips: dict[str, np.ndarray], spacing: tuple[float, float, float]) -> None:
        place = self._place(spacing, strips["input"].shape)
        selection = list(self._viewer.layers.selection)
        active = self._viewer.layers.selection.active
        for number, row in enumerate(ROWS):
            down = number * (strips[row].shape[1] + GAP) * spacing[1]
            self._layers[row] = self._viewer.add_image(
                strips[row].copy(),
                name=f"samples: {row}",
                colormap="gray",
                contrast_limits=(0.0, 1.0),
                scale=spacing,
                translate=place["corner"] + np.array([0.0, down, 0.0]),
                units=place["units"],
                axis_labels=place["axis_labels"],
                metadata={"genesis samples": True},
            )
        self._viewer.layers.selection = {layer for layer in selection if layer in self._viewer.layers}
        self._viewer.layers.selection.active = active

    def _place(self, spacing: tuple[float, float, float], shape: tuple[int, ...]) -> dict[str, Any]:
        """Return where the first row begins: right of everything, its middle slice at the slice being looked at."""
        others = [layer for layer in self._viewer.layers if layer.ndim == 3]
        if not others:
            return {"corner": np.zeros(3), "units": ("mm",) * 3, "axis_labels": ("S", "P", "L")}
        world = np.array([layer.extent.world for layer in others])
        corner = np.array([0.0, world[:, 0, 1].min(), world[:, 1, 2].max() + 10 * spacing[2]])
        corner[0] = self._viewer.dims.point[-3] - spacing[0] * (shape[0] // 2)
        return {"corner": corner, "units": tuple(others[0].units), "axis_labels": tuple(others[0].axis_labels)}
