"""Where the sub-volume comes from: the box in the scan, or a pre-training's own sampler."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.preview.training import Training, TrainingLoader, read_config
from napari_genesis.widgets.shared import current_pretrain_config

__all__ = ["SourcePanel"]

BOX, DOCK, RUN = "the box in the scan", "as training: Pre-train dock", "as training: a run ..."


class SourcePanel(QWidget):
    """A combo of the sources, and one line about the training chosen."""

    changed = Signal(object)  # Training, or None for the box
    failed = Signal(str)
    started = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.combo = QComboBox()
        self.combo.setObjectName("source")
        self.combo.addItems([BOX, DOCK, RUN])
        self.combo.setToolTip("a box placed by hand, or what a training draws at seed, step and slot")
        self.combo.activated.connect(self._on_activated)
        wheel_needs_focus(self.combo)
        self.info = QLabel(objectName="source-info", wordWrap=True, visible=False)
        self.info.setStyleSheet("font-size: 8pt")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.combo)
        layout.addWidget(self.info)
        self._loader = TrainingLoader(self)
        self._loader.ready.connect(self._on_ready)
        self._loader.failed.connect(self._on_failed)
        self._loader.started.connect(self.started)

    def use_box(self) -> None:
        """Go back to the box in the scan."""
        self._loader.close()
        self.combo.setCurrentIndex(0)
        self.say("")
        self.changed.emit(None)

    def use_training(self, config: Any) -> None:
        """Show what the training of ``config`` (a PretrainConfig) sees, once its scans are read."""
        self.say("reading the scans of the training ...")
        self._loader.load(config)

    def use_run(self, path: str) -> None:
        """Show what a run (folder or config.json) saw."""
        try:
            config = read_config(path)
        except GenesisError as error:
            self._on_failed(str(error))
            return
        self.combo.setCurrentIndex(2)
        self.use_training(config)

    def use_dock(self) -> None:
        """Show what the Pre-train dock's configuration will see."""
        try:
            config = current_pretrain_config()
        except GenesisError as error:
            self._on_failed(str(error))
            return
        if config is None:
            self._on_failed("as training: expected the Pre-train dock to be open; open it, or choose a run")
            return
        self.combo.setCurrentIndex(1)
        self.use_training(config)

    def say(self, text: str) -> None:
        """Show one line under the combo; empty hides it."""
        self.info.setText(text)
        self.info.setVisible(bool(text))

    def close(self) -> None:
        """Give up what is being read."""
        self._loader.close()

    def _on_activated(self, index: int) -> None:
        if index == 0:
            self.use_box()
        elif index == 1:
            self.use_dock()
        else:
            path, _ = QFileDialog.getOpenFileName(self, "A run's configuration", "", "Run (config.json);;All (*)")
            self.use_run(path) if path else self.use_box()

    def _on_ready(self, training: Training) -> None:
        self.changed.emit(training)

    def _on_failed(self, sentence: str) -> None:
        self.use_box()
        self.failed.emit(sentence)
