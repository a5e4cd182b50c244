"""The table of regions: sorted by any column, selecting both ways, exported as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly_map import FoundRegion

__all__ = ["MOST_ROWS", "RegionTable"]

MOST_ROWS = 300  # the largest; all are in the CSV


class _Number(QTableWidgetItem):
    """A cell that sorts by its number."""

    def __init__(self, value: float, text: str) -> None:
        super().__init__(text)
        self.value = value
        self.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return self.value < other.value if isinstance(other, _Number) else super().__lt__(other)


class RegionTable(QTableWidget):
    """Regions, the largest first.

    Signals
    -------
    chosen(object) : the :class:`FoundRegion` of a row that a person chose
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__(0, 6)
        self.setObjectName("regions")
        self._found: dict[int, FoundRegion] = {}
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
        self.set_unit("HU")
        self.itemSelectionChanged.connect(self._on_selection)

    def set_unit(self, unit: str | None) -> None:
        """Name the unit of the means in the header."""
        unit = unit or "value"
        titles = ("#", "Lung", "mL", "% lungs", f"mean {unit}", "diff.")
        tips = ("number in the regions layer", "left or right, the patient's", "volume in millilitres",
                "share of both lungs", f"mean of the scan in the region, {unit}",
                f"mean of scan minus restored in the region, {unit}")  # fmt: skip
        for column, (title, tip) in enumerate(zip(titles, tips, strict=True)):
            item = QTableWidgetItem(title)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)

    def fill(self, found: Sequence[FoundRegion]) -> None:
        """Show ``found``; the region that was chosen is no longer."""
        self.blockSignals(True)
        self.setSortingEnabled(False)
        self._found = {item.region.label: item for item in found[:MOST_ROWS]}
        self.setRowCount(len(self._found))
        for row, item in enumerate(self._found.values()):
            r = item.region
            cells = (
                _Number(r.label, str(r.label)),
                QTableWidgetItem(item.lung or "-"),
                _Number(r.volume_ml, f"{r.volume_ml:.2f}"),
                _Number(item.share, f"{item.share:.2f}"),
                _Number(r.means["value"], f"{r.means['value']:.0f}"),
                _Number(r.means["difference"], f"{r.means['difference']:+.0f}"),
            )
            for column, cell in enumerate(cells):
                self.setItem(row, column, cell)
        self.clearSelection()
        self.setSortingEnabled(True)
        self.blockSignals(False)

    def choose(self, label: int) -> bool:
        """Mark the row of region ``label`` without telling; False when it has none."""
        for row in range(self.rowCount()):
            if self._label(row) == label:
                self.blockSignals(True)
                self.selectRow(row)
                self.scrollToItem(self.item(row, 0))
                self.blockSignals(False)
                self.viewport().update()
                return True
        return False

    def _label(self, row: int) -> int:
        item = self.item(row, 0)
        return int(item.value) if isinstance(item, _Number) else 0

    def _on_selection(self) -> None:
        rows = {index.row() for index in self.selectedIndexes()}
        if len(rows) == 1:
            found = self._found.get(self._label(rows.pop()))
            if found is not None:
                self.chosen.emit(found)
