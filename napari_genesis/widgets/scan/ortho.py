"""Axial | coronal | sagittal side by side: three small viewers on the same arrays, one crosshair.

A layer keeps the state of one slice, so the views have layers of their own that share the arrays of the viewer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Vectors
from napari.qt import QtViewer
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_genesis.layers import AXES, UNITS, patient_point
from napari_genesis.widgets.scan.readout import describe_side
from napari_genesis.widgets.scan.views import PLANES, anatomical_orientation

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from numpy.typing import NDArray

__all__ = ["OrthoViews", "PlaneView"]

FOLLOWED = ("contrast_limits", "colormap", "gamma", "opacity", "blending", "visible", "data")
EDGES = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("A", "P")}
CROSS = (1.0, 0.75, 0.2, 0.9)


class PlaneView(QWidget):
    """One plane with a crosshair; ``pointed`` gives the position in napari's world that a press or drag points to."""

    pointed = Signal(tuple)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self.model = ViewerModel(title=name, order=PLANES[name])
        self.canvas = QtViewer(self.model)
        self.canvas.setAcceptDrops(False)
        self.canvas.dims.hide()
        self.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.title = QLabel(name.capitalize())
        left, right = (QLabel(f"<b>{edge}</b>") for edge in EDGES[name])
        header = QHBoxLayout()
        header.addWidget(left)
        header.addWidget(self.title, 1, Qt.AlignmentFlag.AlignHCenter)
        header.addWidget(right)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(header)
        layout.addWidget(self.canvas, 1)
        camera = self.model.scene.camera
        camera.orientation = anatomical_orientation(PLANES[name])
        camera.mouse_pan = False  # dragging moves the crosshair
        self.model.canvas.background_color_override = "black"
        self.cross = Vectors(np.zeros((2, 2, 3)), name="crosshair", edge_color=[CROSS] * 2, vector_style="line",
                             units=UNITS, axis_labels=AXES)  # fmt: skip
        self.model.add_layer(self.cross)
        self.model.mouse_drag_callbacks.append(_pointing(self))
        self.model.canvas.events.size.connect(self._on_size)

    def add(self, source: Layer) -> Layer:
        """Show a layer that shares the array of ``source``, below the crosshair."""
        data, attributes, kind = source.as_layer_data_tuple()
        mirror = Layer.create(data, attributes, kind)
        self.model.layers.insert(len(self.model.layers) - 1, mirror)
        return mirror

    def set_point(self, point: NDArray[np.float64], steps: NDArray[np.float64]) -> None:
        """Slice at ``point`` and cross there; ``steps`` are the voxel sizes (napari's world, three axes)."""
        low, high = self._range()
        depth, row, column = PLANES[self.name]
        scale = np.ones(3)
        scale[depth] = steps[depth]  # the crosshair must not add slices of its own to those of the scan
        lines = np.zeros((2, 2, 3))
        for line, axis in zip(lines, (row, column), strict=True):
            line[0] = point / scale
            line[0, axis], line[1, axis] = low[axis], high[axis] - low[axis]
        if not np.array_equal(self.cross.scale, scale):
            self.cross.scale = scale
        width = float((high - low).max()) / 400
        if self.cross.edge_width != width:
            self.cross.edge_width = width
        self.cross.data = lines
        self.model.dims.set_point(range(3), tuple(point))

    def fit(self) -> None:
        """Show the whole plane."""
        self.model.reset_view(margin=0.02)

    def _on_size(self, event: Any = None) -> None:
        if isalive(self):
            self.fit()

    def shut(self) -> None:
        """Close the embedded viewer; the widget is of no use afterwards."""
        self.model.mouse_drag_callbacks.clear()
        self.model.canvas.events.size.disconnect(self._on_size)
        self.canvas.close()

    def _range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Centres of the first and last voxels of all scans."""
        scans = [layer.extent.world for layer in self.model.layers if layer is not self.cross]
        if not scans:
            return np.zeros(3), np.ones(3)
        return np.min([extent[0] for extent in scans], axis=0), np.max([extent[1] for extent in scans], axis=0)


def _pointing(view: PlaneView) -> Callable[[Any, Any], Iterator[None]]:
    """A drag callback that does not keep the view alive: napari's list holds callbacks strongly."""
    target = ref(view)

    def point(model: Any, event: Any) -> Iterator[None]:
        if event.button != 1:
            return
        while True:  # the press, every move, and the release, which may be the only one to know where the drag ended
            found = target()
            if found is None or not isalive(found):
                return
            found.pointed.emit(tuple(float(v) for v in event.position))
            if event.type == "mouse_release":
                return
            yield

    return point


class OrthoViews(QWidget):
    """Three planes of what the viewer shows, linked to its slices: a press or drag in one moves all.

    ``closed`` is emitted once, when the widget was taken out of the window.
    """

    closed = Signal()

    def __init__(self, viewer: Viewer, layer: Layer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("genesis-planes")
        self._viewer = viewer
        self._layer = layer
        self._mirrors: dict[Layer, list[Layer]] = {}
        self._docked = self._shut = False
        self._point = np.zeros(3)
        self.views = [PlaneView(name) for name in PLANES]
        row = QHBoxLayout(self)
        row.setContentsMargins(4, 2, 4, 4)
        for view in self.views:
            row.addWidget(view, 1)
            view.pointed.connect(self._on_pointed)
        self.setMinimumSize(480, 176)
        for name in ("inserted", "removed", "reordered"):
            getattr(viewer.layers.events, name).connect(self._follow_layers)
        viewer.dims.events.point.connect(self._follow_point)
        self._follow_layers()
        for view in self.views:
            view.fit()

    def sizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return QSize(900, 300)

    def set_layer(self, layer: Layer) -> None:
        """Name positions in the patient space of ``layer``."""
        self._layer = layer
        self._follow_point()

    def shut(self) -> None:
        """Close the views and let go of the viewer."""
        if self._shut:
            return
        self._shut = True
        for name in ("inserted", "removed", "reordered"):
            getattr(self._viewer.layers.events, name).disconnect(self._follow_layers)
        self._viewer.dims.events.point.disconnect(self._follow_point)
        for source in self._mirrors:
            self._disconnect(source)
        self._mirrors.clear()
        for view in self.views:
            view.shut()
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

    def _on_pointed(self, position: tuple[float, ...]) -> None:
        axes = list(range(self._viewer.dims.ndim))[-3:]
        self._viewer.dims.set_point(axes, position)

    def _follow_layers(self, event: Any = None) -> None:
        if self._shut or not isalive(self):
            return
        shown = [layer for layer in self._viewer.layers if _is_scan(layer)]
        kept = [source for source in self._mirrors if source in shown]
        if kept != shown[: len(kept)]:  # another order: lay them anew
            kept = []
        for source in [source for source in self._mirrors if source not in kept]:
            self._forget(source)
        for source in shown[len(kept) :]:
            self._mirrors[source] = [view.add(source) for view in self.views]
            for name in FOLLOWED:
                if hasattr(source.events, name):
                    getattr(source.events, name).connect(self._follow_change)
            if isinstance(source, Labels):
                source.events.labels_update.connect(self._follow_paint)
        self._follow_point()

    def _forget(self, source: Layer) -> None:
        self._disconnect(source)
        for view, mirror in zip(self.views, self._mirrors.pop(source), strict=True):
            view.model.layers.remove(mirror)

    def _disconnect(self, source: Layer) -> None:
        for name in FOLLOWED:
            if hasattr(source.events, name):
                getattr(source.events, name).disconnect(self._follow_change)
        if isinstance(source, Labels):
            source.events.labels_update.disconnect(self._follow_paint)

    def _follow_change(self, event: Any) -> None:
        if isalive(self):
            for mirror in self._mirrors.get(event.source, ()):
                setattr(mirror, event.type, getattr(event.source, event.type))

    def _follow_paint(self, event: Any) -> None:
        if isalive(self):
            for mirror in self._mirrors.get(event.source, ()):
                mirror.refresh(extent=False, thumbnail=False)

    def _follow_point(self, event: Any = None) -> None:
        if self._shut or not isalive(self) or self._viewer.dims.ndim < 3:
            return
        point = np.array(self._viewer.dims.point[-3:], dtype=np.float64)
        if event is not None and np.array_equal(point, self._point):
            return  # napari says every move twice
        self._point = point
        steps = np.array([axis.step for axis in self._viewer.dims.range[-3:]])
        patient = patient_point(self._layer, point)
        for view in self.views:
            view.set_point(point, steps)
            axis = PLANES[view.name][0]
            view.title.setText(f"{view.name.capitalize()}  {describe_side(axis, patient[axis])} mm")


def _is_scan(layer: Layer) -> bool:
    return (
        isinstance(layer, Image | Labels)
        and layer.ndim == 3
        and not layer.multiscale
        and not getattr(layer, "rgb", False)
    )
