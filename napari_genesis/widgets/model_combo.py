"""A combo box of models under headings, with "Open file…" at its end."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy

from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.model_entries import Entry
from napari_genesis.widgets.parts import add_heading

__all__ = ["OPEN", "ModelCombo"]

OPEN = "Open file…"


class ModelCombo(QComboBox):
    """Says when its list is about to open, and knows whether a choice came from the list.

    An item's data is its entry's key; a heading has none, the last item has :data:`OPEN`.
    """

    opening = Signal()

    def __init__(self) -> None:
        super().__init__(objectName="model-combo")
        self.opened = False
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setPlaceholderText("choose a model")
        wheel_needs_focus(self)

    def showPopup(self) -> None:  # Qt's name
        """Open the list, brought up to date first."""
        self.opening.emit()
        self.opened = True
        super().showPopup()

    def fill(self, entries: Sequence[Entry]) -> None:
        """Show ``entries`` under their sections; emits nothing."""
        self.blockSignals(True)
        self.clear()
        section = ""
        for entry in entries:
            if entry.section != section:
                section = entry.section
                add_heading(self, section)
            self.addItem(entry.label, entry.key)
            self.setItemData(self.count() - 1, str(entry.path), Qt.ItemDataRole.ToolTipRole)
        if entries:
            self.insertSeparator(self.count())
        self.addItem(OPEN, OPEN)
        self.blockSignals(False)

    def labels(self) -> list[str]:
        """Return the names of the models, in order, without headings."""
        return [self.itemText(i) for i in range(self.count()) if self.itemData(i) not in (None, OPEN)]
