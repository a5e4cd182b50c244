"""All fields of a configuration that no other widget shows: simple ones in a form, nested ones each under a fold."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from genesis3d.config import Config
from napari_genesis.fields import make_field
from napari_genesis.forms import ConfigForm
from napari_genesis.widgets.parts import fold

__all__ = ["ConfigGroups"]


class ConfigGroups(QWidget):
    """New fields appear by themselves.

    Parameters
    ----------
    value : the configuration to begin with
    elsewhere : names shown by other means; ``data.classes`` is the field ``classes`` of the group ``data``

    Signals
    -------
    changed() : a person changed a field
    """

    changed = Signal()

    def __init__(self, value: Config, elsewhere: Collection[str]) -> None:
        super().__init__()
        self._elsewhere = frozenset(elsewhere)
        self.folds: dict[str, QWidget] = {}
        self.groups: dict[str, ConfigForm] = {}
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.loose = self._form("", value)
        self.column.addWidget(self.loose)
        self._add_groups("", value, self.column)

    def value(self) -> Any:
        """Return the configuration as the fields say, what is shown elsewhere as last set."""
        return self._value("", self.loose.value)

    def set_value(self, config: Config) -> None:
        """Show ``config``; emits nothing.  A nested configuration of another class than shown is kept as it is."""
        self.loose.set_value(config)
        for path, form in self.groups.items():
            settings = _at(config, path)
            fits = type(form.value) is type(settings)
            self.folds[path].setVisible(fits)
            if fits:
                form.set_value(settings)

    def _value(self, prefix: str, config: Any) -> Any:
        nested = {}
        for name in _nested(config):
            path = f"{prefix}{name}"
            form = self.groups.get(path)
            if form is not None and type(form.value) is type(getattr(config, name)):
                nested[name] = self._value(f"{path}.", form.value)
        return config.replaced(**nested) if nested else config

    def _form(self, prefix: str, config: Config) -> ConfigForm:
        fields = type(config).model_fields
        names = [name for name, info in fields.items()
                 if f"{prefix}{name}" not in self._elsewhere and make_field(name, info) is not None]  # fmt: skip
        form = ConfigForm(type(config), fields=names, value=config)
        form.changed.connect(self._tell)
        return form

    def _add_groups(self, prefix: str, config: Config, column: QVBoxLayout) -> None:
        for name in _nested(config):
            path = f"{prefix}{name}"
            if path in self._elsewhere:
                continue
            settings = getattr(config, name)
            inside = QWidget()
            inner = QVBoxLayout(inside)
            inner.setContentsMargins(8 if prefix else 0, 0, 0, 0)
            self.groups[path] = self._form(f"{path}.", settings)
            inner.addWidget(self.groups[path])
            self._add_groups(f"{path}.", settings, inner)
            self.folds[path] = fold(name.replace("_", " "), inside, f"group-{path}")
            self.folds[path].setToolTip(type(config).model_fields[name].description or "")
            column.addWidget(self.folds[path])

    def _tell(self, _: object) -> None:
        self.changed.emit()


def _nested(config: Any) -> list[str]:
    return [name for name in type(config).model_fields if isinstance(getattr(config, name), Config)]


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = getattr(config, name, None)
    return config
