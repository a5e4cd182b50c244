"""The versions of a fine-tuned model: one kept before each round of corrections, and the best so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from genesis3d.errors import GenesisError
from genesis3d.training.rundir import RunDir
from napari_genesis.widgets.model_dialogs import ImportDialog
from napari_genesis.widgets.model_entries import suggested_name

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard

__all__ = ["Version", "VersionList", "labelled_voxels", "versions_of"]

NOW = "now"


@dataclass(frozen=True)
class Version:
    """One model of a run: ``name`` is its number, or ``now`` for the best so far.

    ``figures`` are those on the labels as they are now, so that versions can be compared.
    """

    name: str
    path: Path
    card: ModelCard
    figures: dict[str, float]

    @property
    def dice(self) -> dict[str, float]:
        """Dice on what was held out by class, the mean first under an empty name."""
        told = self.figures.items()
        found = {name[4:].removeprefix("_"): value for name, value in told if name == "dice" or name[:5] == "dice_"}
        return dict(sorted(found.items()))


def versions_of(run: Path) -> list[Version]:
    """Return the versions in ``run``, oldest first, then the best so far; one that cannot be read is left out."""
    from genesis3d.networks.model_file import read_card
    from genesis3d.training.versions import read_versions

    measured = {str(item.get("version")): item.get("figures_now") for item in read_versions(RunDir(run))}
    folder = run / "checkpoints"
    numbered = [(str(int(path.stem[-3:])), path) for path in sorted(folder.glob("version-[0-9][0-9][0-9].safetensors"))]
    best = next((path for name in ("best", "last") if (path := folder / f"{name}.safetensors").is_file()), None)
    found = []
    for name, path in [*numbered, *([(NOW, best)] if best is not None else [])]:
        try:
            card = read_card(path)
            found.append(Version(name, path, card, measured.get(name) or dict(card.metrics)))
        except (GenesisError, OSError):
            continue
    return found


def labelled_voxels(card: ModelCard) -> int | None:
    """Return how many voxels of structures a model was given, as its card says it; the background does not count."""
    told = card.data.get("labelled_voxels")
    if not isinstance(told, dict):
        return None
    return sum(int(count) for name, count in told.items() if name != "background" and isinstance(count, int | float))


class VersionList(QWidget):
    """A table of the versions of one run: step, labels, Dice of each class.

    Signals
    -------
    applied(object), taken(object) : the :class:`Path` of the version to show on the scan, or to take as labels
    added(str) : the name under which a version entered the library
    """

    applied = Signal(object)
    taken = Signal(object)
    added = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Path | None = None
        self._stamp: tuple[object, ...] = ()
        self.versions: list[Version] = []
        self.table = QTableWidget(0, 0, objectName="version-table")
        self.table.verticalHeader().hide()
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.setFixedHeight(110)
        self.table.itemSelectionChanged.connect(self._update_buttons)
        self.table.itemDoubleClicked.connect(self._apply)
        self.apply_button = QPushButton("Show", objectName="version-apply", enabled=False)
        self.apply_button.setToolTip("predict the whole scan with this version, as a layer of its own")
        self.apply_button.clicked.connect(self._apply)
        self.take_button = QPushButton("Use as labels", objectName="version-take", enabled=False)
        self.take_button.setToolTip(
            "copy what Show found on the whole scan into the labels layer; Ctrl+Z takes it back"
        )
        self.take_button.clicked.connect(self._take)
        self.add_button = QPushButton("Add to library…", objectName="version-add", enabled=False)
        self.add_button.setToolTip("under a name of yours, for the Segment dock and for other trainings")
        self.add_button.clicked.connect(self.add_to_library)
        row = QGridLayout()
        for column, button in enumerate((self.apply_button, self.take_button, self.add_button)):
            row.addWidget(button, 0, column)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(row)

    def show_run(self, run: Path | None) -> None:
        """Show the versions of ``run``."""
        self._run = run
        self.refresh()

    def refresh(self) -> None:
        """Read the run anew where a model has changed; the selected version stays selected."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        chosen = self.selected()
        self.versions = [] if self._run is None else versions_of(self._run)
        names = list(dict.fromkeys(name for version in self.versions for name in version.dice if name))
        headers = ["version", "step", "labelled", "Dice", *names]
        self.table.setColumnCount(len(headers))
        self.table.setHorizontalHeaderLabels(headers)
        self.table.setRowCount(len(self.versions))
        for row, version in enumerate(self.versions):
            for column, text in enumerate(_cells(version, names)):
                self.table.setItem(row, column, QTableWidgetItem(text))
        kept = next((r for r, v in enumerate(self.versions) if chosen is not None and v.name == chosen.name), -1)
        if self.versions:
            self.table.selectRow(kept if kept >= 0 else len(self.versions) - 1)
        self._update_buttons()

    def selected(self) -> Version | None:
        """Return the selected version."""
        model = self.table.selectionModel()
        rows = model.selectedRows() if model is not None else []
        return self.versions[rows[0].row()] if rows and rows[0].row() < len(self.versions) else None

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Enter on the table shows the version; it does not start a training."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.table.hasFocus():
            self._apply()
        else:
            super().keyPressEvent(event)

    def _stamp_now(self) -> tuple[object, ...]:
        if self._run is None:
            return (None,)
        paths = [self._run / "versions.json", *sorted((self._run / "checkpoints").glob("*.safetensors"))]
        return (self._run, *((path.name, path.stat().st_mtime_ns) for path in paths if path.exists()))

    def _update_buttons(self) -> None:
        for button in (self.apply_button, self.take_button, self.add_button):
            button.setEnabled(self.selected() is not None)

    def _apply(self, *_: object) -> None:
        version = self.selected()
        if version is not None:
            self.applied.emit(version.path)

    def _take(self, *_: object) -> None:
        version = self.selected()
        if version is not None:
            self.taken.emit(version.path)

    def add_to_library(self, *_: object) -> ImportDialog | None:
        """Open the dialog that puts the selected version into the library under a name."""
        version = self.selected()
        if version is None or self._run is None:
            return None
        dialog = ImportDialog(self)
        dialog.name.setText(suggested_name(self._run))
        dialog.set_file(str(version.path))
        dialog.made.connect(self.added)
        dialog.show()
        return dialog


def _cells(version: Version, names: list[str]) -> list[str]:
    voxels, dice = labelled_voxels(version.card), version.dice
    step = "" if version.card.step is None else f"{version.card.step:,}"
    figures = [f"{dice[name]:.3f}" if name in dice else "" for name in ("", *names)]
    return [version.name, step, "" if voxels is None else f"{voxels:,}", *figures]
