"""One widget per kind of configuration field: what pydantic declares decides which."""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QWidget,
)
from superqt import QLabeledDoubleSlider, QLabeledSlider

__all__ = ["Field", "bounds", "make_field", "plain_type"]

WIDE = 1e9
LONGEST_SLIDER = 2000  # values that a mouse can still aim at


class Field(QWidget):
    """A widget for one field: :meth:`value`, :meth:`set_value`, and ``edited`` when a person changed it."""

    edited = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)

    def value(self) -> Any:
        """Return what the widget says, as a plain value."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show ``value``."""
        raise NotImplementedError

    def _add(self, widget: QWidget, stretch: int = 1) -> None:
        self.layout().addWidget(widget, stretch)
        self.setFocusProxy(widget)


class BoolField(Field):
    """A check box."""

    def __init__(self) -> None:
        super().__init__()
        self.box = QCheckBox()
        self._add(self.box)
        self.box.toggled.connect(self._tell)

    def _tell(self, _: object = None) -> None:
        self.edited.emit()

    def value(self) -> bool:
        """Return whether it is checked."""
        return self.box.isChecked()

    def set_value(self, value: Any) -> None:
        """Check it or not."""
        self.box.setChecked(bool(value))


class NumberField(Field):
    """A labelled slider where both bounds are given and near, else a spin box."""

    def __init__(self, whole: bool, low: float | None, high: float | None, usual: Any = None) -> None:
        super().__init__()
        self._whole = whole
        slides = low is not None and high is not None and _can_slide(whole, low, high, usual)
        self.control = _slider(whole, low, high) if slides else _spin(whole, low, high)
        self._add(self.control)
        self.control.valueChanged.connect(self._tell)
        wheel_needs_focus(self.control)

    def _tell(self, _: object = None) -> None:
        self.edited.emit()

    def value(self) -> int | float:
        """Return the number."""
        number = self.control.value()
        return int(number) if self._whole else float(f"{number:.12g}")

    def set_value(self, value: Any) -> None:
        """Show the number, with as many decimals as it needs."""
        if not self._whole:
            decimals = self.control.decimals()
            needed = len(f"{value:.10f}".rstrip("0").partition(".")[2])
            self.control.setDecimals(max(decimals, min(needed, 10)))
        self.control.setValue(int(value) if self._whole else float(value))


class ChoiceField(Field):
    """A combo box of the values of a Literal."""

    def __init__(self, choices: tuple[Any, ...]) -> None:
        super().__init__()
        self._choices = choices
        self.combo = QComboBox()
        self.combo.addItems([str(choice) for choice in choices])
        self._add(self.combo)
        self.combo.currentIndexChanged.connect(self._tell)
        wheel_needs_focus(self.combo)

    def _tell(self, _: object = None) -> None:
        self.edited.emit()

    def value(self) -> Any:
        """Return the chosen value."""
        return self._choices[self.combo.currentIndex()]

    def set_value(self, value: Any) -> None:
        """Choose ``value``."""
        self.combo.setCurrentIndex(self._choices.index(value))


class TextField(Field):
    """A line of text."""

    def __init__(self) -> None:
        super().__init__()
        self.line = QLineEdit()
        self._add(self.line)
        self.line.editingFinished.connect(self.edited)

    def value(self) -> str:
        """Return the text."""
        return self.line.text()

    def set_value(self, value: Any) -> None:
        """Show the text."""
        self.line.setText(str(value))


class TupleField(Field):
    """A row of fields, one for each number of a tuple."""

    def __init__(self, parts: list[Field]) -> None:
        super().__init__()
        self.parts = parts
        for part in parts:
            self.layout().addWidget(part, 1)
            part.edited.connect(self.edited)
        self.setFocusProxy(parts[0])

    def value(self) -> tuple[Any, ...]:
        """Return the values in order."""
        return tuple(part.value() for part in self.parts)

    def set_value(self, value: Any) -> None:
        """Show the values in order."""
        for part, item in zip(self.parts, value, strict=True):
            part.set_value(item)


class OptionalField(Field):
    """A check box that says whether there is a value, and the field for it."""

    def __init__(self, inner: Field) -> None:
        super().__init__()
        self.box = QCheckBox()
        self.inner = inner
        self._add(self.box, 0)
        self.layout().addWidget(inner, 1)
        inner.setEnabled(False)
        self.box.toggled.connect(inner.setEnabled)
        self.box.toggled.connect(self._tell)
        inner.edited.connect(self.edited)

    def _tell(self, _: object = None) -> None:
        self.edited.emit()

    def value(self) -> Any:
        """Return the value, or None while unchecked."""
        return self.inner.value() if self.box.isChecked() else None

    def set_value(self, value: Any) -> None:
        """Show the value; None unchecks the box and leaves the last value greyed."""
        self.box.setChecked(value is not None)
        if value is not None:
            self.inner.set_value(value)


def make_field(name: str, info: FieldInfo) -> Field | None:
    """Return the widget for a field, or None for a type that has none (a nested configuration, a dictionary)."""
    return _field(info.annotation, list(info.metadata), info.default)


def _field(annotation: Any, metadata: list[Any], usual: Any = None) -> Field | None:
    annotation, metadata, optional = plain_type(annotation, metadata)
    low, high = bounds(metadata)
    made: Field | None = None
    if get_origin(annotation) is Literal:
        made = ChoiceField(get_args(annotation))
    elif annotation is bool:
        made = BoolField()
    elif annotation in (int, float):
        made = NumberField(annotation is int, low, high, usual)
    elif annotation is str:
        made = TextField()
    elif get_origin(annotation) is tuple and ... not in get_args(annotation):
        parts = [_field(item, []) for item in get_args(annotation)]
        made = TupleField(parts) if parts and all(isinstance(p, Field) for p in parts) else None
    return OptionalField(made) if made is not None and optional else made


def plain_type(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any], bool]:
    """Return the type without Annotated and Optional, all metadata on the way, and whether None is allowed."""
    optional = False
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *further = get_args(annotation)
            metadata = metadata + further
        elif get_origin(annotation) in (Union, types.UnionType):
            members = [a for a in get_args(annotation) if a is not type(None)]
            if len(members) != 1:
                return annotation, metadata, optional
            optional = optional or len(members) < len(get_args(annotation))
            annotation = members[0]
        else:
            return annotation, metadata, optional


def bounds(metadata: list[Any]) -> tuple[float | None, float | None]:
    """Return the lowest and highest value that ``ge``, ``gt``, ``le`` and ``lt`` allow (None: no bound)."""
    low = high = None
    for item in metadata:
        if isinstance(item, FieldInfo):
            inner = bounds(list(item.metadata))
            low, high = inner[0] if inner[0] is not None else low, inner[1] if inner[1] is not None else high
        low = next((v for v in (getattr(item, "ge", None), getattr(item, "gt", None)) if v is not None), low)
        high = next((v for v in (getattr(item, "le", None), getattr(item, "lt", None)) if v is not None), high)
    return low, high


def _can_slide(whole: bool, low: float, high: float, usual: Any) -> bool:
    """Whether a linear slider suits: a near range, and no usual value squeezed against its lower end."""
    span = high - low
    if not 0 < span <= LONGEST_SLIDER:
        return False
    return whole or not isinstance(usual, int | float) or usual == low or usual - low >= span / 200


def _slider(whole: bool, low: float, high: float) -> QWidget:
    slider = (QLabeledSlider if whole else QLabeledDoubleSlider)(Qt.Orientation.Horizontal)
    slider.setRange(int(low) if whole else low, int(high) if whole else high)
    if not whole:
        slider.setDecimals(2 if high - low >= 0.5 else 4)
        slider.setSingleStep((high - low) / 100)
    slider.setMinimumWidth(110)
    return slider


def _spin(whole: bool, low: float | None, high: float | None) -> QAbstractSpinBox:
    box = QSpinBox() if whole else QDoubleSpinBox()
    limit = 2**31 - 1 if whole else WIDE
    box.setRange(
        *(int(v) if whole else v for v in (-limit if low is None else low, limit if high is None else min(high, limit)))
    )
    if not whole:
        box.setDecimals(4)
        box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
    box.setKeyboardTracking(False)
    box.setMinimumWidth(60)
    return box


class _WheelGuard(QObject):
    """Lets the wheel scroll the dock, not the value under the pointer, until the widget has the focus."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's name
        """Ignore the wheel over a widget without focus."""
        if event.type() == QEvent.Type.Wheel and not watched.hasFocus():
            event.ignore()
            return True
        return False


def wheel_needs_focus(widget: QWidget) -> None:
    """Make ``widget`` take the wheel only when it was clicked before."""
    widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    widget.installEventFilter(_WheelGuard(widget))
