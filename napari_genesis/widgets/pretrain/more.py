"""The further settings of a pre-training: every field of its configuration that has no widget of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from genesis3d.config import Config
from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis.fields import make_field, wheel_needs_focus
from napari_genesis.forms import ConfigForm
from napari_genesis.widgets.model_entries import list_entries
from napari_genesis.widgets.parts import fold, side_by_side
from napari_genesis.widgets.shared import runs_folder

__all__ = ["MoreSettings", "StartPicker"]

# What the dock shows by other means; and a training from the dock is one process, which needs no strategy.
ELSEWHERE = {"schema_version", "cases", "intensity", "chain", "network", "start", "steps", "minutes", "device",
             "precision", "strategy"}  # fmt: skip
SCRATCH = "random weights"


class StartPicker(QComboBox):
    """The model whose weights a new run begins with, or none."""

    picked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("start-model")
        self.setToolTip("the weights that a new run begins with: random, or those of a model of the same network")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(10)
        wheel_needs_focus(self)
        self.refresh(None)
        self.currentIndexChanged.connect(self._tell)

    def value(self) -> str | None:
        """Return the model's library name or path; None for random weights."""
        return self.currentData()

    def set_value(self, start: str | None) -> None:
        """Show ``start``; emits nothing."""
        self.blockSignals(True)
        self.refresh(start)
        self.blockSignals(False)

    def refresh(self, start: str | None) -> None:
        """List the models anew, ``start`` chosen."""
        self.clear()
        self.addItem(SCRATCH, None)
        for entry in list_entries(runs_folder(), ()):
            self.addItem(entry.label, entry.key)
        if start is not None and self.findData(start) < 0:
            self.addItem(Path(start).name.removesuffix(".safetensors"), start)
        self.setCurrentIndex(0 if start is None else self.findData(start))

    def showPopup(self) -> None:  # Qt's name
        """Open the list, brought up to date first."""
        self.set_value(self.value())
        super().showPopup()

    def _tell(self, _: int) -> None:
        self.picked.emit()


class MoreSettings(QWidget):
    """The simple fields in one form, each nested configuration under a fold of its own: new ones appear by themselves.

    Signals
    -------
    changed() : a person changed a field
    """

    changed = Signal()

    def __init__(self, value: PretrainConfig, intensity: QWidget) -> None:
        super().__init__()
        self.start = StartPicker()
        self.start.picked.connect(self.changed)
        fields = {name: info for name, info in PretrainConfig.model_fields.items() if name not in ELSEWHERE}
        loose = [name for name, info in fields.items() if make_field(name, info) is not None]
        self.loose = ConfigForm(PretrainConfig, fields=loose, value=value)
        self.groups: dict[str, ConfigForm] = {}
        self.folds: dict[str, QWidget] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(side_by_side(QLabel("intensity"), intensity, (0, 1)))
        column.addWidget(side_by_side(QLabel("start from"), self.start, (0, 1)))
        column.addWidget(self.loose)
        self.loose.changed.connect(self._tell)
        for name in fields:
            settings = getattr(value, name)
            if isinstance(settings, Config):
                self._add_group(name, settings, fields[name].description or "")

    @property
    def threads(self) -> int | None:
        """Processor threads, if given."""
        return self.loose.value.threads

    def config(self, **others: Any) -> PretrainConfig:
        """Return the configuration with ``others`` in it; raises ConfigError when they do not fit together."""
        kept: PretrainConfig = self.loose.value
        groups = {name: form.value for name, form in self.groups.items() if _same_class(form, getattr(kept, name))}
        return kept.replaced(**groups, start=self.start.value(), **others)

    def set_config(self, config: PretrainConfig) -> None:
        """Show ``config``; emits nothing.  A nested configuration of another class than shown is kept as it is."""
        self.loose.set_value(config)
        self.start.set_value(config.start)
        for name, form in self.groups.items():
            fits = _same_class(form, getattr(config, name))
            self.folds[name].setVisible(fits)
            if fits:
                form.set_value(getattr(config, name))

    def _add_group(self, name: str, settings: Config, description: str) -> None:
        form = ConfigForm(type(settings), value=settings)
        form.changed.connect(self._tell)
        self.groups[name] = form
        self.folds[name] = fold(name.replace("_", " "), form, f"group-{name}")
        self.folds[name].setToolTip(description)
        self.layout().addWidget(self.folds[name])

    def _tell(self, _: object) -> None:
        self.changed.emit()


def _same_class(form: ConfigForm, settings: Any) -> bool:
    return type(form.value) is type(settings)
