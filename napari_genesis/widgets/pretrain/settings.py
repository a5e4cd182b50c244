"""The settings of a pre-training as widgets: size, chain, device, precision, budget, and the rest under "More"."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QLabeledSlider

from genesis3d.errors import GenesisError
from genesis3d.intensity import INTENSITIES, Intensity
from genesis3d.transforms import Chain, chain_preset
from genesis3d.workflows.pretrain_config import PRETRAIN_PRESETS, PretrainConfig
from napari_genesis.devices import Device
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.run_files import training_threads
from napari_genesis.widgets.parts import side_by_side
from napari_genesis.widgets.pretrain.chain_combo import FROM_FILE, FROM_PREVIEW, ChainCombo
from napari_genesis.widgets.pretrain.inputs import training_memory
from napari_genesis.widgets.pretrain.more import MoreSettings
from napari_genesis.widgets.pretrain.sizes import NetworkSizes
from napari_genesis.widgets.shared import Store, current_chain
from napari_genesis.widgets.status import memory

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
        self._devices: tuple[Device, ...] = ()
        self._make_widgets()
        rows.addRow("Preset", self.preset)
        rows.addRow("Name", self.name)
        rows.addRow("Network", self.network)
        rows.addRow("", self.facts)
        rows.addRow("Chain", self.chain)
        rows.addRow("Device", side_by_side(self.device, self.precision, (4, 5)))
        rows.addRow("Budget", self._budget())
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
            device=self.device.currentData() or "auto",
            precision=self.precision.currentData(),
            intensity=intensity,
            steps=self.steps.value() if self.by_steps.isChecked() else None,
            minutes=None if self.by_steps.isChecked() else float(self.minutes.value()),
        )

    def set_config(self, config: PretrainConfig) -> None:
        """Show ``config``; emits nothing."""
        self.blockSignals(True)
        self.more.set_config(config)
        self.network.set_value(config.network)
        self._intensity = config.intensity
        self._set_chain(config.chain, self.chain.name_of(config.chain))
        self._choose_device(config.device)
        self.precision.setCurrentIndex(self.precision.findData(config.precision))
        names = INTENSITIES.names()
        self.intensity.setCurrentIndex(0 if config.intensity is None else 1 + names.index(config.intensity.name))
        self.by_steps.setChecked(config.steps is not None)
        self.by_minutes.setChecked(config.steps is None)
        if config.steps is not None:
            self.steps.setValue(config.steps)
        if config.minutes is not None:
            self.minutes.setValue(round(config.minutes))
        self.blockSignals(False)
        self._tell()

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
        chosen = self.device.currentData() or "auto"
        self._devices = devices
        self.device.blockSignals(True)
        self.device.clear()
        self.device.addItem("auto", "auto")
        for device in devices:
            room = f", {memory(device.memory)}" if device.memory else ""
            self.device.addItem(f"{device.name} ({device.label}{room})" if device.name != "cpu" else "cpu", device.name)
        self.device.blockSignals(False)
        self._choose_device(chosen)
        self._tell()

    def device_sentence(self) -> str:
        """Return where the training will run: ``CPU, 1 core`` or ``cuda:0``."""
        chosen = self.device.currentData() or "auto"
        if chosen == "auto":
            chosen = next((d.name for d in self._devices if d.name != "cpu"), "cpu")
        cores = self.more.threads or training_threads()
        return f"CPU, {cores} core{'s' * (cores != 1)}" if chosen == "cpu" else chosen

    def budget_sentence(self) -> str:
        """Return ``10 min`` or ``500 steps``."""
        return f"{self.steps.value()} steps" if self.by_steps.isChecked() else f"{self.minutes.value()} min"

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
        self.device = QComboBox(objectName="device")
        self.device.addItem("auto", "auto")
        self.device.setToolTip("where to train; auto takes a GPU where torch finds one")
        self.device.currentIndexChanged.connect(self._tell)
        self.precision = QComboBox(objectName="precision")
        for name, label in (("auto", "auto precision"), ("32", "32 bit"), ("bf16", "bfloat16")):
            self.precision.addItem(label, name)
        self.precision.setToolTip(PretrainConfig.model_fields["precision"].description or "")
        self.precision.currentIndexChanged.connect(self._tell)
        self.intensity = QComboBox(objectName="intensity")
        self.intensity.addItems(["by modality", *(n for n in INTENSITIES.names() if n != "window")])
        self.intensity.setToolTip(PretrainConfig.model_fields["intensity"].description or "")
        self.intensity.currentIndexChanged.connect(self._tell)
        for combo in (self.preset, self.device, self.precision, self.intensity):
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.setMinimumContentsLength(6)
            wheel_needs_focus(combo)

    def _budget(self) -> QWidget:
        self.by_minutes = QRadioButton("minutes", objectName="by-minutes", checked=True)
        self.by_steps = QRadioButton("steps", objectName="by-steps")
        self._units = QButtonGroup(self)
        for button in (self.by_minutes, self.by_steps):
            self._units.addButton(button)
        self.minutes = QLabeledSlider(Qt.Orientation.Horizontal, objectName="minutes")
        self.minutes.setRange(1, 240)
        self.steps = QSpinBox(objectName="steps")
        self.steps.setRange(1, 100_000_000)
        self.steps.setValue(500)
        self.steps.setKeyboardTracking(False)
        wheel_needs_focus(self.steps)
        self.minutes.valueChanged.connect(self._on_minutes)
        self.steps.valueChanged.connect(self._on_steps)
        self.by_steps.toggled.connect(self._tell)
        box = QWidget()
        column = QVBoxLayout(box)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(side_by_side(self.by_minutes, self.minutes, (0, 1)))
        column.addWidget(side_by_side(self.by_steps, self.steps, (0, 1)))
        return box

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

    def _on_minutes(self, *_: object) -> None:
        self.by_minutes.setChecked(True)
        self._tell()

    def _on_steps(self, *_: object) -> None:
        self.by_steps.setChecked(True)
        self._tell()

    def _choose_device(self, name: str) -> None:
        index = self.device.findData(name)
        if index < 0:
            self.device.addItem(name, name)
            index = self.device.count() - 1
        self.device.setCurrentIndex(index)

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
