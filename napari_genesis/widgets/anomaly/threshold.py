"""The threshold of a map: a slider over a colour bar, and what share of healthy lungs it would flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from napari_genesis.widgets.anomaly.colour_bar import ColourBar
from napari_genesis.widgets.anomaly.looks import score_colours

if TYPE_CHECKING:
    from genesis3d.anomaly.calibration import Calibration

__all__ = ["HEALTHY", "ThresholdRow"]

HEALTHY = 0.005  # of healthy lungs flagged at the button's threshold


class ThresholdRow(QWidget):
    """Tells ``changed(value)`` while the slider moves."""

    changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._calibration: Calibration | None = None
        self._default = 0.0
        self.slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal, objectName="threshold")
        self.slider.setToolTip("voxels whose score reaches this, inside the lungs, are marked")
        self.label = QLabel("Threshold")
        self.bar = ColourBar()
        self.rate = QLabel(objectName="flag-rate", wordWrap=True)
        self.healthy = QPushButton(f"Healthy {100 * (1 - HEALTHY):.1f} %", objectName="healthy")
        self.healthy.setToolTip(f"the threshold that flags {100 * HEALTHY:g} % of healthy lungs, by the calibration")
        self.default = QPushButton("Default", objectName="default-threshold")
        self.default.setToolTip("back to the threshold of recipe and model")
        top, below = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.label)
        top.addWidget(self.slider, 1)
        below.addWidget(self.rate, 1)
        below.addWidget(self.healthy)
        below.addWidget(self.default)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(top)
        column.addWidget(self.bar)
        column.addLayout(below)
        self.slider.valueChanged.connect(self._on_value)
        self.healthy.clicked.connect(self._on_healthy)
        self.default.clicked.connect(self._on_default)

    def set_map(self, value: float, default: float, limit: float, unit: str, calibration: Calibration | None) -> None:
        """Show the scale of a map from 0 to ``limit``, at ``value``; tells nothing."""
        self._calibration, self._default = calibration, default
        decimals = 0 if limit >= 50 else 3
        self.slider.blockSignals(True)
        self.slider.setDecimals(decimals)
        self.slider.setRange(10.0**-decimals, max(limit, value))
        self.slider.setValue(value)
        self.slider.blockSignals(False)
        self.label.setText(f"Threshold ({unit})" if unit else "Threshold")
        self.bar.set_scale(score_colours(), 0.0, limit, unit)
        self.healthy.setEnabled(calibration is not None)
        self._say()

    def value(self) -> float:
        """Return the threshold."""
        return float(self.slider.value())

    def _on_value(self, value: float) -> None:
        self._say()
        self.changed.emit(value)

    def _say(self) -> None:
        value, healthy = self.value(), None
        if self._calibration is None:
            self.rate.setText("healthy lungs: not calibrated")
        else:
            healthy = self._calibration.threshold(HEALTHY)
            self.rate.setText(f"healthy lungs: {percent(self._calibration.flag_rate(value))} flagged")
        self.bar.set_marks(value, healthy)

    def _on_healthy(self, _: Any = None) -> None:
        if self._calibration is not None:
            self.slider.setValue(self._calibration.threshold(HEALTHY))

    def _on_default(self, _: Any = None) -> None:
        self.slider.setValue(self._default)


def percent(share: float) -> str:
    """Return a share as a percentage with two figures."""
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"
