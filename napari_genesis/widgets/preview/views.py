"""Original | transformed | difference in one embedded viewer: one camera, one slice, one contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.utils import Colormap
from qtpy.QtCore import QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from napari.layers import Image
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry

__all__ = ["DIVERGING", "NAMES", "DifferenceView"]

NAMES = ("original", "transformed", "difference")

# Blue below zero, orange above: told apart without red and green, and dark in the middle like the CT beside it.
COLOURS = np.array([[0.60, 0.85, 1.0], [0.10, 0.40, 0.90], [0, 0, 0], [0.90, 0.42, 0.05], [1.0, 0.87, 0.50]])


def _diverging(name: str, opacities: tuple[float, float]) -> Colormap:
    """Blue, nothing, orange: ``opacities`` at half and at full difference; zero is clear."""
    half, full = opacities
    alphas = np.array([full, half, 0.0, half, full])
    return Colormap(np.column_stack([COLOURS, alphas]), controls=[0.0, 0.25, 0.5, 0.75, 1.0], name=name)


DIVERGING = _diverging("genesis difference", (0.85, 1.0))
DIVERGING_3D = _diverging("genesis difference, volume", (0.03, 0.25))  # seen through, or its front hides all else
DIVERGING_CUT = _diverging("genesis difference, cut", (0.4, 1.0))

# From the front, a little from above and from the patient's right: (S, P, L).
VIEW, UP = (-0.35, 1.0, 0.45), (1.0, 0.0, 0.0)
OVERLAY_OPACITY = 0.6  # the anatomy stays visible under it
ZOOM_3D = 0.75  # a turned box needs more room than its face


class DifferenceView(QWidget):
    """Three canvases of one embedded viewer, so that camera and slice are linked by being the same.

    The viewer of the user is not touched: this one has its own layers, camera, dims and grid.
    """

    pointed = Signal(str)  # world position and the three values under the cursor, for people

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = ViewerModel(title="Preview")
        self.viewer: QtViewer | None = self._make_viewer()
        self._shown_in: ref[QWidget] | None = None
        self.readout = QLabel(" ")
        self.readout.setTextFormat(Qt.TextFormat.PlainText)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.viewer, stretch=1)
        layout.addWidget(self.readout)
        self.setMinimumSize(300, 170)
        self._buffers: tuple[NDArray[np.float32], ...] = ()
        self._geometry: Geometry | None = None
        self._unit = ""
        self._window: tuple[float, float] | None = None
        self._overlay = False
        self._cut = True
        self._fit_soon = QTimer(self)  # napari hears of the canvas' new size after this widget does
        self._fit_soon.setSingleShot(True)
        self._fit_soon.setInterval(60)
        self._fit_soon.timeout.connect(self._fit)
        self._prepare_model()

    def _make_viewer(self) -> QtViewer:
        viewer = QtViewer(self.model)
        viewer.setAcceptDrops(False)
        viewer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        return viewer

    def showEvent(self, event: Any) -> None:  # Qt's name
        """A dock that is floated or docked again is in another window: its canvas needs a graphics context of it."""
        known, self._shown_in = self._shown_in, ref(self.window())
        if self.viewer is not None:
            if known is not None and known() is not self.window():
                self._rebuild()
            self.viewer.canvas.native.show()
        super().showEvent(event)

    def _rebuild(self) -> None:
        """Make viewer and layers anew, showing the same."""
        before, model, buffers, geometry = self.viewer, self.model, self._buffers, self._geometry
        model.cursor.events.position.disconnect(self._on_cursor)
        self.model = ViewerModel(title="Preview")
        self._prepare_model()
        self.viewer = self._make_viewer()
        self.layout().replaceWidget(before, self.viewer)
        before.close()
        self._buffers, self._geometry = (), None
        if geometry is not None:
            self.show_voxels(buffers, geometry, self._unit)
            self.set_order(model.dims.order)
            self.set_index(model.dims.current_step)
            self.set_ndisplay(model.dims.ndisplay)
            self.model.scene.camera.angles = model.scene.camera.angles

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Nothing may be drawn while the window, and with it the graphics context, changes."""
        if self.viewer is not None:
            self.viewer.canvas.native.hide()
        super().hideEvent(event)

    def sizeHint(self) -> QSize:  # noqa: D102 (Qt's name)
        return QSize(450, 230)

    @property
    def layers(self) -> tuple[Image, ...]:
        """Original, transformed and difference; empty before the first :meth:`show_voxels`."""
        return tuple(self.model.layers)

    def show_voxels(self, arrays: tuple[NDArray[np.float32], ...], geometry: Geometry, unit: str = "") -> None:
        """Show original, transformed and difference, each (D, H, W) float32 in the scan's own ``unit``.

        Voxels are written into buffers that the layers keep, which is fast; only another shape makes new buffers.
        """
        self._unit = unit
        if not self.model.layers:
            self._make_layers(arrays)
        if not self._buffers or self._buffers[0].shape != geometry.shape:
            self._new_buffers(arrays)
        for buffer, array in zip(self._buffers, arrays, strict=True):
            np.copyto(buffer, array)
        if geometry != self._geometry:
            self._place(geometry)
        for layer in self.model.layers:
            if layer.visible:
                layer.refresh(extent=False, thumbnail=False, highlight=False)

    def set_window(self, low: float, high: float) -> None:
        """Show values from ``low`` to ``high`` (the scan's unit) in both images; the difference to half that span."""
        self._window = (low, high)
        half = (high - low) / 2
        for layer, limits in zip(self.model.layers, ((low, high), (low, high), (-half, half)), strict=False):
            layer.contrast_limits_range = limits
            layer.contrast_limits = limits
        if self.model.layers:
            unit = f" {self._unit}" if self._unit else ""
            self.model.layers[2].name = f"{NAMES[2]} \N{PLUS-MINUS SIGN}{half:.4g}{unit}"

    def set_ndisplay(self, ndisplay: int) -> None:
        """Show slices (2) or volumes (3)."""
        if self.model.dims.ndisplay == ndisplay:
            return
        self.model.dims.ndisplay = ndisplay
        self._dress()
        if ndisplay == 3:
            self.model.scene.camera.set_view_direction(VIEW, UP)
        self._fit()

    def set_cut(self, cut: bool) -> None:
        """In 3D, show solid blocks cut through the middle, from the front, or what shines through all of them."""
        self._cut = cut
        self._dress()

    def _dress(self) -> None:
        """Choose how volumes are rendered."""
        if not self.model.layers or self._geometry is None:
            return
        d, h, w = self._geometry.shape
        plane = {"position": (d / 2, h / 2, w / 2), "normal": (0.0, 1.0, 0.0), "enabled": self._cut}
        for layer in self.model.layers:
            layer.experimental_clipping_planes = [plane] if self._cut else []
        for layer in self.model.layers[:2]:
            layer.rendering = "translucent" if self._cut else "mip"  # an opaque map shows the faces of the block
        colours = DIVERGING_CUT if self._cut else DIVERGING_3D
        self.model.layers[2].colormap = DIVERGING if self.model.dims.ndisplay == 2 else colours

    def set_order(self, order: tuple[int, ...]) -> None:
        """Show the plane of the last two axes of ``order``."""
        if len(order) == self.model.dims.ndim and tuple(self.model.dims.order) != tuple(order):
            self.model.dims.order = order
            self._fit()

    def set_index(self, index: tuple[float, ...]) -> None:
        """Go to the slices of the voxel ``index`` (d, h, w) as far as it lies inside the sub-volume."""
        if self._geometry is None:
            return
        for axis, (value, size) in enumerate(zip(index, self._geometry.shape, strict=True)):
            step = round(value)
            if 0 <= step < size and self.model.dims.current_step[axis] != step:
                self.model.dims.set_current_step(axis, step)

    def set_overlay(self, overlay: bool) -> None:
        """Lay the difference over the original in one canvas, or show the three side by side."""
        self._overlay = overlay
        self.model.canvas.grid.enabled = not overlay
        if self.model.layers:
            self.model.layers[2].opacity = OVERLAY_OPACITY if overlay else 1.0
        for layer, alone in zip(self.model.layers, (True, False, True), strict=False):
            layer.visible = alone or not overlay
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Keep the sub-volume whole in view."""
        super().resizeEvent(event)
        self._fit_soon.start()

    def _fit(self) -> None:
        if self.model.layers:
            self.model.reset_view(reset_camera_angle=False)
            if self.model.dims.ndisplay == 3:
                self.model.scene.camera.zoom *= ZOOM_3D

    def clear(self) -> None:
        """Show nothing, until the next :meth:`show_voxels`."""
        for layer in self.model.layers:
            layer.visible = False
        self._geometry = None
        self.readout.setText(" ")

    def shut(self) -> None:
        """Close the embedded viewer; the widget is of no use afterwards."""
        self._fit_soon.stop()
        self.model.cursor.events.position.disconnect(self._on_cursor)
        self._buffers, self._geometry = (), None
        viewer, self.viewer = self.viewer, None  # this widget may outlive its viewer in a caller's hands
        if viewer is not None:
            viewer.close()

    def _prepare_model(self) -> None:
        grid = self.model.canvas.grid
        grid.stride, grid.shape, grid.spacing, grid.enabled = 1, (1, 3), 4, True
        self.model.canvas.background_color_override = "black"  # as CT is read, in the light theme too
        # napari's default 3D camera shows a (S, P, L) array mirrored; this orientation shows it as it is
        self.model.scene.camera.orientation = ("away", "down", "right")
        self.model.cursor.events.position.connect(self._on_cursor)

    def _make_layers(self, arrays: tuple[NDArray[np.float32], ...]) -> None:
        for name, array in zip(NAMES, arrays, strict=True):
            layer = self.model.add_image(np.array(array), name=name, **self._looks(name, array))
            layer.name_overlay.visible = True
            layer.name_overlay.font_size = 7
            box = layer.bounding_box
            box.visible, box.points, box.line_color, box.line_thickness = True, False, (0.45, 0.45, 0.5, 1), 1

    def _new_buffers(self, arrays: tuple[NDArray[np.float32], ...]) -> None:
        """Give the layers buffers of another shape; layers are never removed, only their data replaced."""
        self._buffers = tuple(np.array(array, dtype=np.float32, order="C") for array in arrays)
        self._geometry = None
        for layer, buffer in zip(self.model.layers, self._buffers, strict=True):
            layer.data = buffer

    @staticmethod
    def _looks(name: str, array: NDArray[np.float32]) -> dict[str, Any]:
        low, high = float(array.min()), float(array.max())
        looks: dict[str, Any] = {"rendering": "mip", "axis_labels": ("S", "P", "L")}
        if name == NAMES[2]:
            half = max(abs(low), abs(high), 1e-6)
            return looks | {"colormap": DIVERGING, "contrast_limits": (-half, half), "rendering": "translucent"}
        return looks | {"colormap": "gray", "contrast_limits": (low, high if high > low else low + 1)}

    def _place(self, geometry: Geometry) -> None:
        """Take over voxel size; the box may lie anywhere in the scan, the layers stay put so that moving it is fast."""
        known, self._geometry = self._geometry, geometry
        if known is not None and known.spacing == geometry.spacing:
            return
        for layer in self.model.layers:
            layer.scale = geometry.spacing
            layer.units = ("mm",) * 3
        self.set_index(tuple(n // 2 for n in geometry.shape))
        if self._window is not None:
            self.set_window(*self._window)
        self._dress()
        self.set_overlay(self._overlay)

    def _on_cursor(self) -> None:
        self.readout.setText(self._describe(tuple(self.model.cursor.position)))
        self.pointed.emit(self.readout.text())

    def _describe(self, position: tuple[float, ...]) -> str:
        """Patient position and values for people; empty outside of the sub-volume and in 3D."""
        if self._geometry is None or len(position) != 3 or self.model.dims.ndisplay != 2:
            return " "
        index = np.round(self.model.layers[0].world_to_data(position)).astype(int)
        if (index < 0).any() or (index >= self._geometry.shape).any():
            return " "
        original, transformed, difference = (float(buffer[tuple(index)]) for buffer in self._buffers)
        s, p, el = self._geometry.to_world(index)
        unit, form = (" HU", ".0f") if self._unit == "HU" else ("", ".4g")
        return (
            f"S {s:.1f}  P {p:.1f}  L {el:.1f} mm:  {original:{form}} \N{RIGHTWARDS ARROW} {transformed:{form}}{unit}"
            f"  ({difference:+{form}})"
        )
