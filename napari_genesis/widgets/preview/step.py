"""One step of the chain as a row: on or off, its probability, and the settings of its transformations under a fold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from genesis3d.transforms import Choice, NonLinear, Step, Transform
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.forms import ConfigForm
from napari_genesis.widgets.preview.curve import CurveEditor

if TYPE_CHECKING:
    from genesis3d.intensity import Scale
    from genesis3d.transforms import Params

__all__ = ["StepRow", "share_slider"]

OPEN, CLOSED = "\N{BLACK DOWN-POINTING SMALL TRIANGLE}", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
LABEL_WIDTH = 165  # so that the sliders stand below each other


def share_slider(value: float, tip: str) -> QLabeledDoubleSlider:
    """Return a slider from 0 to 1 with two decimals."""
    slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
    slider.setRange(0.0, 1.0)
    slider.setDecimals(2)
    slider.setSingleStep(0.01)
    slider.setValue(value)
    slider.setToolTip(tip)
    slider.setMinimumWidth(90)
    slider.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    wheel_needs_focus(slider)
    return slider


class StepRow(QWidget):
    """A row for a :class:`Step` or a :class:`Choice` of transformations that exclude each other."""

    changed = Signal()
    alone = Signal(bool)
    removed = Signal()
    raised = Signal()

    def __init__(self, step: Step | Choice, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._step = step
        self.curve: CurveEditor | None = None
        self.forms: list[ConfigForm | None] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(self._head())
        self.shares = self._share_row(layout)
        self.settings = self._settings()
        self.settings.setVisible(self.curve is not None)
        self.unfold.setChecked(self.curve is not None)
        self.unfold.toggled.connect(self._on_unfold)
        self._on_unfold(self.unfold.isChecked())
        layout.addWidget(self.settings)

    @property
    def value(self) -> Step | Choice:
        """The step as edited."""
        return self._step

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.setSpacing(4)
        self.unfold = _tool("", "its settings", "step-settings")
        self.unfold.setCheckable(True)
        self.unfold.setFixedWidth(20)
        head.addWidget(self.unfold)
        self.enabled = QCheckBox(
            " | ".join(option.label or option.name for option in self._step.options).replace("-painting |", " |")
        )
        self.enabled.setObjectName("step-enabled")
        self.enabled.setToolTip("whether the step takes part at all")
        self.enabled.setChecked(self._step.enabled)
        self.enabled.toggled.connect(self._on_enabled)
        self.enabled.setMinimumWidth(LABEL_WIDTH)
        head.addWidget(self.enabled)
        head.addWidget(QLabel("p"))
        self.chance = share_slider(self._step.p, "chance that the step is applied to a sub-volume")
        self.chance.valueChanged.connect(self._on_chance)
        head.addWidget(self.chance, 1)
        self.only = _tool("only", "show this step alone, always applied, with what was drawn for it", "step-only")
        self.only.setCheckable(True)
        self.only.toggled.connect(self.alone)
        up = _tool("\N{UPWARDS ARROW}", "apply this step before the one above", "step-up")
        up.clicked.connect(self.raised)
        away = _tool("\N{MULTIPLICATION SIGN}", "take this step out of the chain", "step-remove")
        away.clicked.connect(self.removed)
        for button in (self.only, up, away):
            head.addWidget(button)
        return head

    def _share_row(self, layout: QVBoxLayout) -> list[QLabeledDoubleSlider]:
        """A slider for each option's share; of two, the second follows the first."""
        if len(self._step.options) < 2:
            return []
        sliders = []
        row = QHBoxLayout()
        row.setContentsMargins(22, 0, 0, 0)
        for option, share in zip(self._step.options, self._step.shares, strict=True):
            row.addWidget(QLabel((option.label or option.name).removesuffix("-painting")))
            slider = share_slider(share, f"share of {option.label or option.name} among the applied")
            slider.valueChanged.connect(self._on_share)
            sliders.append(slider)
            row.addWidget(slider, 1)
        layout.addLayout(row)
        return sliders

    def _settings(self) -> QWidget:
        body = QWidget()
        rows = QVBoxLayout(body)
        rows.setContentsMargins(22, 0, 0, 4)
        for index, option in enumerate(self._step.options):
            if len(self._step.options) > 1:
                rows.addWidget(QLabel(f"<b>{option.label or option.name}</b>"))
            if isinstance(option, NonLinear):
                self.curve = CurveEditor(option)
                self.curve.changed.connect(self._on_curve)
                rows.addWidget(self.curve)
            rows.addWidget(self._form(index, option))
        return body

    def _form(self, index: int, option: Transform) -> QWidget:
        handled = ("direction", "control_points") if isinstance(option, NonLinear) else ()
        names = [name for name in type(option).model_fields if name not in handled]
        form = ConfigForm(type(option), fields=names, value=option)
        form.setProperty("option", index)
        form.changed.connect(self._on_form)
        self.forms.append(form)
        return form

    def set_drawn(self, params: Params, applied: bool) -> None:
        """Show the curve that was drawn for the sub-volume."""
        if self.curve is not None:
            self.curve.set_drawn(params, applied)

    def set_scale(self, scale: Scale, unit: str) -> None:
        """Let the curve speak the scan's own values."""
        if self.curve is not None:
            self.curve.set_scale(scale, unit)

    def set_theme(self, kind: str) -> None:
        """Take the colours of a ``dark`` or ``light`` theme."""
        if self.curve is not None:
            self.curve.set_theme(kind)

    def _on_unfold(self, is_open: bool) -> None:
        self.settings.setVisible(is_open)
        self.unfold.setText(
            "\N{BLACK DOWN-POINTING SMALL TRIANGLE}" if is_open else "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
        )

    def _on_enabled(self, enabled: bool) -> None:
        self._change(enabled=enabled)

    def _on_chance(self, p: float) -> None:
        self._change(p=round(float(p), 4))

    def _on_share(self, value: float) -> None:
        if len(self.shares) == 2:
            other = self.shares[1] if self.sender() is self.shares[0] else self.shares[0]
            other.blockSignals(True)
            other.setValue(1 - value)
            other.blockSignals(False)
        weights = tuple(round(float(slider.value()), 4) for slider in self.shares)
        if sum(weights) > 0:
            self._change(weights=weights)

    def _on_form(self, option: Transform) -> None:
        index = self.sender().property("option")
        if isinstance(option, NonLinear) and self.curve is not None:  # the curve's own fields are not in the form
            held = self.curve.value
            option = option.replaced(direction=held.direction, control_points=held.control_points)
            self.curve.set_value(option)
        self._set_option(int(index), option)

    def _on_curve(self, option: NonLinear) -> None:
        index = next(i for i, each in enumerate(self._step.options) if isinstance(each, NonLinear))
        form = self.forms[index]
        if form is not None:
            form.set_value(option)
        self._set_option(index, option)

    def _set_option(self, index: int, option: Transform) -> None:
        if isinstance(self._step, Step):
            self._change(transform=option)
        else:
            options = list(self._step.options)
            options[index] = option
            self._change(options=tuple(options))

    def _change(self, **changes: Any) -> None:
        self._step = self._step.replaced(**changes)
        self.changed.emit()


def _tool(text: str, tip: str, name: str) -> QToolButton:
    button = QToolButton()
    button.setObjectName(name)
    button.setText(text)
    button.setToolTip(tip)
    button.setAutoRaise(True)
    return button
