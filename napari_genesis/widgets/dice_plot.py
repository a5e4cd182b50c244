"""Dice of each class on what was held out, as it grows."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from genesis3d.labels import LabelClass
from napari_genesis.jobs import Curve
from napari_genesis.widgets.plots import GREY, REDRAW_MS, arrays_of, bare_plot, colour_axes

__all__ = ["DicePlot"]

PREFIX = "validation dice"
STYLES = (Qt.PenStyle.SolidLine, Qt.PenStyle.DashLine, Qt.PenStyle.DotLine, Qt.PenStyle.DashDotLine)
DASHES = ("━━", "╍╍", "┈┈", "╌┄")


class DicePlot(QWidget):
    """One line a class, in its colour and a style of its own; the mean in grey."""

    def __init__(self, theme: str, parent: QWidget | None = None) -> None:
        import pyqtgraph as pg

        super().__init__(parent)
        self._pg = pg
        self.plot = bare_plot(pg)
        self.plot.setFixedHeight(130)
        self.plot.setYRange(0, 1, padding=0.02)
        self.plot.setLabel("left", "Dice")
        self.legend = QLabel(objectName="dice-legend", wordWrap=True)
        self._colours: dict[str, str] = {}
        self._lines: dict[str, object] = {}
        self._pending: dict[str, Curve] = {}
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addWidget(self.legend)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._draw)
        self.set_theme(theme)

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Small enough for a narrow dock."""
        return QSize(200, super().minimumSizeHint().height())

    def set_theme(self, theme: str) -> None:
        """Take the colours of napari's ``theme``."""
        colour_axes(self.plot, theme)

    def set_classes(self, classes: Sequence[LabelClass]) -> None:
        """Take the colours of ``classes``; lines of before go."""
        self._colours = {one.name: one.colour or GREY for one in classes}
        for line in self._lines.values():
            self.plot.removeItem(line)
        self._lines.clear()
        self.legend.clear()

    def show_curves(self, curves: dict[str, Curve]) -> None:
        """Show ``curves`` of a :class:`JobState` with the next redraw, at most four times a second."""
        self._pending = {name: curve for name, curve in curves.items() if name.startswith(PREFIX)}
        if not self._timer.isActive():
            self._timer.start()

    def _draw(self) -> None:
        said = []
        for number, (name, curve) in enumerate(sorted(self._pending.items())):
            label = name.removeprefix(PREFIX).removeprefix("_") or "mean"
            colour = self._colours.get(label, GREY)
            if name not in self._lines:
                pen = self._pg.mkPen(colour, width=2, style=STYLES[number % len(STYLES)])
                self._lines[name] = self.plot.plot(
                    pen=pen, symbol="o", symbolSize=4, symbolBrush=colour, symbolPen=None
                )
            steps, values = arrays_of(curve)
            self._lines[name].setData(steps, values)  # type: ignore[attr-defined]
            if values.size:
                dash = DASHES[number % len(DASHES)]
                said.append(f"<span style='color:{colour}'>{dash}</span>&nbsp;{label}&nbsp;{values[-1]:.2f}")
        self.legend.setText(" &nbsp; ".join(said))
