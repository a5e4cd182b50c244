"""Live curves of a training; pyqtgraph is imported when the first plot is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_genesis.jobs import Curve

__all__ = ["GREY", "REDRAW_MS", "CurvePlot", "arrays_of", "bare_plot", "colour_axes", "smoothed"]

REDRAW_MS = 250
# Distinct for colour-blind people, readable on dark and light (Okabe and Ito, Color Universal Design, 2008).
BLUE, ORANGE, GREY = "#56a0e0", "#e69f00", "#909090"


def smoothed(values: np.ndarray, steps: float = 20.0) -> np.ndarray:
    """Return the running exponential mean of ``values`` over about ``steps`` of them."""
    from scipy.signal import lfilter

    if values.size == 0:
        return values
    share = 1 / steps
    return np.asarray(lfilter([share], [1, share - 1], values, zi=[(1 - share) * values[0]])[0])


LEGEND = (
    ("━━", BLUE, "training", "loss"),
    ("╍●╍", ORANGE, "validation", "validation loss"),
    ("┈┈", GREY, "best&nbsp;constant", "validation mse_constant"),
)


class CurvePlot(QWidget):
    """Training loss (as it comes, and smoothed), validation loss, and the best constant; at most four redraws a second.

    Line styles differ as well as colours.
    """

    def __init__(self, theme: str, parent: QWidget | None = None) -> None:
        import pyqtgraph as pg

        super().__init__(parent)
        self._pg = pg
        self.plot = bare_plot(pg)
        self._lines = {
            "raw": self.plot.plot(pen=pg.mkPen(BLUE + "55", width=1)),
            "train": self.plot.plot(pen=pg.mkPen(BLUE, width=2)),
            "validation": self.plot.plot(
                pen=pg.mkPen(ORANGE, width=2, style=Qt.PenStyle.DashLine),
                symbol="o", symbolSize=5, symbolBrush=ORANGE, symbolPen=None,
            ),
            "constant": self.plot.plot(
                pen=pg.mkPen(GREY, width=1, style=Qt.PenStyle.DotLine)
            ),
        }  # fmt: skip
        for line in self._lines.values():
            line.setDownsampling(auto=True, method="mean")
            line.setClipToView(True)
        self.log = QCheckBox("log scale", objectName="log-scale", checked=True)
        self.log.toggled.connect(self._set_log)
        self.figures = QLabel(objectName="figures", wordWrap=True)
        self._build()
        self._pending: dict[str, Curve] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REDRAW_MS)
        self._timer.timeout.connect(self._draw)
        self.set_theme(theme)
        self._set_log(True)

    def _build(self) -> None:
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.plot.setFixedHeight(170)
        row = QHBoxLayout()
        row.addWidget(self.figures, 1)
        row.addWidget(self.log, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addLayout(row)

    def sizeHint(self) -> QSize:  # Qt's name
        """Small: a bare plot would take half the window."""
        return QSize(280, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """Small enough for a narrow dock."""
        return QSize(200, super().minimumSizeHint().height())

    def set_theme(self, theme: str) -> None:
        """Take the colours of napari's ``theme``."""
        colour_axes(self.plot, theme)

    def show_curves(self, curves: dict[str, Curve]) -> None:
        """Show ``curves`` of a :class:`JobState`, now or with the next redraw."""
        self._pending = curves
        if not self._timer.isActive():
            self._timer.start()

    def clear(self) -> None:
        """Show nothing."""
        self._pending = {}
        self._draw()

    def _draw(self) -> None:
        curves = self._pending or {}
        steps, values = _arrays(curves, "loss")
        self._lines["raw"].setData(steps, values)
        self._lines["train"].setData(steps, smoothed(values))
        self._lines["validation"].setData(*_arrays(curves, "validation loss"))
        self._lines["constant"].setData(*_arrays(curves, "validation mse_constant"))
        self.figures.setText(_sentence(curves))

    def _set_log(self, on: bool) -> None:
        self.plot.setLogMode(y=on)
        self.plot.setLabel("left", "loss (log)" if on else "loss")


def bare_plot(pg: Any) -> Any:
    """Return a plot over steps as all docks show them: no menu, no buttons, dragged and zoomed along steps alone."""
    plot = pg.PlotWidget()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=True, y=False)
    plot.hideButtons()
    plot.setLabel("bottom", "step")
    plot.getAxis("left").enableAutoSIPrefix(False)
    plot.getAxis("left").setStyle(tickFont=QFont(plot.font().family(), 7))
    plot.getAxis("bottom").setHeight(36)
    return plot


def colour_axes(plot: Any, theme: str) -> None:
    """Give ``plot`` the colours of napari's ``theme``."""
    colours = get_theme(theme)
    plot.setBackground(colours.background.as_hex())
    text = colours.text.as_hex()
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(text)
        axis.setTextPen(text)


def _arrays(curves: dict[str, Curve], name: str) -> tuple[np.ndarray, np.ndarray]:
    return arrays_of(curves.get(name, ([], [])))


def arrays_of(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of a curve as arrays."""
    steps, values = curve
    return np.asarray(steps, dtype=np.float64), np.asarray(values, dtype=np.float64)


def _sentence(curves: dict[str, Curve]) -> str:
    """Return the legend: each line's look, what it is, and its newest value."""
    said: list[str] = []
    for look, colour, label, name in LEGEND:
        values: Any = curves.get(name, ([], []))[1]
        if values:
            newest = smoothed(np.asarray(values))[-1] if name == "loss" else values[-1]
            said.append(f"<span style='color:{colour}'>{look}</span>&nbsp;{label}&nbsp;{newest:.4g}")
    said += [_ratios(curves)] if "validation ratio" in curves else []
    return " &nbsp; ".join(said)


def _ratios(curves: dict[str, Curve]) -> str:
    ratio = f"restored to {curves['validation ratio'][1][-1]:.2f} of the best constant's error"
    found = {name: curves.get(f"validation {name}_ratio", ([], []))[1] for name in ("official", "gentle")}
    return ratio + "".join(f", {values[-1]:.2f} under the {name} chain" for name, values in found.items() if values)
