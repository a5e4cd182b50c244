"""What a picked model says of itself: two lines, what does not fit the scan, and the whole card under a fold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QToolButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from genesis3d.networks.library import mismatches
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.model_entries import card_page, describe_card
from napari_genesis.widgets.status import WARNING_COLOURS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Layer

    from genesis3d.networks.card import ModelCard

__all__ = ["CardPanel", "differences"]

SMALL = "font-size: 8pt"


class CardPanel(QWidget):
    """The card in short, and in full under a fold."""

    def __init__(self) -> None:
        super().__init__()
        self.info = QLabel(objectName="model-info", wordWrap=True, styleSheet=SMALL)
        self.mismatch = QLabel(objectName="model-mismatch", wordWrap=True, visible=False)
        self.toggle = QToolButton(objectName="model-card-toggle", checkable=True, visible=False)
        self.toggle.setStyleSheet("QToolButton { background: transparent; border: none; font-weight: bold }")
        self.full = QLabel(objectName="model-card", wordWrap=True, visible=False, openExternalLinks=True)
        self.full.setStyleSheet(SMALL)
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
        self.info.setText(_together(describe_card(card)) if card is not None else otherwise)
        self.toggle.setVisible(card is not None)
        self._unfold(self.toggle.isChecked())

    def show_mismatch(self, sentences: Sequence[str], theme: str) -> None:
        """Show what of the scan the model was not trained on, in the colours of ``theme``; empty hides it."""
        self.mismatch.setStyleSheet(f"{SMALL}; color: {WARNING_COLOURS[theme]}; background: transparent")
        self.mismatch.setText(_together(f"⚠ {' '.join(sentences)}"))
        self.mismatch.setVisible(bool(sentences))

    def _unfold(self, is_open: bool) -> None:
        self.toggle.setText(f"{'▾' if is_open else '▸'}  Card")
        shown = is_open and self._card is not None and self._path is not None
        page = card_page(self._card, self._path) if shown else ""
        if shown and page != self.full.text():  # setting it again would undo a selection
            self.full.setText(page)
        self.full.setVisible(shown)


def _together(text: str) -> str:
    """Keep sizes such as ``0.70 x 0.70 x 2.50 mm`` in one line."""
    return re.sub(r"(?<=\d) (?=x \d|mm)|(?<=\d x) (?=\d)", "\u00a0", text)


def differences(card: ModelCard, layer: Layer, channels: int) -> list[str]:
    """Return what of ``layer``, one of ``channels``, a model was not trained on; nothing where that cannot be asked."""
    if not isinstance(layer.data, np.ndarray):  # to ask a lazy array would read it
        return []
    try:
        volume = volume_from_layer(layer)
        return mismatches(card, volume.with_data(np.broadcast_to(volume.data, (channels, *volume.data.shape[1:]))))
    except GenesisError:  # said when the work begins
        return []
