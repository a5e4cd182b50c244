"""A colour bar in the dock: ticks with their unit, and a mark where the threshold stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRect, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_genesis.widgets.anomaly.looks import gradient

if TYPE_CHECKING:
    from napari.utils import Colormap

__all__ = ["ColourBar", "ticks"]

HEIGHT, MARGIN, TICK = 12, 14, 3
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` round values from ``low`` to ``high``, evenly apart."""
    span = high - low
    if span <= 0:
        return [low]
    power = 10.0 ** np.floor(np.log10(span / (most - 1)))
    step = next(power * s for s in STEPS if span / (power * s) <= most - 1 + 1e-9)
    first = np.ceil(low / step - 1e-9)
    return [round(float(step * (first + i)), 10) for i in range(int(np.floor(high / step + 1e-9) - first) + 1)]


class ColourBar(QWidget):
    """Colours from ``low`` to ``high`` in a ``unit``; a triangle marks the threshold, a line a second value."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("colour-bar")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.low, self.high, self.unit = 0.0, 1.0, ""
        self.mark: float | None = None
        self.second: float | None = None
        self._image = QImage()

    def sizeHint(self) -> QSize:  # Qt's name
        """Room for bar, ticks and their numbers."""
        return QSize(200, HEIGHT + 2 * TICK + self.fontMetrics().height() + 6)

    def set_scale(self, colours: Colormap, low: float, high: float, unit: str) -> None:
        """Show ``colours`` from ``low`` to ``high``."""
        self.low, self.high, self.unit = low, high, unit
        pixels = np.ascontiguousarray(gradient(colours)[None])
        self._image = QImage(pixels.data, pixels.shape[1], 1, 4 * pixels.shape[1],
                             QImage.Format.Format_RGBA8888).copy()  # fmt: skip
        self.update()

    def set_marks(self, mark: float | None, second: float | None = None) -> None:
        """Mark the threshold, and with a line a ``second`` value."""
        self.mark, self.second = mark, second
        self.update()

    def labels(self) -> list[str]:
        """Return what stands at the ticks; the last one carries the unit."""
        words = [f"{value:g}" for value in ticks(self.low, self.high)]
        return [*words[:-1], f"{words[-1]} {self.unit}".strip()]

    def paintEvent(self, _event: Any) -> None:  # Qt's name
        """Draw bar, ticks, numbers and marks."""
        painter = QPainter(self)
        bar = QRect(MARGIN, 6, max(1, self.width() - 3 * MARGIN), HEIGHT)
        painter.fillRect(bar, Qt.GlobalColor.black)  # as under the map in the view
        if not self._image.isNull():
            painter.drawImage(bar, self._image)
        text = self.palette().color(QPalette.ColorRole.WindowText)
        painter.setPen(QPen(text, 1))
        painter.drawRect(bar)
        words = self.labels()
        for value, word in zip(ticks(self.low, self.high), words, strict=True):
            x, width = self._x(bar, value), self.fontMetrics().horizontalAdvance(word)
            painter.drawLine(x, bar.bottom(), x, bar.bottom() + TICK)
            left = min(max(0, x - width // 2), self.width() - width)
            painter.drawText(left, bar.bottom() + 2 * TICK + self.fontMetrics().ascent(), word)
        if self.second is not None and self.low <= self.second <= self.high:
            painter.setPen(QPen(Qt.GlobalColor.white, 1, Qt.PenStyle.DashLine))
            painter.drawLine(self._x(bar, self.second), bar.top(), self._x(bar, self.second), bar.bottom())
        if self.mark is not None:
            self._triangle(painter, bar, text)

    def _triangle(self, painter: QPainter, bar: QRect, colour: Any) -> None:
        x = self._x(bar, min(max(self.mark or 0.0, self.low), self.high))
        painter.setPen(QPen(Qt.GlobalColor.white, 1))
        painter.drawLine(x, bar.top(), x, bar.bottom())
        painter.setBrush(colour)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.drawPolygon(QPolygonF([QPointF(x - 5, 0), QPointF(x + 5, 0), QPointF(x, 6)]))

    def _x(self, bar: QRect, value: float) -> int:
        return bar.left() + round((value - self.low) / (self.high - self.low) * bar.width())
