"""Choosing a restoration model: the runs of the Pre-train dock, and model files opened by hand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from genesis3d.networks.model_file import read_card
from genesis3d.training.rundir import list_runs
from napari_genesis.widgets.shared import runs_folder

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard
    from napari_genesis.widgets.shared import Store

__all__ = ["ModelPicker", "describe_card", "model_name"]

EMPTY = "No model yet: pre-train one in the Pre-train dock, or open a model file."
MOST_FILES = 12


def model_name(path: Path) -> str:
    """Return what layers and lists call the model: the run's folder or the file, without its suffix."""
    return path.name.removesuffix(".safetensors")


def describe_card(card: ModelCard) -> str:
    """Return a model's card in two or three short lines."""
    network, size = card.network, card.network.parameters()
    width = getattr(network, "width", None)
    facts = [f"{network.name}{f', width {width}' if width else ''}, {size / 1e6:.1f} M parameters"]
    if card.step is not None:
        facts.append(f"{card.step:,} steps")
    if "ratio" in card.metrics and card.metrics.get("measured_at_step", card.step) == card.step:
        facts.append(f"error {card.metrics['ratio']:.2f} of a constant's")
    scans = [_intensity(card)]
    if card.spacing is not None:
        scans.append(" x ".join(f"{s:.2f}" for s in reversed(card.spacing)) + " mm")
    lines = [" · ".join(facts), " · ".join(scans), card.licence[:120]]
    return "\n".join(line for line in lines if line)


class _Combo(QComboBox):
    """A combo that says when it is about to open."""

    opening = Signal()

    def showPopup(self) -> None:  # Qt's name
        """Open the list, brought up to date first."""
        self.opening.emit()
        super().showPopup()


class ModelPicker(QWidget):
    """A combo of models with the picked one's card below.

    Signals
    -------
    changed(object) : the path picked, or None
    """

    changed = Signal(object)

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._paths: list[Path] = []
        self._picked: Path | None = None
        self.card: ModelCard | None = None
        self.error = ""
        self.combo = _Combo(objectName="model-combo")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.info = QLabel(objectName="model-info", wordWrap=True)
        font = self.info.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.85))
        self.info.setFont(font)
        self.browse = QToolButton(objectName="model-browse", text="…", toolTip="open a model file (.safetensors)")
        row = QHBoxLayout()
        row.addWidget(self.combo, 1)
        row.addWidget(self.browse)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.info)
        self.setFocusProxy(self.combo)
        self.combo.opening.connect(self.refresh)
        self.combo.currentIndexChanged.connect(self._on_index)
        self.browse.clicked.connect(self._on_browse)
        self.refresh()

    @property
    def path(self) -> Path | None:
        """The run or file picked, or None."""
        return self._picked

    def set_path(self, path: str | Path) -> None:
        """Pick a run or file; a file is remembered."""
        path = Path(path)
        if path not in self._paths:
            kept = [str(path), *(name for name in self._store.get("models", []) if name != str(path))]
            self._store.put("models", kept[:MOST_FILES])
            self.refresh()
        if path in self._paths:
            self.combo.setCurrentIndex(self._paths.index(path))

    def refresh(self) -> None:
        """Look for models anew; the picked one stays picked while it exists."""
        opened = [Path(name) for name in self._store.get("models", []) if Path(name).exists()]
        runs = [run.path for run in list_runs(runs_folder()) if _has_weights(run.path)]
        self._paths = runs + [path for path in opened if path not in runs]
        wanted = self._picked if self._picked in self._paths else next(iter(self._paths), None)
        self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([model_name(path) for path in self._paths])
        self.combo.setCurrentIndex(self._paths.index(wanted) if wanted is not None else -1)
        self.combo.blockSignals(False)
        self.combo.setEnabled(bool(self._paths))
        self._pick(wanted)

    def _on_index(self, index: int) -> None:
        self._pick(self._paths[index] if 0 <= index < len(self._paths) else None)

    def _pick(self, path: Path | None) -> None:
        self.card, self.error = None, ""
        if path is not None:
            try:
                self.card = read_card(path)  # the header alone: a run in progress gets better while we look
            except GenesisError as error:
                self.error = str(error)
        self.info.setText(describe_card(self.card) if self.card else self.error or EMPTY)
        if path != self._picked:
            self._picked = path
            self.changed.emit(path)

    def _on_browse(self) -> None:
        name, _kind = QFileDialog.getOpenFileName(self, "Open a model", "", "Models (*.safetensors)")
        if name:
            self.set_path(name)


def _intensity(card: ModelCard) -> str:
    """Say which values the model knows: ``CT, -1000 to 1000 HU``, ``percentile 0.5 to 99.5``."""
    values = card.intensity.to_dict()
    name, unit = ("CT,", " HU") if card.intensity.name == "ct" else (card.intensity.name, "")
    return f"{name} {values['low']:g} to {values['high']:g}{unit}" if {"low", "high"} <= set(values) else name


def _has_weights(run: Path) -> bool:
    return any((run / "checkpoints" / name).is_file() for name in ("best.safetensors", "last.safetensors"))
