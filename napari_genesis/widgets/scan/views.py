"""Planes, 3D and positions: how the viewer looks at a scan, as radiologists expect it.

napari draws a (S, P, L) array head down in coronal and sagittal slices, and mirrored in 3D: its camera is
right-handed for axes counted z, y, x.  Turning camera axes, never data, puts both right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_genesis.layers import patient_point, view_point

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["PLANES", "JumpControls", "PlaneControls", "anatomical_orientation", "go_to"]

PLANES: dict[str, tuple[int, int, int]] = {"axial": (0, 1, 2), "coronal": (1, 0, 2), "sagittal": (2, 0, 1)}
"""Plane -> viewer.dims.order: the first axis is sliced, the others run down and across."""


def anatomical_orientation(order: tuple[int, ...]) -> tuple[str, str, str]:
    """Return the camera orientation that shows a (S, P, L) array of this order head up and not mirrored in 3D."""
    depth, row, column = order[-3:]
    vertical = "up" if row == 0 else "down"
    even = (row - depth) % 3 == 1 and (column - row) % 3 == 1
    turned = vertical == "up"
    return ("away" if even != turned else "towards", vertical, "right")


def go_to(viewer: ViewerModel, layer: Layer, patient: Any) -> None:
    """Slice at a patient position (S, P, L) in mm and put it in the middle of the canvas."""
    point = view_point(layer, patient)
    axes = list(range(viewer.dims.ndim))[-3:]
    viewer.dims.set_point(axes, tuple(float(v) for v in point))
    shown = [point[axis - axes[0]] for axis in viewer.dims.displayed if axis in axes]
    viewer.scene.camera.center = tuple([0.0] * (3 - len(shown)) + [float(v) for v in shown])


class PlaneControls(QWidget):
    """axial | coronal | sagittal | 3D, and the anatomical orientation, which :meth:`release` takes back.

    ``depth`` says whether the viewer shows 3D (True) or a slice (False), whenever that changes.
    """

    depth = Signal(bool)

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._found: tuple[Any, ...] | None = None
        self._possible = False
        self.planes = {name: QPushButton(name.capitalize(), objectName=name, checkable=True) for name in PLANES}
        self.volume = QPushButton("3D", objectName="3D", checkable=True)
        self.anatomical = QCheckBox("Anatomical orientation", objectName="anatomical", checked=True)
        self.anatomical.setToolTip(
            "turn the camera so that heads are up and 3D is not mirrored; closing this dock gives the camera back"
        )
        group = QButtonGroup(self)
        row = QHBoxLayout()
        row.setSpacing(4)
        for button in (*self.planes.values(), self.volume):
            group.addButton(button)
            button.clicked.connect(self._on_plane)
            row.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.anatomical)
        self.anatomical.toggled.connect(self._orient)
        for emitter in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            emitter.connect(self._follow)
        self._follow()

    def set_layer(self, layer: Layer | None) -> None:
        """Orient the camera for ``layer``; only one in patient space has an anatomical orientation."""
        self._possible = layer is not None and tuple(layer.axis_labels) == ("S", "P", "L")
        self.anatomical.setEnabled(self._possible)
        self._orient()

    def release(self) -> None:
        """Give the camera back as it was found, and follow the viewer no more."""
        for emitter in (self._viewer.dims.events.order, self._viewer.dims.events.ndisplay):
            emitter.disconnect(self._follow)
        self._give_back()

    def show_plane(self, name: str) -> None:
        """Show the plane ``name`` (axial, coronal, sagittal), or ``3D``, whole."""
        dims = self._viewer.dims
        lead = tuple(range(dims.ndim - 3))
        with_order = lead + tuple(len(lead) + axis for axis in PLANES.get(name, PLANES["axial"]))
        dims.order = with_order[-dims.ndim :] if dims.ndim >= 3 else dims.order
        dims.ndisplay = 3 if name == "3D" else 2
        self._viewer.reset_view()
        if name == "3D" and self._possible and self.anatomical.isChecked():
            self._viewer.scene.camera.set_view_direction((0, 1, 0), (1, 0, 0))  # from the front, head up

    def _on_plane(self) -> None:
        self.show_plane(self.sender().objectName())

    def _follow(self, event: Any = None) -> None:
        if not isalive(self):
            return
        dims = self._viewer.dims
        if self.volume.isChecked() != (dims.ndisplay == 3):
            self.volume.setChecked(dims.ndisplay == 3)
        self.depth.emit(dims.ndisplay == 3)
        for name, order in PLANES.items():
            shown = tuple(axis - (dims.ndim - 3) for axis in dims.order[-3:]) == order
            if dims.ndisplay == 2 and shown:
                self.planes[name].setChecked(True)
        self._orient()

    def _orient(self) -> None:
        camera, dims = self._viewer.scene.camera, self._viewer.dims
        if not (self._possible and self.anatomical.isChecked() and dims.ndim >= 3):
            self._give_back()
            return
        if self._found is None:
            self._found = tuple(camera.orientation)
        wanted = anatomical_orientation(tuple(axis - (dims.ndim - 3) for axis in dims.order))
        if tuple(str(side) for side in camera.orientation) != wanted:
            camera.orientation = wanted

    def _give_back(self) -> None:
        if self._found is not None:
            self._viewer.scene.camera.orientation = self._found
        self._found = None


class JumpControls(QWidget):
    """Patient millimetres of the current slices, to read and to type; Enter or Go jumps there."""

    jumped = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: Layer | None = None
        self.fields = {axis: QDoubleSpinBox(objectName=axis) for axis in ("L", "P", "S")}
        self.button = QPushButton("Go", objectName="go")
        self.button.clicked.connect(self.go)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        tips = ("left of the patient; right is negative", "back; front is negative", "head; feet are negative")
        for (axis, field), tip in zip(self.fields.items(), tips, strict=True):
            field.setRange(-1e4, 1e4)
            field.setDecimals(1)
            field.setPrefix(f"{axis} ")
            field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            field.setMinimumWidth(60)
            field.setToolTip(f"millimetres towards the {tip}")
            field.lineEdit().returnPressed.connect(self.go)
            row.addWidget(field, 1)
        row.addWidget(QLabel("mm"))
        row.addWidget(self.button)
        viewer.dims.events.point.connect(self._follow)
        self.set_layer(None)

    def set_layer(self, layer: Layer | None) -> None:
        """Take positions in the patient space of ``layer``."""
        self._layer = layer
        self.setEnabled(layer is not None)
        self._follow()

    def release(self) -> None:
        """Follow the viewer no more."""
        self._viewer.dims.events.point.disconnect(self._follow)
        self._layer = None

    def go(self) -> None:
        """Go to the position typed."""
        if self._layer is not None:
            typed = np.array([self.fields[axis].value() for axis in ("S", "P", "L")])
            go_to(self._viewer, self._layer, typed)
            self.jumped.emit()

    def _follow(self, event: Any = None) -> None:
        if self._layer is None or not isalive(self) or self._viewer.dims.ndim < 3:
            return
        s, p, left = patient_point(self._layer, self._viewer.dims.point[-3:])
        for axis, value in (("S", s), ("P", p), ("L", left)):
            field = self.fields[axis]
            if not field.hasFocus():
                field.setValue(float(value))
