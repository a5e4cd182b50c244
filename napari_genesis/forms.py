"""A configuration class as a form: each field becomes a widget with its range, unit and description.

The form holds the last valid configuration; what the fields say and the configuration rejects is told in a sentence
under them.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from genesis3d.config import Config, explain
from napari_genesis.fields import Field, make_field
from napari_genesis.widgets.parts import Fold, fold

__all__ = ["ConfigForm"]


class ConfigForm(QWidget):
    """A form for ``config_class``.

    Parameters
    ----------
    config_class : a :class:`Config`
    fields : names to show at once, in order (default: all that a widget can be made for)
    more : names to show under "More" (folded)
    value : the configuration to begin with (default: the class's own defaults)

    Signals
    -------
    changed(object) : the new valid configuration, when a person (not :meth:`set_value`) changed a field
    """

    changed = Signal(object)

    def __init__(
        self,
        config_class: type[Config],
        fields: Sequence[str] | None = None,
        more: Sequence[str] = (),
        value: Config | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"form-{config_class.__name__}")
        self._class = config_class
        self._value = value if value is not None else config_class()
        self.error = ""
        shown = [n for n in config_class.model_fields if n not in more] if fields is None else list(fields)
        self._fields: dict[str, Field] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(self._rows(shown))
        self.more_fold: Fold | None = None
        if more:
            self._add_fold(layout, more)
        self._error_label = QLabel(objectName="form-error", wordWrap=True, visible=False)
        self._error_label.setStyleSheet("color: #e0584f; font-weight: bold")
        layout.addWidget(self._error_label)
        self.set_value(self._value)

    @property
    def value(self) -> Config:
        """The configuration the fields say, or the last valid one while :attr:`error` is not empty."""
        return self._value

    def names(self) -> list[str]:
        """Return the names of the fields that have a widget."""
        return list(self._fields)

    def field(self, name: str) -> Field:
        """Return the field called ``name``."""
        return self._fields[name]

    def set_value(self, config: Config) -> None:
        """Show ``config``; emits nothing."""
        self._value = config
        for name, field in self._fields.items():
            field.blockSignals(True)
            field.set_value(getattr(config, name))
            field.blockSignals(False)
        self._say("")

    def _rows(self, names: Sequence[str]) -> QFormLayout:
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name in names:
            info = self._class.model_fields[name]
            field = make_field(name, info)
            if field is None:
                continue
            field.setObjectName(f"field-{name}")
            label = QLabel((info.title or name.replace("_", " ")).strip())
            label.setBuddy(field)
            for widget in (label, field):
                widget.setToolTip(info.description or "")
            field.edited.connect(self._on_edited)
            self._fields[name] = field
            rows.addRow(label, field)
        return rows

    def _add_fold(self, layout: QVBoxLayout, more: Sequence[str]) -> None:
        inner = QWidget()
        inner.setLayout(self._rows(more))
        self.more_fold = fold("More", inner, "form-more")
        layout.addWidget(self.more_fold)

    def _on_edited(self) -> None:
        values = {name: getattr(self._value, name) for name in self._class.model_fields}
        try:
            said = {name: field.value() for name, field in self._fields.items()}
            config = self._class.model_validate(values | said)
        except ValidationError as error:
            self._say(explain(error))
            return
        except ValueError as error:
            self._say(str(error))
            return
        self._say("")
        if config != self._value:
            self._value = config
            self.changed.emit(config)

    def _say(self, sentence: str) -> None:
        self.error = sentence
        self._error_label.setText(f"✖ {sentence}")
        self._error_label.setVisible(bool(sentence))
        self._error_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
