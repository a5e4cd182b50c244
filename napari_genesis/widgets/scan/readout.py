"""What lies under the cursor: patient millimetres and the scan's own value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import QLabel, QWidget

from napari_genesis.layers import patient_point

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

__all__ = ["Readout", "describe_point", "describe_side", "describe_value", "value_at"]

SIDES = (("S", "I"), ("P", "A"), ("L", "R"))
REST = "move the mouse over a slice"


def describe_point(patient: Any) -> str:
    """Return a patient position (S, P, L) in mm for people, each side named: ``R 12.3  A 40.2  S 101.0 mm``."""
    return "  ".join(describe_side(axis, patient[axis]) for axis in (2, 1, 0)) + " mm"


def describe_side(axis: int, value: float) -> str:
    """Return one coordinate of a patient position (axis 0, 1, 2 is S, P, L) with its side named: ``R 12.3``."""
    rounded = round(float(value), 1)
    return f"{SIDES[axis][rounded < 0]} {abs(rounded):.1f}"


def describe_value(value: Any, unit: str | None) -> str:
    """Return a voxel's value for people: ``-723 HU``; what is not finite is said."""
    if isinstance(value, np.floating) and not np.isfinite(value):
        return "not a number" if np.isnan(value) else "infinite"
    number = f"{value:.4g}" if isinstance(value, np.floating) else str(int(value))
    return f"{number} {unit}" if unit else number


def value_at(layer: Layer, position: Any) -> Any | None:
    """Return the voxel of ``layer`` at a position in napari's world, None outside."""
    index = np.round(layer.world_to_data(position)).astype(int)
    if (index < 0).any() or (index >= layer.data.shape).any():
        return None
    return np.asarray(layer.data[tuple(index)])[()]


class Readout(QLabel):
    """Two lines that follow the mouse over the viewer's slices; computed only when it moves."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(REST, parent)
        self.setObjectName("readout")
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setMinimumHeight(2 * self.fontMetrics().lineSpacing())
        self.setToolTip(
            "patient position (R right, L left, A front, P back, S head, I feet) and the scan's value there"
        )
        self._viewer = viewer
        self._layer: Layer | None = None
        self._callback = _weakly(self)
        viewer.mouse_move_callbacks.append(self._callback)

    def set_layer(self, layer: Layer | None) -> None:
        """Read ``layer`` from now on."""
        self._layer = layer
        self.setText(REST if layer is not None else "")

    def release(self) -> None:
        """Follow the mouse no more."""
        if self._callback in self._viewer.mouse_move_callbacks:
            self._viewer.mouse_move_callbacks.remove(self._callback)
        self._layer = None

    def on_move(self, position: Any, ndisplay: int = 2) -> None:
        """Show what lies at ``position`` in napari's world."""
        if self._layer is None:
            return
        if ndisplay != 2:
            self.setText("positions are read in a slice: switch 3D off")
            return
        value = value_at(self._layer, position)
        if value is None:
            self.setText("outside of the scan")
            return
        unit = self._layer.metadata.get("genesis", {}).get("unit")
        self.setText(f"{describe_point(patient_point(self._layer, position))}\n{describe_value(value, unit)}")


def _weakly(readout: Readout) -> Any:
    """A mouse callback that does not keep the readout alive: napari's list holds callbacks strongly."""
    from qtpy.compat import isalive

    target = ref(readout)

    def follow(viewer: Any, event: Any) -> None:
        found = target()
        if found is not None and isalive(found):
            found.on_move(event.position, viewer.dims.ndisplay)

    return follow
