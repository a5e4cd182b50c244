"""Tables of results: cells that sort by their number, one row chosen at a time, by a person or by the view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

__all__ = ["MOST_ROWS", "Number", "ResultTable"]

MOST_ROWS = 300  # the largest; all are in the CSV


class Number(QTableWidgetItem):
    """A cell that sorts by its number."""

    def __init__(self, value: float, text: str) -> None:
        super().__init__(text)
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self.value < other.value if isinstance(other, Number) else super().__lt__(other)


class ResultTable(QTableWidget):
    """Rows of cells; the first cell of each is a :class:`Number`, which names the row in the view.

    Signals
    -------
    chosen(object) : what :meth:`fill_rows` was given for a row that a person chose
    """

    chosen = Signal(object)

    def __init__(self, columns: int, name: str) -> None:
        super().__init__(0, columns)
        self.setObjectName(name)
        self._things: dict[int, Any] = {}
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for column in (0, 1):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setMinimumSectionSize(28)
        header.setSortIndicator(0, Qt.SortOrder.AscendingOrder)
        font = header.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.8))
        header.setFont(font)
        self.setMinimumHeight(150)
        self.itemSelectionChanged.connect(self._on_selection)

    def set_titles(self, titles: Sequence[str], tips: Sequence[str]) -> None:
        """Name the columns, and explain each."""
        for column, (title, tip) in enumerate(zip(titles, tips, strict=True)):
            item = QTableWidgetItem(title)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)

    def fill_rows(self, rows: Iterable[tuple[Any, Sequence[QTableWidgetItem]]]) -> None:
        """Show ``rows``, each a thing and its cells; the row that was chosen is no longer."""
        self.blockSignals(True)
        self.setSortingEnabled(False)
        self._things.clear()
        self.setRowCount(0)
        for row, (thing, cells) in enumerate(rows):
            self.setRowCount(row + 1)
            self._things[_number(cells[0])] = thing
            for column, cell in enumerate(cells):
                self.setItem(row, column, cell)
        self.clearSelection()
        self.setSortingEnabled(True)
        self.blockSignals(False)

    def choose(self, number: int) -> bool:
        """Mark the row called ``number`` without telling; False when there is none."""
        for row in range(self.rowCount()):
            if _number(self.item(row, 0)) == number:
                self.blockSignals(True)
                self.selectRow(row)
                self.scrollToItem(self.item(row, 0))
                self.blockSignals(False)
                self.viewport().update()
                return True
        return False

    def thing(self, row: int) -> Any:
        """Return what :meth:`fill_rows` was given for ``row``; None when there is no such row."""
        return self._things.get(_number(self.item(row, 0)))

    def _on_selection(self) -> None:
        rows = {index.row() for index in self.selectedIndexes()}
        thing = self.thing(rows.pop()) if len(rows) == 1 else None
        if thing is not None:
            self.chosen.emit(thing)


def _number(item: QTableWidgetItem | None) -> int:
    return int(item.value) if isinstance(item, Number) else 0
