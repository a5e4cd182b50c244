"""The settings of a pre-training as widgets: size, chain, device, precision, budget, and the rest under "More"."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
)

from genesis3d.errors import GenesisError
from genesis3d.intensity import INTENSITIES, Intensity
from genesis3d.transforms import Chain, chain_preset
from genesis3d.workflows.pretrain_config import PRETRAIN_PRESETS, PretrainConfig
from napari_genesis.devices import Device
from napari_genesis.widgets.pretrain.chain_combo import FROM_FILE, FROM_PREVIEW, ChainCombo
from napari_genesis.widgets.pretrain.inputs import training_memory
from napari_genesis.widgets.pretrain.more import MoreSettings
from napari_genesis.widgets.shared import Store, current_chain
from napari_genesis.widgets.sizes import NetworkSizes
from napari_genesis.widgets.status import memory
from napari_genesis.widgets.training_rows import BudgetRow, DeviceRow, narrow

__all__ = ["DEFAULT", "PretrainSettings"]

DEFAULT = PRETRAIN_PRESETS["quick"]
# What may differ from a preset without it being another: where and on what it runs.
INCIDENTAL = ("cases", "device", "precision", "threads", "seed", "start", "licence")


class PretrainSettings(QObject):
    """Rows for the settings that matter, and ``more``, a widget for the others.

    Signals
    -------
    changed() : :meth:`config` gives something else
    failed(str) : a sentence about a file that could not be taken
    """

    changed = Signal()
    failed = Signal(str)

    def __init__(self, rows: QFormLayout, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._chain: Chain = DEFAULT.chain
        self._intensity: Intensity | None = None
        self._make_widgets()
        rows.addRow("Preset", self.preset)
        rows.addRow("Name", self.name)
        rows.addRow("Network", self.network)
        rows.addRow("", self.facts)
        rows.addRow("Chain", self.chain)
        rows.addRow("Device", self.place)
        rows.addRow("Budget", self.budget)
        self.more = MoreSettings(DEFAULT, self.intensity)
        self.more.changed.connect(self._tell)
        self.set_config(DEFAULT)

    def config(self, cases: tuple[str, ...] = ()) -> PretrainConfig:
        """Return the configuration; raises ConfigError when the settings do not fit together."""
        intensity = self.intensity.currentText()
        if self.intensity.currentIndex() == 0:
            intensity = None
        elif self._intensity is not None and self._intensity.name == intensity:
            intensity = self._intensity
        given = {"cases": cases} if cases else {}
        return self.more.config(
            **given,
            network=self.network.value(),
            chain=self._chain_now(),
            intensity=intensity,
            **self.place.values(),
            **self.budget.values(),
        )

    def set_config(self, config: PretrainConfig) -> None:
        """Show ``config``; emits nothing."""
        self.blockSignals(True)
        self.more.set_config(config)
        self.network.set_value(config.network)
        self._intensity = config.intensity
        self._set_chain(config.chain, self.chain.name_of(config.chain))
        self.place.set_values(config.device, config.precision)
        self._show_intensity()
        self.budget.set_values(config.steps, config.minutes)
        self.blockSignals(False)
        self._tell()

    def _show_intensity(self) -> None:
        """Choose the intensity; a window, which has values of its own, is offered while it is the one."""
        if self._intensity is None:
            self.intensity.setCurrentIndex(0)
            return
        if self.intensity.findText(self._intensity.name) < 0:
            self.intensity.addItem(self._intensity.name)
        self.intensity.setCurrentText(self._intensity.name)

    def remember(self, store: Store) -> None:
        """Keep the settings; raises ConfigError when they do not fit together."""
        store.put("config", self.config().to_dict())

    def recall(self, store: Store) -> None:
        """Show the settings kept; those of another version are forgotten."""
        values = store.get("config")
        if isinstance(values, dict):
            try:
                self.set_config(PretrainConfig.parse(values | {"cases": []}))
            except GenesisError:
                store.clear()

    def set_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found."""
        self.place.set_devices(devices)

    def device_sentence(self) -> str:
        """Return where the training will run: ``CPU, 1 core`` or ``cuda:0``."""
        return self.place.sentence(self.more.threads)

    def budget_sentence(self) -> str:
        """Return ``10 min`` or ``500 steps``."""
        return self.budget.sentence()

    # widgets

    def _make_widgets(self) -> None:
        self.preset = QComboBox(objectName="preset")
        self.preset.addItems([*PRETRAIN_PRESETS, "own settings"])
        self.preset.setToolTip("all settings at once: those of the paper, of the published code, or for minutes")
        self.preset.activated.connect(self._on_preset)
        self.network = NetworkSizes()
        self.network.picked.connect(self._tell)
        self.name = QLineEdit(objectName="run-name", placeholderText="run-01")
        self.name.setToolTip("name of the run's folder; leave empty for a number.  No patient's name, please.")
        self.facts = QLabel(objectName="network-facts", wordWrap=True)
        self.facts.setStyleSheet("font-size: 8pt")
        self.chain = ChainCombo()
        self.chain.activated.connect(self._on_chain)
        self.place = DeviceRow(PretrainConfig.model_fields["precision"].description or "")
        self.place.changed.connect(self._tell)
        self.device, self.precision = self.place.device, self.place.precision
        self.budget = BudgetRow()
        self.budget.changed.connect(self._tell)
        self.by_steps, self.minutes, self.steps = self.budget.by_steps, self.budget.minutes, self.budget.steps
        self.intensity = QComboBox(objectName="intensity")
        self.intensity.addItems(["by modality", *(n for n in INTENSITIES.names() if n != "window")])
        self.intensity.setToolTip(PretrainConfig.model_fields["intensity"].description or "")
        self.intensity.currentIndexChanged.connect(self._tell)
        for combo in (self.preset, self.intensity):
            narrow(combo)

    # behaviour

    def _tell(self, *_: object) -> None:
        if not hasattr(self, "more"):
            return
        try:
            config = self.config()
        except GenesisError:
            return
        self.preset.setCurrentIndex(_preset_of(config))
        self.facts.setText(
            f"{config.network.parameters() / 1e6:.1f} million parameters, "
            f"about {memory(training_memory(config))} while training"
        )
        self.changed.emit()

    def _on_preset(self, *_: object) -> None:
        preset = PRETRAIN_PRESETS.get(self.preset.currentText())
        if preset is None:
            self._tell()
            return
        now = self.more.config()
        self.set_config(preset.replaced(device=self.device.currentData() or "auto", threads=now.threads))
        self.changed.emit()

    def _on_chain(self, *_: object) -> None:
        choice = self.chain.choice()
        if choice == FROM_FILE:
            path, _filter = QFileDialog.getOpenFileName(None, "Chain of transformations", "", "YAML (*.yaml *.yml)")
            self.load_chain(path)
        elif choice == FROM_PREVIEW:
            chain = current_chain()
            if chain is None:
                self.failed.emit("open the Preview dock first: its chain is then taken from there")
            self._set_chain(
                chain or self._chain, FROM_PREVIEW if chain is not None else self.chain.name_of(self._chain)
            )
        else:
            self._set_chain(chain_preset(choice), choice)
        self._tell()

    def load_chain(self, path: str) -> None:
        """Take the chain of a YAML file, as the Preview dock saves it."""
        try:
            if path:
                self._set_chain(Chain.from_yaml(path), Path(path).name)
                self._tell()
                return
        except GenesisError as error:
            self.failed.emit(str(error))
        self._set_chain(self._chain, self.chain.name_of(self._chain))

    def _chain_now(self) -> Chain:
        """The chain chosen; that of the Preview dock as it stands at this moment."""
        if self.chain.choice() == FROM_PREVIEW:
            self._chain = current_chain() or self._chain
        return self._chain

    def _set_chain(self, chain: Chain, name: str) -> None:
        self._chain = chain
        self.chain.choose(name)


def _preset_of(config: PretrainConfig) -> int:
    """Return the index of the preset that ``config`` is, but for what is incidental; else one past the last."""
    incidental = {name: getattr(config, name) for name in INCIDENTAL}
    for index, preset in enumerate(PRETRAIN_PRESETS.values()):
        if preset.replaced(**incidental) == config:
            return index
    return len(PRETRAIN_PRESETS)
