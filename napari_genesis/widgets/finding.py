"""From a table to the view and back: going to a place, and hearing of clicks on a labels layer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

import numpy as np
from qtpy.compat import isalive

from napari_genesis.layers import view_point

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["Clicks", "go_to"]


def go_to(viewer: ViewerModel, layer: Layer, patient: Any) -> None:
    """Bring slices and camera to a patient position (S, P, L) in mm, as ``layer`` lies in the view; zoom stays."""
    point = view_point(layer, patient)
    dims = viewer.dims
    first = dims.ndim - 3
    dims.set_point(range(first, dims.ndim), tuple(float(v) for v in point))
    shown = [axis - first for axis in dims.displayed[-3:] if axis >= first]
    centre = np.asarray(viewer.scene.camera.center, dtype=float)
    centre[-len(shown) :] = [point[axis] for axis in shown]
    viewer.scene.camera.center = tuple(centre)


class Clicks:
    """Tells ``clicked(value, position)`` of clicks, not drags, on the layer that the bound method ``layer`` returns.

    ``position`` is that of napari's world.  Nothing is told of the background or of a hidden layer.
    """

    def __init__(
        self, viewer: ViewerModel, layer: Callable[[], Layer | None], clicked: Callable[[int, Any], None]
    ) -> None:
        self._viewer = viewer
        self._layer, self._clicked = WeakMethod(layer), WeakMethod(clicked)
        self.on_mouse = self._on_mouse  # one bound method, so that it can be found again and taken out
        viewer.mouse_drag_callbacks.append(self.on_mouse)

    def close(self) -> None:
        """Listen no more."""
        with suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self.on_mouse)

    def _on_mouse(self, viewer: ViewerModel, event: Any) -> Any:
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged = True
            yield
        layer, clicked = self._layer(), self._clicked()
        if dragged or layer is None or clicked is None or not isalive(clicked.__self__):
            return
        shown = layer()
        if shown is None or not shown.visible:
            return
        value = shown.get_value(
            event.position, view_direction=event.view_direction, dims_displayed=event.dims_displayed, world=True
        )
        if value:
            clicked(int(value), event.position)
