"""A line for a folder with a button that asks for one."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

__all__ = ["FolderLine"]


class FolderLine(QWidget):
    """A line for a folder with a button that asks for one; ``chosen`` tells of its answer, ``changed`` of any."""

    changed = Signal()
    chosen = Signal()

    def __init__(self, name: str, title: str) -> None:
        super().__init__()
        self._title = title
        self.line = QLineEdit(objectName=name)
        self.line.setPlaceholderText(title)
        self.button = QPushButton("...", objectName=f"{name}-ask")
        self.button.setMaximumWidth(34)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(self.button)
        self.setFocusProxy(self.line)
        self.line.textChanged.connect(self._on_text)
        self.button.clicked.connect(self._ask)

    @property
    def path(self) -> str:
        """The folder as it is written, without blanks around it."""
        return self.line.text().strip()

    def _on_text(self, _: str) -> None:
        self.line.setToolTip(self.line.text())
        self.changed.emit()

    def _ask(self) -> None:
        name = QFileDialog.getExistingDirectory(self, self._title, self.path)
        if name:
            self.line.setText(name)
            self.chosen.emit()
