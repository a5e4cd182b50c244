"""Small panels of the Preview dock: where the sub-volume lies, the address of the draw, how it is looked at."""

from __future__ import annotations

from secrets import randbelow

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.preview.model import LARGEST, SMALLEST, Triple
from napari_genesis.windows import WINDOWS, window_limits

__all__ = ["AddressPanel", "PlacePanel", "ViewPanel"]

MOST = 2**31 - 1
VIEW_TIPS = {
    "side by side": "original, transformed and difference beside each other",
    "overlay": "the difference over the original",
    "follow": "slices or volumes, as the viewer shows them",
    "2D": "slices",
    "3D": "volumes",
}
AS_SCAN, WHOLE = "as the scan", "whole range"


class PlacePanel(QWidget):
    """Size of the sub-volume, x by y by z, and buttons that place it."""

    resized = Signal()
    centre = Signal()
    random = Signal()
    go = Signal()
    pick = Signal(bool)

    def __init__(self, size: Triple, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        row = QHBoxLayout()
        self.sides: list[QSpinBox] = []
        for axis in "xyz":
            box = _spin(SMALLEST, LARGEST, f"size along {axis} in voxels")
            box.setObjectName(f"size-{axis}")
            box.valueChanged.connect(self._on_resized)
            self.sides.append(box)
            if axis != "x":
                row.addWidget(QLabel("\N{MULTIPLICATION SIGN}"))
            row.addWidget(box, 1)
        layout.addLayout(row)
        self.where = QLabel(objectName="place")
        self.where.setStyleSheet("font-size: 8pt")
        layout.addWidget(self.where)
        buttons = QHBoxLayout()
        buttons.setSpacing(4)
        self.pick_button = self._button(
            buttons, "pick in view", "place-pick", "click in the scan, in 2D, to centre the box there"
        )
        self.pick_button.setCheckable(True)
        self.pick_button.toggled.connect(self.pick)
        centre = self._button(buttons, "centre", "place-centre", "put the box in the middle of the scan")
        random = self._button(buttons, "random", "place-random", "put the box where training might look")
        go = self._button(buttons, "go to box", "place-go", "show the slices through the middle of the box")
        for button, signal in ((centre, self.centre), (random, self.random), (go, self.go)):
            button.clicked.connect(signal)
        layout.addLayout(buttons)
        self.set_size(size)

    @property
    def size3(self) -> Triple:
        """The size (D, H, W)."""
        w, h, d = (box.value() for box in self.sides)
        return d, h, w

    def set_size(self, size: Triple) -> None:
        """Show ``size`` (D, H, W); emits nothing."""
        for box, value in zip(self.sides, reversed(size), strict=True):
            box.blockSignals(True)
            box.setValue(value)
            box.blockSignals(False)

    def set_place(self, text: str) -> None:
        """Say where the box is."""
        self.where.setText(text)

    def _button(self, row: QHBoxLayout, text: str, name: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setToolTip(tip)
        row.addWidget(button)
        return button

    def _on_resized(self) -> None:
        self.resized.emit()


class AddressPanel(QWidget):
    """Seed, step and slot: the address of all that is random."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        self.seed, self.step, self.slot = (
            _spin(0, MOST, tip) for tip in ("seed of the run", "training step, from 0", "place in the batch, from 0")
        )
        for name, box in (("seed", self.seed), ("step", self.step), ("slot", self.slot)):
            box.setObjectName(f"address-{name}")
            box.valueChanged.connect(self._on_changed)
            row.addWidget(QLabel(name))
            row.addWidget(box, 1)
        self.lock = QCheckBox("lock")
        self.lock.setObjectName("address-lock")
        self.lock.setToolTip("checked: the draw stays the same wherever the box goes; unchecked: each move draws anew")
        self.lock.setChecked(True)

    @property
    def value(self) -> tuple[int, int, int]:
        """Seed, step and slot."""
        return self.seed.value(), self.step.value(), self.slot.value()

    def set_value(self, seed: int, step: int, slot: int) -> None:
        """Show an address; emits nothing."""
        for box, value in ((self.seed, seed), (self.step, step), (self.slot, slot)):
            box.blockSignals(True)
            box.setValue(min(value, MOST))
            box.blockSignals(False)

    def draw(self) -> None:
        """Take a new seed at random."""
        self.seed.setValue(randbelow(100_000))

    def next(self) -> None:
        """Take the next seed."""
        self.seed.setValue(self.seed.value() + 1)

    def _on_changed(self) -> None:
        self.changed.emit()


class ViewPanel(QWidget):
    """Side by side or overlay, slices or volumes, and the contrast window."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        self.layout_group = self._choices(row, ("side by side", "overlay"), "view")
        row.addSpacing(8)
        self.dimension_group = self._choices(row, ("follow", "2D", "3D"), "ndisplay")
        self.cut = QToolButton()
        self.cut.setText("cut")
        self.cut.setObjectName("view-cut")
        self.cut.setToolTip("in 3D: blocks cut through the middle; off: what shines through (maximum intensity)")
        self.cut.setCheckable(True)
        self.cut.setChecked(True)
        self.cut.toggled.connect(self._on_changed)
        row.addWidget(self.cut)
        row.addStretch(1)
        self.windows = QComboBox()
        self.windows.setObjectName("window")
        self.windows.setToolTip("contrast of original and transformed; the difference spans as many values")
        self.windows.addItems([AS_SCAN, WHOLE, *WINDOWS])
        self.windows.currentIndexChanged.connect(self._on_changed)
        wheel_needs_focus(self.windows)
        row.addWidget(self.windows)

    @property
    def overlay(self) -> bool:
        """Whether the difference lies over the original."""
        return self.layout_group.checkedId() == 1

    @property
    def ndisplay(self) -> int | None:
        """2 or 3; None to follow the viewer."""
        return {0: None, 1: 2, 2: 3}[self.dimension_group.checkedId()]

    def window(self, scan: tuple[float, float], whole: tuple[float, float]) -> tuple[float, float]:
        """Return the limits chosen, from those of the ``scan``'s layer and the ``whole`` range of [0, 1]."""
        text = self.windows.currentText()
        if text in WINDOWS:
            return window_limits(*WINDOWS[text])
        return whole if text == WHOLE else scan

    def set_hu(self, known: bool) -> None:
        """Offer the windows of CT only where values are HU."""
        for index in range(2, self.windows.count()):
            self.windows.model().item(index).setEnabled(known)
        if not known and self.windows.currentIndex() >= 2:
            self.windows.setCurrentIndex(0)

    def _choices(self, row: QHBoxLayout, texts: tuple[str, ...], name: str) -> QButtonGroup:
        group = QButtonGroup(self)
        for index, text in enumerate(texts):
            button = QToolButton()
            button.setText(text)
            button.setObjectName(f"{name}-{text.replace(' ', '-')}")
            button.setToolTip(VIEW_TIPS[text])
            button.setCheckable(True)
            button.setChecked(index == 0)
            group.addButton(button, index)
            row.addWidget(button)
        group.idClicked.connect(self._on_changed)
        return group

    def _on_changed(self, _: object = None) -> None:
        self.changed.emit()


def _spin(low: int, high: int, tip: str) -> QSpinBox:
    box = QSpinBox()
    box.setRange(low, high)
    box.setKeyboardTracking(False)
    box.setToolTip(tip)
    box.setMinimumWidth(54)
    wheel_needs_focus(box)
    return box
