"""What to do with a segmentation that did not come to its end: two buttons, no pop-up."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

__all__ = ["Unfinished"]


class Unfinished(QWidget):
    """Asks whether to keep what is done; hidden until there is something to ask.

    Signals
    -------
    answered(bool) : whether to keep it
    """

    answered = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel(objectName="unfinished", wordWrap=True)
        self.keep = QPushButton("Keep what is done", objectName="keep")
        self.discard = QPushButton("Discard", objectName="discard")
        self.keep.setToolTip("the labels layer stays, with the part that was segmented")
        self.discard.setToolTip("the labels layer is taken away; a layer it would have replaced is shown again")
        row = QHBoxLayout()
        row.addWidget(self.keep)
        row.addWidget(self.discard)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.text)
        column.addLayout(row)
        self.keep.clicked.connect(self._on_keep)
        self.discard.clicked.connect(self._on_discard)
        self.hide()

    @property
    def asking(self) -> bool:
        """Whether an answer is awaited."""
        return not self.isHidden()

    def ask(self, sentence: str) -> None:
        """Ask, after ``sentence``."""
        self.text.setText(sentence)
        self.show()
        self.keep.setFocus()

    def answer(self, keep: bool) -> None:
        """Take an answer as if its button was pressed."""
        if self.asking:
            self.hide()
            self.answered.emit(keep)

    def _on_keep(self) -> None:
        self.answer(True)

    def _on_discard(self) -> None:
        self.answer(False)
