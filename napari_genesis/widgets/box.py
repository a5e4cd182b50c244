"""A box of voxels in the user's viewer: drawn in 2D and 3D, dragged by mouse in any plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_genesis.layers import patient_point, view_point
from napari_genesis.widgets.box_draw import LAYER_NAME, BoxDrawing, draw_box

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["Grid", "ScanBox", "layer_grid"]

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Grid:
    """A scan's voxels in the viewer: its ``shape`` (D, H, W) and the way between indices and napari's world."""

    shape: Triple
    to_view: Callable[[NDArray[Any]], NDArray[np.float64]]
    to_index: Callable[[NDArray[Any]], NDArray[np.float64]]


class ScanBox(QObject):
    """A box of voxels in the scan that ``viewer`` shows.

    Dragging inside the box in 2D moves it in the plane shown; outside of it the view pans as ever.  After
    :meth:`pick_next` the next press anywhere in the scan centres the box there.  ``name`` tells it from others.
    """

    moved = Signal(tuple)  # the new first voxel (d, h, w), while the user drags
    picked = Signal()  # the press that pick_next() waited for came

    def __init__(self, viewer: Viewer, parent: QObject | None = None, name: str = LAYER_NAME) -> None:
        super().__init__(parent)
        self._viewer, self._name = viewer, name
        self._drawing: BoxDrawing | None = None
        self._grid: Grid | None = None
        self._start: Triple = (0, 0, 0)
        self._size: Triple = (1, 1, 1)
        self._picking = False
        self._callback = self._on_press  # one bound method, so that it can be found again and taken out
        viewer.mouse_drag_callbacks.append(self._callback)

    def show(self, grid: Grid, start: Triple, size: Triple) -> None:
        """Draw the box ``[start, start + size)`` of ``grid``."""
        self._grid, self._start, self._size = grid, start, size
        if self._drawing is None:
            self._drawing = draw_box(self._viewer, self._name)
        self._drawing.move(self.corners())

    def hide(self) -> None:
        """Take the box out of the view; the mouse does nothing until the next :meth:`show`."""
        self._grid, self._picking = None, False
        if self._drawing is not None:
            self._drawing.remove()
            self._drawing = None

    def remove(self) -> None:
        """Leave the viewer as it was."""
        self.hide()
        if self._callback in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._callback)

    def pick_next(self, wanted: bool = True) -> None:
        """Let the next press in the scan, in 2D, centre the box there (or no longer)."""
        self._picking = wanted and self._grid is not None

    def corners(self) -> NDArray[np.float64]:
        """Return the eight corners (8, 3) in napari's world: the outer faces of the voxels."""
        if self._grid is None:
            return np.zeros((8, 3))
        low = np.asarray(self._start) - 0.5
        index = low + np.array(list(product((0, 1), repeat=3))) * self._size
        return self._grid.to_view(index)

    def go(self) -> None:
        """Show the slices through the middle of the box; camera, zoom and order of the axes stay."""
        if self._grid is None:
            return
        middle = self._grid.to_view(np.asarray(self._start) + (np.asarray(self._size) - 1) / 2)
        extra = self._viewer.dims.ndim - 3
        for axis, value in enumerate(middle):
            self._viewer.dims.set_point(axis + extra, float(value))

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        position = self._position(event)
        if position is None:
            return
        if self._picking:
            self._picking = False
            middle = position - (np.asarray(self._size) - 1) / 2
            self._move(middle)
            self.picked.emit()
        elif not self._inside(position):
            return
        grab = position - np.asarray(self._start)
        event.handled = True
        yield
        while event.type == "mouse_move":
            self._drag(event, grab)
            event.handled = True
            yield
        self._drag(event, grab)  # moves are throttled: the release has the last word

    def _drag(self, event: Any, grab: NDArray[np.float64]) -> None:
        if self._grid is not None:
            self._move(self._index(event) - grab)

    def _position(self, event: Any) -> NDArray[np.float64] | None:
        """The index under the mouse if this press may concern the box: left button, 2D, nobody painting."""
        if self._grid is None or event.button != 1 or event.modifiers or len(event.dims_displayed) != 2:
            return None
        active = self._viewer.layers.selection.active
        if active is not None and str(getattr(active, "mode", "pan_zoom")) != "pan_zoom":
            return None
        index = self._index(event)
        inside = (index > -0.5).all() and (index < np.asarray(self._grid.shape) - 0.5).all()
        return index if inside else None

    def _index(self, event: Any) -> NDArray[np.float64]:
        assert self._grid is not None
        return np.asarray(self._grid.to_index(np.asarray(event.position, dtype=np.float64)[-3:]))

    def _inside(self, index: NDArray[np.float64]) -> bool:
        low = np.asarray(self._start) - 0.5
        return bool((index >= low).all() and (index <= low + self._size).all())

    def _move(self, start: NDArray[np.float64]) -> None:
        assert self._grid is not None
        highest = np.subtract(self._grid.shape, self._size)
        d, h, w = (int(v) for v in np.clip(np.round(start), 0, highest))
        if (d, h, w) != self._start:
            self._start = (d, h, w)
            if self._drawing is not None:
                self._drawing.move(self.corners())
            self.moved.emit(self._start)


def layer_grid(layer: Layer, volume: Volume) -> Grid:
    """Return the voxels of ``volume``, which ``layer`` shows, in the viewer."""
    geometry = volume.geometry

    def to_view(index: Any) -> Any:
        return view_point(layer, geometry.to_world(np.asarray(index, dtype=np.float64)))

    def to_index(view: Any) -> Any:
        return geometry.to_index(patient_point(layer, view))

    return Grid(geometry.shape, to_view, to_index)
