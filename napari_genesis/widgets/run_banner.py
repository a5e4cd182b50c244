"""A line at the top of the dock: a training of an earlier session is still running."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

__all__ = ["Banner"]


class Banner(QWidget):
    """Names the run, and offers to follow or to stop it.

    Signals
    -------
    follow(object), stop(object) : the run's :class:`Path`
    """

    follow = Signal(object)
    stop = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self._run: Path | None = None
        self.text = QLabel(objectName="banner-text", wordWrap=True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        for name, label, slot in (("banner-follow", "Follow", self._follow), ("banner-stop", "Stop", self._stop)):
            button = QPushButton(label, objectName=name)
            button.clicked.connect(slot)
            layout.addWidget(button)
        self.hide()

    def say(self, run: Path | None) -> None:
        """Show the banner for ``run``; None hides it."""
        self._run = run
        if run is not None:
            self.text.setText(f"<b>Training '{run.name}' is still running.</b>")
        self.setVisible(run is not None)

    def _follow(self) -> None:
        if self._run is not None:
            self.follow.emit(self._run)

    def _stop(self) -> None:
        if self._run is not None:
            self.stop.emit(self._run)
