"""Contrast windows in one click, or by level and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QDoubleSpinBox, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from genesis3d.errors import DomainError
from genesis3d.intensity import MinMax, Percentile
from napari_genesis.layers import volume_from_layer
from napari_genesis.windows import WINDOWS, window_limits

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.intensity import Intensity

__all__ = ["DepthLook", "WindowControls"]

PERCENTILES: dict[str, Intensity] = {
    "0.5 to 99.5 %": Percentile(low=0.5, high=99.5),
    "2 to 98 %": Percentile(low=2, high=98),
    "whole range": MinMax(),
}

_AIR_SHOWS = -500  # HU: windows that begin below show fat and skin near white


class WindowControls(QWidget):
    """Preset buttons (HU windows for CT, percentiles for other scans) and level and width, both ways with the layer."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: Layer | None = None
        self.windows = {name: self._preset(name.capitalize(), name) for name in WINDOWS}
        self.percentiles = {name: self._preset(name, name) for name in PERCENTILES}
        for name, (level, width) in WINDOWS.items():
            self.windows[name].setToolTip(f"level {level:g} HU, width {width:g} HU")
        self.level = self._field("level", -1e6)
        self.width = self._field("width", 1e-6)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(_grid(list(self.windows.values()), 2))
        layout.addLayout(_grid(list(self.percentiles.values()), 3))
        row = QHBoxLayout()
        for text, field in (("Level", self.level), ("Width", self.width)):
            row.addWidget(QLabel(text))
            row.addWidget(field, 1)
        self.unit = QLabel(objectName="unit")
        row.addWidget(self.unit)
        layout.addLayout(row)
        self.set_layer(None)

    def set_layer(self, layer: Layer | None) -> None:
        """Show and set the contrast of an image layer from now on; None or labels: nothing to set."""
        self.release()
        self._layer = layer if layer is not None and hasattr(layer, "contrast_limits") else None
        self.setEnabled(self._layer is not None)
        unit = layer.metadata.get("genesis", {}).get("unit") if layer is not None else None
        for buttons, shown in ((self.windows, unit == "HU" or layer is None), (self.percentiles, unit != "HU")):
            for button in buttons.values():
                button.setVisible(shown and not (layer is None and buttons is self.percentiles))
        self.unit.setText(unit or "")
        if self._layer is not None:
            self._layer.events.contrast_limits.connect(self._follow_layer)
            self._follow_layer()

    def release(self) -> None:
        """Let go of the layer."""
        if self._layer is not None:
            self._layer.events.contrast_limits.disconnect(self._follow_layer)
        self._layer = None

    def set_limits(self, low: float, high: float) -> None:
        """Show values from ``low`` to ``high`` in the layer's own unit."""
        if self._layer is not None and high > low:
            self._layer.contrast_limits = (low, high)

    def _preset(self, text: str, name: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setCheckable(True)
        button.clicked.connect(self._on_preset)
        return button

    def _field(self, name: str, low: float) -> QDoubleSpinBox:
        field = QDoubleSpinBox()
        field.setObjectName(name)
        field.setRange(low, 1e6)
        field.setKeyboardTracking(False)
        field.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        field.setMinimumWidth(52)
        field.valueChanged.connect(self._on_field)
        return field

    def _on_preset(self) -> None:
        name = self.sender().objectName()
        if name in WINDOWS:
            self.set_limits(*window_limits(*WINDOWS[name]))
        elif self._layer is not None:
            try:
                scale = PERCENTILES[name].fit(volume_from_layer(self._layer))
            except DomainError:
                return  # one value everywhere: no contrast to set
            finally:
                self._follow_layer()
            self.set_limits(scale.low, scale.high)
        self._follow_layer()

    def _on_field(self) -> None:
        self.set_limits(*window_limits(self.level.value(), self.width.value()))

    def _follow_layer(self, event: Any = None) -> None:
        if self._layer is None or not isalive(self):
            return
        low, high = (float(v) for v in self._layer.contrast_limits)
        decimals = 0 if high - low >= 20 else 1 if high - low >= 2 else 3
        for field, value in ((self.level, (low + high) / 2), (self.width, high - low)):
            field.blockSignals(True)
            field.setDecimals(decimals)
            field.setSingleStep(max(10**-decimals, round((high - low) / 40, decimals)))
            field.setValue(value)
            field.blockSignals(False)
        for name, button in self.windows.items():
            wanted = window_limits(*WINDOWS[name])
            button.setChecked(abs(wanted[0] - low) < 0.5 and abs(wanted[1] - high) < 0.5)
        for button in self.percentiles.values():
            button.setChecked(False)


class DepthLook:
    """What makes a CT readable in 3D, put on for 3D and taken off again.

    In a lung window the surface of the body is white all over, and a plain maximum projection has no depth: it shows
    neither front nor back.
    """

    def __init__(self) -> None:
        self._worn: tuple[Layer, str, tuple[float, float], tuple[float, float]] | None = None

    def put_on(self, layer: Layer) -> None:
        """Give an image layer depth, and a CT that shows air the soft-tissue window."""
        self.take_off()
        if not hasattr(layer, "contrast_limits"):
            return
        found = (float(layer.contrast_limits[0]), float(layer.contrast_limits[1]))
        rendering = str(layer.rendering)
        if rendering == "mip":
            layer.rendering = "attenuated_mip"
        if layer.metadata.get("genesis", {}).get("unit") == "HU" and found[0] < _AIR_SHOWS:
            layer.contrast_limits = window_limits(*WINDOWS["soft tissue"])
        self._worn = layer, rendering, found, tuple(layer.contrast_limits)

    def take_off(self) -> None:
        """Give the layer its own rendering back, and its window unless it was changed meanwhile."""
        if self._worn is None:
            return
        layer, rendering, found, given = self._worn
        self._worn = None
        layer.rendering = rendering
        if tuple(layer.contrast_limits) == given:
            layer.contrast_limits = found


def _grid(buttons: list[QPushButton], columns: int) -> QGridLayout:
    grid = QGridLayout()
    grid.setSpacing(4)
    for index, button in enumerate(buttons):
        grid.addWidget(button, index // columns, index % columns)
    return grid
