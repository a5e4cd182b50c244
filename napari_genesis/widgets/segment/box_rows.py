"""The ends of a box along x, y and z, as three sliders with two handles each."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QWidget
from superqt import QLabeledRangeSlider

from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.parts import form_layout

__all__ = ["BoxRows"]

Triple = tuple[int, int, int]
NAMES = ("z", "y", "x")
TIPS = ("from feet to head", "from front to back", "from the patient's right to left")


class BoxRows(QWidget):
    """First and last voxel of a box in a scan, both included.

    Signals
    -------
    changed() : a person moved an end
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._sliders = [QLabeledRangeSlider(Qt.Orientation.Horizontal) for _ in NAMES]
        rows = form_layout()
        self.setLayout(rows)
        for name, slider, tip in reversed(list(zip(NAMES, self._sliders, TIPS, strict=True))):
            slider.setObjectName(f"box-{name}")
            slider.setToolTip(f"first and last voxel along {name}, {tip}")
            slider.setEdgeLabelMode(QLabeledRangeSlider.EdgeLabelMode.NoLabel)
            slider.valueChanged.connect(self._tell)
            wheel_needs_focus(slider)
            rows.addRow(name, slider)

    def set_shape(self, shape: Sequence[int]) -> None:
        """Take a scan of ``shape`` (D, H, W): the box becomes the middle half of it."""
        for slider, n in zip(self._sliders, shape, strict=True):
            with QSignalBlocker(slider):
                slider.setRange(0, max(1, n - 1))
                slider.setValue((n // 4, max(n // 4, n - 1 - n // 4)))

    def box(self) -> tuple[Triple, Triple]:
        """Return first voxel and size (D, H, W)."""
        ends = [(int(s.value()[0]), min(int(s.value()[1]), s.maximum())) for s in self._sliders]
        (d, d2), (h, h2), (w, w2) = ends
        return (d, h, w), (d2 - d + 1, h2 - h + 1, w2 - w + 1)

    def set_box(self, start: Sequence[int], size: Sequence[int]) -> None:
        """Show another box; emits nothing."""
        for slider, first, length in zip(self._sliders, start, size, strict=True):
            with QSignalBlocker(slider):
                slider.setValue((int(first), int(first + length - 1)))

    def move_to(self, start: Sequence[int]) -> None:
        """Show the box elsewhere, its size as it is; emits nothing."""
        self.set_box(start, self.box()[1])

    def _tell(self, _: object = None) -> None:
        self.changed.emit()
