"""Where a training runs and for how long, as two rows that every training dock has."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QComboBox, QHBoxLayout, QRadioButton, QSpinBox, QVBoxLayout, QWidget
from superqt import QLabeledSlider

from napari_genesis.devices import Device
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.run_files import training_threads
from napari_genesis.widgets.parts import side_by_side
from napari_genesis.widgets.status import memory

__all__ = ["BudgetRow", "DeviceRow", "narrow"]


def narrow(combo: QComboBox) -> QComboBox:
    """Let ``combo`` be narrower than its entries, and leave the wheel to the dock until it is clicked."""
    combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    combo.setMinimumContentsLength(6)
    wheel_needs_focus(combo)
    return combo


class DeviceRow(QWidget):
    """Device and number format side by side.

    Signals
    -------
    changed() : another device or format
    """

    changed = Signal()

    def __init__(self, precision_tip: str) -> None:
        super().__init__()
        self._devices: tuple[Device, ...] = ()
        self.device = narrow(QComboBox(objectName="device"))
        self.device.addItem("auto", "auto")
        self.device.setToolTip("where to train; auto takes a GPU where torch finds one")
        self.precision = narrow(QComboBox(objectName="precision"))
        for name, label in (("auto", "auto precision"), ("32", "32 bit"), ("bf16", "bfloat16")):
            self.precision.addItem(label, name)
        self.precision.setToolTip(precision_tip)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.device, 4)
        row.addWidget(self.precision, 5)
        for combo in (self.device, self.precision):
            combo.currentIndexChanged.connect(self._tell)

    def values(self) -> dict[str, Any]:
        """Return ``device`` and ``precision`` as a configuration has them."""
        return {"device": self.device.currentData() or "auto", "precision": self.precision.currentData()}

    def set_values(self, device: str, precision: str) -> None:
        """Show a device, known or not, and a number format."""
        index = self.device.findData(device)
        if index < 0:
            self.device.addItem(device, device)
            index = self.device.count() - 1
        self.device.setCurrentIndex(index)
        self.precision.setCurrentIndex(self.precision.findData(precision))

    def set_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found; the chosen one stays chosen."""
        chosen = self.values()
        self._devices = devices
        self.device.blockSignals(True)
        self.device.clear()
        self.device.addItem("auto", "auto")
        for device in devices:
            room = f", {memory(device.memory)}" if device.memory else ""
            self.device.addItem(f"{device.name} ({device.label}{room})" if device.name != "cpu" else "cpu", device.name)
        self.device.blockSignals(False)
        self.set_values(**chosen)
        self._tell()

    def sentence(self, threads: int | None) -> str:
        """Return where the training will run: ``CPU, 1 core`` or ``cuda:0``."""
        chosen = self.values()["device"]
        if chosen == "auto":
            chosen = next((d.name for d in self._devices if d.name != "cpu"), "cpu")
        cores = threads or training_threads()
        return f"CPU, {cores} core{'s' * (cores != 1)}" if chosen == "cpu" else chosen

    def _tell(self, *_: object) -> None:
        self.changed.emit()


class BudgetRow(QWidget):
    """Minutes on a slider, or steps.

    Signals
    -------
    changed() : another budget
    """

    changed = Signal()

    def __init__(self, most_minutes: int = 240, steps: int = 500) -> None:
        super().__init__()
        self.by_minutes = QRadioButton("minutes", objectName="by-minutes", checked=True)
        self.by_steps = QRadioButton("steps", objectName="by-steps")
        self._units = QButtonGroup(self)
        for button in (self.by_minutes, self.by_steps):
            self._units.addButton(button)
        self.minutes = QLabeledSlider(Qt.Orientation.Horizontal, objectName="minutes")
        self.minutes.setRange(1, most_minutes)
        self.steps = QSpinBox(objectName="steps")
        self.steps.setRange(1, 100_000_000)
        self.steps.setValue(steps)
        self.steps.setKeyboardTracking(False)
        wheel_needs_focus(self.steps)
        self.minutes.valueChanged.connect(self._on_minutes)
        self.steps.valueChanged.connect(self._on_steps)
        self.by_steps.toggled.connect(self._tell)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(side_by_side(self.by_minutes, self.minutes, (0, 1)))
        column.addWidget(side_by_side(self.by_steps, self.steps, (0, 1)))

    def values(self) -> dict[str, Any]:
        """Return ``steps`` and ``minutes`` as a configuration has them: one of them None."""
        if self.by_steps.isChecked():
            return {"steps": self.steps.value(), "minutes": None}
        return {"steps": None, "minutes": float(self.minutes.value())}

    def set_values(self, steps: int | None, minutes: float | None) -> None:
        """Show a budget."""
        self.by_steps.setChecked(steps is not None)
        self.by_minutes.setChecked(steps is None)
        if steps is not None:
            self.steps.setValue(steps)
        if minutes is not None:
            self.minutes.setValue(round(minutes))

    def sentence(self) -> str:
        """Return ``10 min`` or ``500 steps``."""
        return f"{self.steps.value()} steps" if self.by_steps.isChecked() else f"{self.minutes.value()} min"

    def _on_minutes(self, *_: object) -> None:
        self.by_minutes.setChecked(True)
        self._tell()

    def _on_steps(self, *_: object) -> None:
        self.by_steps.setChecked(True)
        self._tell()

    def _tell(self, *_: object) -> None:
        self.changed.emit()
