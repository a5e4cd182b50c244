"""A wire box in the user's viewer: as a scene overlay, or as a helper layer where napari offers no such thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

__all__ = ["BOX_COLOR", "LAYER_NAME", "BoxDrawing", "LayerBox", "draw_box", "edges_2d", "edges_3d"]

BOX_COLOR = (1.0, 0.80, 0.15, 1.0)
LAYER_NAME = "preview box"

# the twelve edges of a box whose corners are product((0, 1), repeat=3): those that differ along one axis
EDGES = tuple((a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4))


class BoxDrawing(Protocol):
    """What draws the box."""

    def move(self, corners: NDArray[np.float64]) -> None:
        """Draw the box with the eight world ``corners`` (8, 3), in the order of ``product((0, 1), repeat=3)``."""

    def remove(self) -> None:
        """Leave nothing behind."""


def edges_3d(corners: NDArray[np.float64], displayed: tuple[int, ...]) -> NDArray[np.float32]:
    """Return (24, 3) vertices, two an edge, with coordinates along the ``displayed`` axes, last axis first."""
    return corners[np.array(EDGES).ravel()][:, list(displayed)[::-1]].astype(np.float32)


def edges_2d(
    corners: NDArray[np.float64], displayed: tuple[int, ...], point: NDArray[np.float64]
) -> NDArray[np.float32] | None:
    """Return (8, 3) vertices of the rectangle the box leaves on the plane through ``point``, None off its slices."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    hidden = [axis for axis in range(3) if axis not in displayed]
    if any(not low[axis] <= point[axis] <= high[axis] for axis in hidden):
        return None
    row, column = displayed
    ring = [(low[column], low[row]), (high[column], low[row]), (high[column], high[row]), (low[column], high[row])]
    pairs = [corner for i in range(4) for corner in (ring[i], ring[(i + 1) % 4])]
    return np.array([(*pair, 0.0) for pair in pairs], dtype=np.float32)


def draw_box(viewer: Viewer, name: str = LAYER_NAME) -> BoxDrawing:
    """Return a drawing called ``name`` in ``viewer``: an overlay where this napari allows it, else a helper layer."""
    try:
        from napari_genesis.widgets.box_overlay import OverlayBox

        return OverlayBox(viewer, name)
    except (ImportError, AttributeError):
        return LayerBox(viewer, name)


class LayerBox:
    """The box as the bounding box of an empty helper layer: public parts of napari only."""

    def __init__(self, viewer: Viewer, name: str = LAYER_NAME) -> None:
        self._viewer, self._name = viewer, name
        self._layer: Any = None

    def move(self, corners: NDArray[np.float64]) -> None:
        """Draw the box with the eight world ``corners``."""
        low, high = corners.min(axis=0), corners.max(axis=0)
        if self._layer is None or self._layer not in self._viewer.layers:
            self._layer = self._add()
        self._layer.scale = tuple((high - low) / 2)
        self._layer.translate = tuple(low + (high - low) / 4)

    def remove(self) -> None:
        """Take the helper layer out of the viewer."""
        if self._layer is not None and self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None

    def _add(self) -> Any:
        selection = self._viewer.layers.selection
        chosen, active = set(selection), selection.active
        units = self._viewer.layers[0].units[-3:] if len(self._viewer.layers) else None
        nothing = np.zeros((2, 2, 2), dtype=np.uint8)  # added to what lies below: invisible but for its outline
        layer = self._viewer.add_image(
            nothing, name=self._name, blending="additive", contrast_limits=(0, 1), units=units
        )
        box = layer.bounding_box
        box.visible, box.points, box.line_color, box.line_thickness = True, False, BOX_COLOR, 2
        selection.clear()
        selection.update(chosen)
        if active is not None:
            selection.active = active
        return layer
