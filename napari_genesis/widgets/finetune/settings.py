"""The settings of a fine-tuning as widgets: what it begins with, where and how long it runs, the rest under "More"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLineEdit

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.workflows.finetune_config import FINETUNE_PRESETS, FinetuneConfig
from napari_genesis.devices import Device
from napari_genesis.widgets.config_groups import ConfigGroups
from napari_genesis.widgets.models import ModelPicker
from napari_genesis.widgets.shared import Store
from napari_genesis.widgets.sizes import NetworkSizes
from napari_genesis.widgets.training_rows import BudgetRow, DeviceRow, narrow

if TYPE_CHECKING:
    from genesis3d.data.targets import TargetData

__all__ = ["DEFAULT", "FinetuneSettings"]

DEFAULT = FINETUNE_PRESETS["quick"].replaced(minutes=5)
SIZES = {"S": FINETUNE_PRESETS["quick"].network, "M": FINETUNE_PRESETS["default"].network}
MODEL, SCRATCH = "model", "scratch"
BEGINNINGS = {MODEL: "a model", SCRATCH: "nothing: random weights (small)"}
# What the dock shows by other means; a training from the dock is one process, and its scan keeps its own grid.
ELSEWHERE = {"schema_version", "classified", "model", "network", "task.name", "steps", "minutes", "device", "precision",
             "strategy", "data.images", "data.labels", "data.dataset", "data.classes", "data.unlabelled",
             "data.spacing", "data.channels", "data.label_suffix"}  # fmt: skip


class FinetuneSettings(QObject):
    """Rows for the settings that matter, and ``more``, a widget for the others.

    Signals
    -------
    changed() : :meth:`config` gives something else
    """

    changed = Signal()

    def __init__(self, rows: QFormLayout, store: Store, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows = rows
        self.begin = narrow(QComboBox(objectName="begin-with"))
        for key, text in BEGINNINGS.items():
            self.begin.addItem(text, key)
        self.begin.setToolTip("a model that knows such scans needs fewer labels than one that begins with nothing")
        self.models = ModelPicker(store, viewer)
        self.network = NetworkSizes(SIZES)
        self.name = QLineEdit(objectName="run-name", placeholderText="run-01")
        self.name.setToolTip("name of the run's folder; leave empty for a number.  No patient's name, please.")
        self.place = DeviceRow(FinetuneConfig.model_fields["precision"].description or "")
        self.budget = BudgetRow(most_minutes=120, steps=300)
        self.more = ConfigGroups(DEFAULT, ELSEWHERE)
        rows.addRow("Begin with", self.begin)
        rows.addRow(self.models)
        rows.addRow("Network", self.network)
        rows.addRow("Name", self.name)
        rows.addRow("Device", self.place)
        rows.addRow("Budget", self.budget)
        self.set_config(DEFAULT)
        self.begin.setCurrentIndex(0 if self.models.entries() else 1)
        self._on_begin()
        self.begin.currentIndexChanged.connect(self._on_begin)
        for signal in (self.models.changed, self.network.picked, self.place.changed, self.budget.changed,
                       self.more.changed):  # fmt: skip
            signal.connect(self._tell)

    @property
    def from_model(self) -> bool:
        """Whether a training begins with a model."""
        return self.begin.currentData() == MODEL

    def config(self, data: TargetData | None = None) -> FinetuneConfig:
        """Return the configuration, on ``data`` as far as files are concerned; raises ConfigError."""
        if self.from_model and self.models.path is None:
            raise ConfigError("choose a model to begin with, or begin with nothing")
        config: FinetuneConfig = self.more.value()
        model = str(self.models.path) if self.from_model else None
        shown = config.data
        if data is not None:
            shown = data.replaced(intensity=shown.intensity, split=shown.split, ignore=shown.ignore)
        row = {**self.place.values(), **self.budget.values()}
        return config.replaced(data=shown, model=model, network=self.network.value(), **row)

    def set_config(self, config: FinetuneConfig) -> None:
        """Show ``config``, its starting model too where it can be found; emits nothing."""
        self.blockSignals(True)
        self.more.set_value(config)
        self.network.set_value(config.network)
        if config.model is not None:
            self.models.set_path(config.model)
        self.begin.setCurrentIndex(self.begin.findData(SCRATCH if config.model is None else MODEL))
        self.place.set_values(config.device, config.precision)
        self.budget.set_values(config.steps, config.minutes)
        self.blockSignals(False)
        self._on_begin()

    def begin_with(self, model: Path) -> None:
        """Begin the next training with ``model``, a run or file."""
        self.models.refresh()
        self.models.set_path(model)
        self.begin.setCurrentIndex(self.begin.findData(MODEL))

    def remember(self, store: Store) -> None:
        """Keep the settings; raises ConfigError when they do not fit together."""
        store.put("config", self.config().to_dict())

    def recall(self, store: Store) -> None:
        """Show the settings kept; those of another version are forgotten."""
        values = store.get("config")
        if isinstance(values, dict):
            try:
                self.set_config(FinetuneConfig.parse(values))
            except GenesisError:
                store.clear()

    def set_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found."""
        self.place.set_devices(devices)

    def sentence(self) -> str:
        """Return how long and where: ``5 min on CPU, 1 core``."""
        return f"{self.budget.sentence()} on {self.place.sentence(self.more.value().threads)}"

    def _on_begin(self, *_: object) -> None:
        self._rows.setRowVisible(self.models, self.from_model)
        self._rows.setRowVisible(self.network, not self.from_model)
        self._tell()

    def _tell(self, *_: object) -> None:
        self.changed.emit()
