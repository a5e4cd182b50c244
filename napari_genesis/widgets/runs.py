"""The list of runs: name, state, when, best; open, resume, reveal, delete."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from qtpy.QtCore import Qt, QTimer, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QMessageBox,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from genesis3d.errors import GenesisError
from genesis3d.training.rundir import RunDir, list_runs
from napari_genesis.run_files import run_kind

__all__ = ["RunList", "best_of", "free_name", "live_runs", "when"]

COLUMNS = ("name", "state", "when", "best")
REFRESH_MS = 5000


def live_runs(root: Path, kind: str) -> list[RunDir]:
    """Return the runs of a ``kind`` (pretrain, finetune) under ``root`` that train at this moment."""
    return [run for run in list_runs(root) if run_kind(run.path) == kind and run.state() in ("running", "paused")]


def best_of(run: RunDir) -> float | None:
    """Return the best validation loss (a fine-tuning: Dice) of a run, from the header of its best model, or None."""
    from genesis3d.networks.model_file import read_card

    path = run.checkpoints / "best.safetensors"
    if not path.is_file():
        return None
    try:
        metrics = read_card(path).metrics
    except (GenesisError, OSError):
        return None
    return metrics.get("dice", metrics.get("loss"))


def when(seconds_ago: float) -> str:
    """Return how long ago something was, for people."""
    if seconds_ago < 90:
        return "now"
    if seconds_ago < 5400:
        return f"{round(seconds_ago / 60)} min ago"
    if seconds_ago < 2 * 86400:
        return f"{round(seconds_ago / 3600)} h ago"
    return f"{round(seconds_ago / 86400)} days ago"


def free_name(root: Path, wish: str = "") -> str:
    """Return ``wish``, or a numbered name, that no folder of ``root`` has."""
    wish = "".join(c if c.isalnum() or c in "-_. " else "-" for c in wish).strip(". ")
    if wish and not (root / wish).exists():
        return wish
    stem, number = wish or "run", 2 if wish else 1
    while (root / f"{stem}-{number:02d}").exists():
        number += 1
    return f"{stem}-{number:02d}"


class RunList(QWidget):
    """A table of the runs of a ``kind`` (pretrain, finetune) in ``root``, newest first.

    Signals
    -------
    opened(object), resumed(object) : the :class:`Path` of the run to be shown, or to go on with
    failed(str) : a sentence about what could not be done
    """

    opened = Signal(object)
    resumed = Signal(object)
    failed = Signal(str)

    def __init__(self, root: Path, kind: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._root, self._kind = root, kind
        self._runs: list[RunDir] = []
        self._best: dict[Path, tuple[float, float | None]] = {}
        self.table = QTableWidget(0, len(COLUMNS), objectName="run-table")
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setFixedHeight(130)
        self.table.itemSelectionChanged.connect(self._update_buttons)
        self.table.itemDoubleClicked.connect(self._open)
        self._buttons: dict[str, QPushButton] = {}
        row = QGridLayout()
        for column, (name, tip, slot) in enumerate(
            (
                ("Open", "show the run's curves and samples; follow it if it trains", self._open),
                ("Resume", "go on from the last saved state", self._resume),
                ("Folder", "open the run's folder", self._reveal),
                ("Delete", "delete the run with its models (asks first)", self._delete),
            )
        ):
            button = QPushButton(name, objectName=f"run-{name.lower()}")
            button.setToolTip(tip)
            button.clicked.connect(slot)
            row.addWidget(button, 0, column)
            self._buttons[name] = button
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addLayout(row)
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Read the folder anew; the selected run stays selected."""
        chosen = self.selected()
        self._runs = [run for run in list_runs(self._root) if run_kind(run.path) == self._kind]
        self.table.setRowCount(len(self._runs))
        live = False
        for row, run in enumerate(self._runs):
            state = run.state()
            live = live or state in ("running", "paused")
            for column, text in enumerate(
                (run.path.name, state, when(time.time() - _touched(run)), self._best_text(run))
            ):
                self.table.setItem(row, column, QTableWidgetItem(text))
        for row, run in enumerate(self._runs):
            if chosen is not None and run.path == chosen.path:
                self.table.selectRow(row)
        if live and self.isVisible():
            self._timer.start()
        else:
            self._timer.stop()
        self._update_buttons()

    def selected(self) -> RunDir | None:
        """Return the selected run."""
        rows = self.table.selectionModel().selectedRows()
        return self._runs[rows[0].row()] if rows and rows[0].row() < len(self._runs) else None

    def select(self, path: Path) -> None:
        """Select the run in ``path``."""
        self.refresh()
        for row, run in enumerate(self._runs):
            if run.path == path:
                self.table.selectRow(row)

    def confirm(self, question: str) -> bool:
        """Ask before something that cannot be undone."""
        buttons = QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No
        answer = QMessageBox.question(self, "Delete run", question, buttons, QMessageBox.StandardButton.No)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def _best_text(self, run: RunDir) -> str:
        path = run.checkpoints / "best.safetensors"
        stamp = path.stat().st_mtime if path.is_file() else 0.0
        if self._best.get(run.path, (None,))[0] != stamp:
            self._best[run.path] = (stamp, best_of(run))
        best = self._best[run.path][1]
        return "" if best is None else f"{best:.4g}"

    def _update_buttons(self) -> None:
        run = self.selected()
        state = run.state() if run is not None else None
        live = state in ("running", "paused")
        for name, button in self._buttons.items():
            button.setEnabled(run is not None and not (live and name in ("Resume", "Delete")))

    def _open(self, *_: object) -> None:
        run = self.selected()
        if run is not None:
            self.opened.emit(run.path)

    def _resume(self) -> None:
        run = self.selected()
        if run is not None:
            self.resumed.emit(run.path)

    def _reveal(self) -> None:
        run = self.selected()
        if run is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(run.path)))

    def _delete(self) -> None:
        run = self.selected()
        if run is None or not self.confirm(f"Delete the run '{run.path.name}' with all its models and samples?"):
            return
        if run.process() is not None:
            self.failed.emit(f"'{run.path.name}' is training: stop it first")
            return
        try:
            shutil.rmtree(run.path)
        except OSError as error:
            self.failed.emit(f"'{run.path.name}' cannot be deleted: {error.strerror or error}")
        self.refresh()

    def keyPressEvent(self, event: object) -> None:  # Qt's name
        """Enter on the table opens the run; it does not start a training."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.table.hasFocus():
            self._open()
        else:
            super().keyPressEvent(event)


def _touched(run: RunDir) -> float:
    path = run.status_path if run.status_path.exists() else run.config_path
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
