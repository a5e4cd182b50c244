"""The intensity curve of the non-linear transformation: a plot whose control points are dragged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QHBoxLayout, QLabel, QRadioButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from genesis3d.intensity import Scale
    from genesis3d.transforms import NonLinear, Params

__all__ = ["CurveEditor"]

COLOURS = {
    "dark": {
        "text": "#d0d2d8",
        "grid": "#5a616d",
        "curve": "#ffb347",
        "idle": "#7a808c",
        "handle": "#5db0ff",
        "fill": "#262930",
    },
    "light": {
        "text": "#30343b",
        "grid": "#b8bcc4",
        "curve": "#b85c00",
        "idle": "#8a8f99",
        "handle": "#0a5fb4",
        "fill": "#ffffff",
    },
}
DIRECTIONS = ("random", "increasing", "decreasing")
TIPS = {
    "random": "each sub-volume draws anew whether its curve rises or falls",
    "increasing": "all curves rise: dark stays dark",
    "decreasing": "all curves fall: dark becomes bright",
}


class CurveEditor(QWidget):
    """Shows the curve drawn for the present seed, and edits a :class:`NonLinear` configuration.

    Dragging a control point holds the curve: the configuration then has fixed ``control_points``.
    """

    changed = Signal(object)  # the NonLinear configuration, edited by a person

    def __init__(self, config: NonLinear, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config = config
        self._scale: Scale | None = None
        self._falls = False
        self._control = np.array([0.25, 0.25, 0.75, 0.75])
        self._applied = True
        self._colours = COLOURS["dark"]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(self._direction_row())
        layout.addWidget(self._make_plot())
        layout.addWidget(self._note)
        self.set_theme("dark")
        self.set_value(config)

    @property
    def value(self) -> NonLinear:
        """The configuration."""
        return self._config

    def set_value(self, config: NonLinear) -> None:
        """Show ``config``; emits nothing."""
        self._config = config
        for name, button in self._buttons.items():
            button.setChecked(name == config.direction)
        self.hold.blockSignals(True)
        self.hold.setChecked(config.control_points is not None)
        self.hold.blockSignals(False)
        if config.control_points is not None:
            self._control = np.array(config.control_points)
        if config.direction != "random":
            self._falls = config.direction == "decreasing"
        self._draw()

    def set_drawn(self, params: Params, applied: bool) -> None:
        """Show the curve that was drawn (``control``, ``decreasing`` of one case), grey where it is not applied."""
        control, falls = np.asarray(params["control"], dtype=float), bool(params["decreasing"])
        if np.array_equal(control, self._control) and falls == self._falls and applied == self._applied:
            return
        self._control, self._falls, self._applied = control, falls, applied
        self._draw()

    def set_scale(self, scale: Scale, unit: str) -> None:
        """Label the axes in the scan's own values, ``unit`` being for example HU."""
        self._scale = scale
        text = f"[{unit}]" if unit else ""
        self.plot.setLabel("bottom", f"original {text}".strip())
        self.plot.setLabel("left", f"transformed {text}".strip())
        self._range()
        self._draw()

    def set_theme(self, kind: str) -> None:
        """Take the colours of a ``dark`` or ``light`` theme."""
        self._colours = COLOURS[kind]
        self.plot.setBackground(None)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setPen(self._colours["grid"])
            axis.setTextPen(self._colours["text"])
        for target in self.targets:
            target.setPen(pg.mkPen(self._colours["handle"], width=2))
            target.setBrush(pg.mkBrush(None))
            target.setHoverPen(pg.mkPen(self._colours["curve"], width=2))
        for arm in self._arms:
            arm.setPen(pg.mkPen(self._colours["handle"], width=1, style=Qt.PenStyle.DotLine))
        self._identity.setPen(pg.mkPen(self._colours["grid"], width=1, style=Qt.PenStyle.DashLine))
        self._draw()

    def _direction_row(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        self._group = QButtonGroup(self)
        self._buttons = {}
        for name in DIRECTIONS:
            button = QRadioButton(name)
            button.setObjectName(f"direction-{name}")
            button.setToolTip(TIPS[name])
            button.clicked.connect(self._on_direction)
            self._group.addButton(button)
            self._buttons[name] = button
            row.addWidget(button)
        row.addStretch(1)
        self.hold = QCheckBox("hold curve")
        self.hold.setToolTip("checked: this very curve for every sub-volume; unchecked: a new one is drawn for each")
        self.hold.toggled.connect(self._on_hold)
        row.addWidget(self.hold)
        return row

    def _make_plot(self) -> pg.PlotWidget:
        self.plot = pg.PlotWidget()
        self.plot.setMinimumWidth(160)
        self.plot.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.plot.setFixedHeight(200)
        self.plot.setMenuEnabled(False)
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.getAxis("bottom").setHeight(44)
        self._identity = self.plot.plot([0, 1], [0, 1])
        self._arms = [self.plot.plot(), self.plot.plot()]
        self._curve = self.plot.plot()
        self.targets = [pg.TargetItem((0, 0), size=14, symbol="o", movable=True) for _ in range(2)]
        for target in self.targets:
            target.setZValue(10)
            self.plot.addItem(target)
            target.sigPositionChanged.connect(self._on_dragged)
        self._note = QLabel()
        self._note.setWordWrap(True)
        self._note.setStyleSheet("font-size: 8pt")
        self._range()
        return self.plot

    def _range(self) -> None:
        low, high = self._to_axis(np.array([0.0, 1.0]))
        self.plot.setRange(xRange=(low, high), yRange=(low, high), padding=0.06)

    def _to_axis(self, unit: Any) -> Any:
        return unit if self._scale is None else self._scale.low + np.asarray(unit) * self._scale.width

    def _to_unit(self, value: Any) -> Any:
        return value if self._scale is None else (np.asarray(value) - self._scale.low) / self._scale.width

    def _handles(self) -> list[tuple[float, float]]:
        """Where the two control points lie in [0, 1]: a falling curve runs from (0, 1) to (1, 0)."""
        x1, y1, x2, y2 = (float(v) for v in self._control)
        return [(x1, y2), (x2, y1)] if self._falls else [(x1, y1), (x2, y2)]

    def _draw(self) -> None:
        from genesis3d.transforms import curve

        x, y = curve({"control": self._control, "decreasing": np.asarray(self._falls)}, 128)
        self._curve.setData(self._to_axis(x), self._to_axis(y))
        colour = self._colours["curve" if self._applied else "idle"]
        style = Qt.PenStyle.SolidLine if self._applied else Qt.PenStyle.DashLine
        self._curve.setPen(pg.mkPen(colour, width=2.5, style=style))
        low, high = (float(v) for v in self._to_axis(np.array([0.0, 1.0])))
        self._identity.setData([low, high], [low, high])
        ends = [(low, high), (high, low)] if self._falls else [(low, low), (high, high)]
        for target, arm, end, handle in zip(self.targets, self._arms, ends, self._handles(), strict=True):
            place = tuple(float(v) for v in self._to_axis(np.array(handle)))
            target.blockSignals(True)
            target.setPos(*place)
            target.blockSignals(False)
            arm.setData([end[0], place[0]], [end[1], place[1]])
        self._note.setText(self._words())

    def _words(self) -> str:
        held = self._config.control_points is not None
        kind = "held for all sub-volumes" if held else "drawn for this sub-volume; drag a point to hold it"
        return f"Curve {kind}." if self._applied else f"Curve {kind} (not applied in this draw)."

    def _on_dragged(self, _: object = None) -> None:
        points = [np.clip(self._to_unit(np.array([t.pos().x(), t.pos().y()])), 0, 1) for t in self.targets]
        (x1, a), (x2, b) = (tuple(np.round(point, 4).tolist()) for point in points)
        control = (x1, b, x2, a) if self._falls else (x1, a, x2, b)
        self._control = np.array(control)
        self._change(control_points=control)

    def _on_hold(self, held: bool) -> None:
        self._change(control_points=tuple(float(v) for v in self._control) if held else None)

    def _on_direction(self) -> None:
        self._change(direction=next(name for name, button in self._buttons.items() if button.isChecked()))

    def _change(self, **changes: Any) -> None:
        config = self._config.replaced(**changes)
        self.set_value(config)
        self.changed.emit(config)
