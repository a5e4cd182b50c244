"""The one question asked when napari closes over a running training."""

from __future__ import annotations

from qtpy.QtCore import QTimer
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_genesis.jobs import RunFollower
from napari_genesis.widgets.parts import main_window

__all__ = ["ask_go_on", "settle"]

SECONDS = 30


class _Question(QMessageBox):
    """Two answers; the safe one is the default and is given by itself when nobody answers."""

    def __init__(self, parent: QWidget, name: str) -> None:
        super().__init__(parent)
        self.setObjectName("closing-question")
        self.setWindowTitle("A training is running")
        self.setText(f"'{name}' is still training. It can go on without napari, or stop now and be resumed later.")
        self._stop = self.addButton("Stop and save", QMessageBox.ButtonRole.AcceptRole)
        self.go_on = self.addButton("Go on training", QMessageBox.ButtonRole.DestructiveRole)
        self.setDefaultButton(self._stop)
        self.setEscapeButton(self._stop)
        self._left = SECONDS
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        self._tick()

    def _tick(self) -> None:
        self._stop.setText(f"Stop and save ({self._left})")
        if self._left <= 0:
            self._timer.stop()
            self._stop.click()
        self._left -= 1


def ask_go_on(dock: QWidget, name: str) -> str:
    """Return ``"go on"`` or ``"stop"``; ``"stop"`` at once where no window is on a screen to ask in."""
    window = main_window(dock)
    if window is None or not window.isVisible() or QGuiApplication.platformName() in ("offscreen", "minimal"):
        return "stop"
    question = _Question(window, name)
    question.exec()
    answer = "go on" if question.clickedButton() is question.go_on else "stop"
    question.deleteLater()
    return answer


def settle(dock: QWidget, follower: RunFollower, answer: str | None) -> None:
    """Let the training of ``follower`` go on without napari, or stop it, as ``answer`` says; None asks."""
    if (answer or ask_go_on(dock, follower.run_dir.name)) == "go on":
        follower.leave_running = True
    else:
        follower.stop()
