"""What a picked model says of itself: two lines, what does not fit the scan, and the whole card under a fold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from napari_genesis.widgets.model_entries import card_page, describe_card
from napari_genesis.widgets.status import WARNING_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genesis3d.networks.card import ModelCard

__all__ = ["CardPanel"]


class CardPanel(QWidget):
    """The card in short, and in full under a fold."""

    def __init__(self) -> None:
        super().__init__()
        self.info = _small(QLabel(objectName="model-info", wordWrap=True))
        self.mismatch = _small(QLabel(objectName="model-mismatch", wordWrap=True, visible=False))
        self.toggle = QToolButton(objectName="model-card-toggle", checkable=True, visible=False)
        self.toggle.setStyleSheet("QToolButton { background: transparent; border: none; font-weight: bold }")
        self.full = _small(QLabel(objectName="model-card", wordWrap=True, visible=False, openExternalLinks=True))
        self.full.setTextFormat(Qt.TextFormat.RichText)
        self.full.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for part in (self.info, self.mismatch, self.toggle, self.full):
            column.addWidget(part)
        self._card: ModelCard | None = None
        self._path: Path | None = None
        self.toggle.toggled.connect(self._unfold)
        self._unfold(False)

    def show_card(self, card: ModelCard | None, path: Path | None, otherwise: str) -> None:
        """Show ``card``, the file's or run's at ``path``; ``otherwise`` is said where there is none."""
        self._card, self._path = card, path
        self.info.setText(describe_card(card) if card is not None else otherwise)
        self.toggle.setVisible(card is not None)
        self._unfold(self.toggle.isChecked())

    def show_mismatch(self, sentences: Sequence[str], theme: str) -> None:
        """Show what of the scan the model was not trained on, in the colours of ``theme``; empty hides it."""
        self.mismatch.setStyleSheet(f"color: {WARNING_COLOURS[theme]}; background: transparent")
        self.mismatch.setText(f"⚠ {' '.join(sentences)}")
        self.mismatch.setVisible(bool(sentences))

    def _unfold(self, is_open: bool) -> None:
        self.toggle.setText(f"{'▾' if is_open else '▸'}  Card")
        shown = is_open and self._card is not None and self._path is not None
        if shown:
            self.full.setText(card_page(self._card, self._path))
        self.full.setVisible(shown)


def _small(label: QLabel) -> QLabel:
    font = label.font()
    font.setPointSizeF(max(7.0, font.pointSizeF() * 0.85))
    label.setFont(font)
    return label
