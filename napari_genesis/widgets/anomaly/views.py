"""Scan | restored | score side by side in one embedded viewer: one camera, one slice, one window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QSize, QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from genesis3d.io.itk_filters.morphology import bounds
from napari_genesis.layers import add_volume, view_point
from napari_genesis.widgets.anomaly.layers import show_bar, unit_of
from napari_genesis.widgets.anomaly.looks import TITLES, looks

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_genesis.widgets.anomaly.kept import KeptMap

__all__ = ["THIRD", "LinkedViews"]

THIRD = ("score", "difference", "z", "baseline")
ALONE = {"opacity": 1.0, "blending": "translucent_no_depth"}  # nothing shines through, outlines lie above
BAR = (10, 80)  # pixels: the views are small
FIT_MS = 60  # napari hears of the canvas' new size after this widget does


class LinkedViews(QWidget):
    """Up to three canvases on the arrays of a map, with the outlines of its regions, at the slice of the viewer.

    A layer keeps the state of one slice, so these are layers of their own that share the arrays of the viewer's.
    ``closed`` is emitted once, when the widget was taken out of the window.
    """

    closed = Signal()

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self.setObjectName("genesis-map-views")
        self._viewer, self._kept, self._scan = viewer, None, None
        self._docked = self._shut = self._filling = False
        self._shown_in: ref[QWidget] | None = None
        self.third = QComboBox(objectName="third-view")
        row = QHBoxLayout()
        row.addWidget(QLabel("Beside scan and restored:"))
        row.addWidget(self.third)
        row.addStretch(1)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(4, 2, 4, 4)
        self.column.addLayout(row)
        self._fit_soon = QTimer(self)
        self._fit_soon.setSingleShot(True)
        self._fit_soon.setInterval(FIT_MS)
        self._fit_soon.timeout.connect(self.fit)
        self._make()
        self.setMinimumSize(480, 200)
        self.third.currentIndexChanged.connect(self._on_third)
        viewer.dims.events.point.connect(self._follow)
        viewer.dims.events.order.connect(self._follow)

    def sizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return QSize(900, 330)

    def show_map(self, kept: KeptMap | None, scan: Layer | None) -> None:
        """Show a map over ``scan``, the layer it was made from, if that is still there."""
        self._let_go()
        self._kept, self._scan = kept, scan
        if kept is not None:
            kept.layers.redrawn.connect(self._redraw)
        if scan is not None:
            scan.events.contrast_limits.connect(self._on_window)
        roles = [] if kept is None else [role for role in THIRD if _volume(kept, role) is not None]
        chosen = self.third.currentData()
        self.third.blockSignals(True)
        self.third.clear()
        for role in roles:
            self.third.addItem(TITLES[role], role)
        self.third.setCurrentIndex(max(0, self.third.findData(chosen)))
        self.third.blockSignals(False)
        self._fill()

    def fit(self) -> None:
        """Show the lungs in every view, as large as they go."""
        if not len(self.model.layers) or self._kept is None:
            return
        self.model.reset_view(margin=0.02)
        layer, camera = self.model.layers[0], self.model.scene.camera
        lungs = self._kept.result.lungs
        box = bounds(lungs.data[0] > 0, (2, 6, 6))
        ends = [lungs.geometry.to_world([getattr(part, end) for part in box]) for end in ("start", "stop")]
        world = np.array([view_point(layer, end) for end in ends])
        shown = list(self.model.dims.displayed)
        whole = np.ptp(layer.extent.world, axis=0)[shown]
        camera.zoom *= float(np.min(whole / np.maximum(np.ptp(world, axis=0)[shown], 1e-6)))
        centre = np.asarray(camera.center, dtype=float)
        centre[-2:] = world.mean(axis=0)[shown]
        camera.center = tuple(centre)

    def shut(self) -> None:
        """Close the views and let go of the viewer."""
        if self._shut:
            return
        self._shut = True
        self._fit_soon.stop()
        self._let_go()
        for name in ("point", "order"):
            getattr(self._viewer.dims.events, name).disconnect(self._follow)
        self._unmake()
        self.closed.emit()

    def event(self, event: QEvent) -> bool:
        """Notice being taken out of the window: napari then gives the widget no parent."""
        result = super().event(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shut()
                self.deleteLater()
        return result

    def showEvent(self, event: Any) -> None:  # Qt's name
        """A dock that is floated or docked again is in another window: its canvas needs a graphics context of it."""
        known, self._shown_in = self._shown_in, ref(self.window())
        if not self._shut:
            if known is not None and known() is not self.window():
                self._unmake()
                self._make()
                self._fill()
            self.canvas.canvas.native.show()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Nothing may be drawn while the window, and with it the graphics context, changes."""
        if not self._shut:
            self.canvas.canvas.native.hide()
        super().hideEvent(event)

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Keep the slice whole in view."""
        super().resizeEvent(event)
        if not self._shut:
            self._fit_soon.start()

    # inside

    def _make(self) -> None:
        self.model = ViewerModel(title="map")
        self.canvas = QtViewer(self.model)
        self.canvas.setAcceptDrops(False)
        self.canvas.dims.hide()
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.model.canvas.background_color_override = "black"
        grid = self.model.canvas.grid
        grid.stride, grid.spacing = 2, 4
        self.column.addWidget(self.canvas, 1)
        self.model.dims.events.point.connect(self._on_own_point)

    def _unmake(self) -> None:
        self.model.dims.events.point.disconnect(self._on_own_point)
        self.column.removeWidget(self.canvas)
        self.canvas.close()

    def _fill(self) -> None:
        """Lay the layers anew: pairs of a volume and the outlines of the regions."""
        kept = self._kept
        self._filling = True  # the viewer's slice counts, not that of new layers
        self.model.layers.clear()
        if kept is None:
            self._filling = False
            return
        shown = [role for role in ("scan", "restored") if _volume(kept, role) is not None]
        for role in (*shown, self.third.currentData() or "score"):
            self._pair(kept, role)
        self._filling = False
        self.model.canvas.grid.shape = (1, len(self.model.layers) // 2)
        self.model.canvas.grid.enabled = True
        self._on_window()
        self._follow()
        self.fit()

    def _pair(self, kept: KeptMap, role: str) -> None:
        like = self._scan if self._scan is not None and self._scan in self._viewer.layers else None
        result = kept.result
        options = {} if role == "scan" else looks(result, role, kept.layers.limit, like) | ALONE
        title = "scan" if role == "scan" else TITLES[role]
        layer = add_volume(self.model, _volume(kept, role), like, kind="image",
                           **options | {"name": f"{title}, {unit_of(result, role)}", "visible": True})  # fmt: skip
        if role in ("scan", "restored"):
            layer.name_overlay.font_size = 7
            layer.name_overlay.visible = True
        else:
            show_bar(layer)
            layer.colorbar.size, layer.colorbar.font_size = BAR, 7
        outlines = add_volume(self.model, kept.layers.regions_volume, like, kind="labels",
                              **looks(result, "regions", kept.layers.limit, like))  # fmt: skip
        outlines.contour = 1

    def _redraw(self, role: str) -> None:
        """Follow a buffer of the map that was written in place."""
        if self._shut or not isalive(self):
            return
        for layer in self.model.layers:
            if (type(layer).__name__ == "Labels") == (role == "regions"):
                layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _follow(self, event: Any = None) -> None:
        """Go to the viewer's slice and plane."""
        if self._shut or not isalive(self) or self.model.dims.ndim != 3 or self._viewer.dims.ndim < 3:
            return
        dims = self._viewer.dims
        order = tuple(int(axis) for axis in np.argsort(np.argsort(dims.order[-3:])))
        if self.model.dims.order != order:
            self.model.dims.order = order
            self.fit()
        point = tuple(float(v) for v in dims.point[-3:])
        if not np.allclose(self.model.dims.point, point):
            self.model.dims.set_point(range(3), point)

    def _on_own_point(self, event: Any = None) -> None:
        """Take the viewer along when slices are turned in here."""
        if self._filling:
            return
        point, axes = self.model.dims.point, list(range(self._viewer.dims.ndim))[-3:]
        if len(axes) == len(point) == 3 and not np.allclose(self._viewer.dims.point[-3:], point, atol=1e-3):
            self._viewer.dims.set_point(axes, point)

    def _on_window(self, event: Any = None) -> None:
        """Show scan and restored with the window of the scan's layer."""
        if self._shut or self._scan is None:
            return
        for layer in self.model.layers:
            if layer.name.partition(",")[0] in ("scan", "restored"):
                layer.contrast_limits = self._scan.contrast_limits

    def _on_third(self, _: int) -> None:
        self._fill()

    def _let_go(self) -> None:
        if self._kept is not None:
            self._kept.layers.redrawn.disconnect(self._redraw)
        if self._scan is not None:
            self._scan.events.contrast_limits.disconnect(self._on_window)
        self._kept = self._scan = None


def _volume(kept: KeptMap, role: str) -> Any:
    return getattr(kept.result, role, None)
