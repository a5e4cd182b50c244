"""Small things that every dock that follows a run shows: its log, how it ended, and a way to kill it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QMenu, QPlainTextEdit, QPushButton

from napari_genesis.jobs import JobState
from napari_genesis.run_files import log_tail
from napari_genesis.widgets.parts import Fold

__all__ = ["LogFold", "end_sentence", "kill_button"]

LOG_MS = 1000


class LogFold(Fold):
    """The log of a run under a fold, read only while it is open."""

    def __init__(self) -> None:
        super().__init__("Log", "log-fold")
        self._run: Path | None = None
        self.text = QPlainTextEdit(objectName="log", readOnly=True)
        self.text.setFixedHeight(120)
        self.addWidget(self.text)
        self._timer = QTimer(self)
        self._timer.setInterval(LOG_MS)
        self._timer.timeout.connect(self.refresh)
        self.toggled.connect(self.refresh)

    def follow(self, run: Path) -> None:
        """Show the log of ``run`` from now on."""
        self._run = run
        self.text.clear()
        self._timer.start()

    def rest(self) -> None:
        """Show what is there, then be still."""
        self._timer.stop()
        self.refresh()

    def forget(self) -> None:
        """Be still, and know no run."""
        self._timer.stop()
        self._run = None

    def refresh(self, *_: object) -> None:
        """Read the log anew."""
        if self._run is None or not self.isExpanded():
            return
        text = log_tail(self._run)
        if text != self.text.toPlainText():
            self.text.setPlainText(text)
            self.text.verticalScrollBar().setValue(self.text.verticalScrollBar().maximum())


def end_sentence(name: str, state: JobState) -> str:
    """Return one sentence on how the training ``name`` ended."""
    if state.state == "cancelled":
        word = "killed" if state.result.get("killed") else "stopped and saved"
        return f"'{name}' was {word} at step {state.step}; Resume goes on from its last saved state"
    best = f", best validation at step {state.best}" if state.best is not None else ""
    return f"'{name}' is trained: {state.step} steps on {state.device}{best}"


def kill_button(kill: Callable[[], None]) -> QPushButton:
    """Return a button whose menu holds the one thing that loses work, two clicks away."""
    button = QPushButton("Kill", objectName="kill", enabled=False)
    button.setToolTip("end the training at once, without saving")
    button.setFixedWidth(64)
    menu = QMenu(button)
    menu.addAction("Kill now: lose what came after the last save").triggered.connect(kill)
    button.setMenu(menu)
    return button
