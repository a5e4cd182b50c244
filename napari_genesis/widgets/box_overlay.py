"""The box as a scene overlay: the only file that uses private parts of napari (the table of visuals).

An overlay is not in the layer list, leaves the selection alone, is repeated in each cell of the grid and moves in a
few milliseconds.  Where these parts are missing, importing this file fails and the helper layer serves instead.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from napari._vispy.overlays.base import ViewerOverlayMixin, VispySceneOverlay
from napari._vispy.utils.visual import overlay_to_visual
from napari.components.overlays import SceneOverlay
from vispy.scene.visuals import Line

from napari_genesis.widgets.box_draw import BOX_COLOR, edges_2d, edges_3d

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

__all__ = ["GenesisBoxOverlay", "OverlayBox"]

Corner = tuple[float, float, float]


class GenesisBoxOverlay(SceneOverlay):
    """Eight world corners, in the order of ``product((0, 1), repeat=3)``."""

    corners: tuple[Corner, ...] = tuple((float(a), float(b), float(c)) for a, b, c in product((0, 1), repeat=3))


class GenesisBoxVisual(ViewerOverlayMixin, VispySceneOverlay):
    """The lines of the box as the dims of its viewer show it."""

    def __init__(self, **kwargs: Any) -> None:
        line = Line(pos=np.zeros((2, 3), np.float32), color=BOX_COLOR, width=2, connect="segments", method="gl")
        super().__init__(node=line, **kwargs)
        for event in self._sources():
            event.connect(self._on_data_change)
        self.reset()

    def reset(self) -> None:
        """Take over all of the model."""
        super().reset()
        self._on_data_change()

    def close(self) -> None:
        """Disconnect and leave the scene."""
        for event in self._sources():
            event.disconnect(self._on_data_change)
        super().close()

    def _sources(self) -> tuple[Any, ...]:
        dims = self.viewer.dims.events
        return (self.overlay.events.corners, dims.order, dims.point, dims.ndisplay, dims.ndim)

    def _on_data_change(self) -> None:
        vertices = self._vertices()
        self.node.visible = bool(self.overlay.visible) and vertices is not None
        if vertices is not None:
            self.node.set_data(pos=vertices)

    def _should_be_visible(self) -> bool:
        return bool(self.overlay.visible) and self._vertices() is not None

    def _vertices(self) -> NDArray[np.float32] | None:
        dims, corners = self.viewer.dims, np.asarray(self.overlay.corners)
        extra = dims.ndim - 3  # a 3D scan lies along the last three axes of a viewer with more
        displayed = tuple(axis - extra for axis in dims.displayed)
        if extra < 0 or min(displayed) < 0:
            return None
        if len(displayed) == 3:
            return edges_3d(corners, displayed)
        return edges_2d(corners, displayed, np.asarray(dims.point)[extra:])


overlay_to_visual[GenesisBoxOverlay] = GenesisBoxVisual


class OverlayBox:
    """The box called ``name`` as a scene overlay of ``viewer``."""

    def __init__(self, viewer: Viewer, name: str) -> None:
        self._key = f"genesis_{name.replace(' ', '_')}"
        self._overlays = viewer.scene.overlays
        self._overlay: GenesisBoxOverlay | None = None

    def move(self, corners: NDArray[np.float64]) -> None:
        """Draw the box with the eight world ``corners``."""
        values = tuple(tuple(float(v) for v in corner) for corner in corners)
        if self._overlay is None:
            self._overlay = GenesisBoxOverlay(visible=True, blending="translucent_no_depth", corners=values)
            self._overlays[self._key] = self._overlay
        else:
            self._overlay.corners = values

    def remove(self) -> None:
        """Take the overlay out of the viewer."""
        if self._overlay is not None and self._key in self._overlays:
            del self._overlays[self._key]
        self._overlay = None
