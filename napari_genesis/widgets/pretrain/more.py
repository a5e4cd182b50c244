"""The further settings of a pre-training: every field of its configuration that has no widget of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.config_groups import ConfigGroups
from napari_genesis.widgets.model_entries import list_entries
from napari_genesis.widgets.parts import side_by_side
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


class MoreSettings(ConfigGroups):
    """Start model and intensity, then every other field."""

    def __init__(self, value: PretrainConfig, intensity: QWidget) -> None:
        super().__init__(value, ELSEWHERE)
        self.start = StartPicker()
        self.start.picked.connect(self.changed)
        self.column.insertWidget(0, side_by_side(QLabel("intensity"), intensity, (0, 1)))
        self.column.insertWidget(1, side_by_side(QLabel("start from"), self.start, (0, 1)))

    @property
    def threads(self) -> int | None:
        """Processor threads, if given."""
        return self.loose.value.threads

    def config(self, **others: Any) -> PretrainConfig:
        """Return the configuration with ``others`` in it; raises ConfigError when they do not fit together."""
        return self.value().replaced(start=self.start.value(), **others)

    def set_config(self, config: PretrainConfig) -> None:
        """Show ``config``; emits nothing.  A nested configuration of another class than shown is kept as it is."""
        self.set_value(config)
        self.start.set_value(config.start)
