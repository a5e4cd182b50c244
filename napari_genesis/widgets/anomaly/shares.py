"""What share of each lung and third is flagged, and the familiar classes of density beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

if TYPE_CHECKING:
    from genesis3d.anomaly.classes import ClassRow
    from genesis3d.anomaly.zones import ZoneRow

__all__ = ["ClassTable", "ZoneTable"]

NUMBERS = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class FigureTable(QTableWidget):
    """A table that is only read: words in the first ``words`` columns, numbers in the others."""

    def __init__(self, titles: Sequence[str], tips: Sequence[str], name: str, words: int) -> None:
        super().__init__(0, len(titles))
        self.setObjectName(name)
        self._words = words
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(22)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        font = header.font()
        font.setPointSizeF(max(7.0, font.pointSizeF() * 0.8))
        header.setFont(font)
        for column, (title, tip) in enumerate(zip(titles, tips, strict=True)):
            item = QTableWidgetItem(title)
            item.setToolTip(tip)
            self.setHorizontalHeaderItem(column, item)

    def fill(self, rows: Sequence[Sequence[str]], bold: Sequence[int] = ()) -> None:
        """Show ``rows`` of words, those at ``bold`` in bold."""
        self.setRowCount(len(rows))
        for row, cells in enumerate(rows):
            for column, text in enumerate(cells):
                item = QTableWidgetItem(text)
                if column >= self._words:
                    item.setTextAlignment(NUMBERS)
                if row in bold:
                    font = item.font()
                    font.setBold(True)
                    item.setFont(font)
                self.setItem(row, column, item)


class ZoneTable(FigureTable):
    """Both lungs, each lung, and its thirds."""

    def __init__(self) -> None:
        titles = ("Lung", "third", "mL", "flagged mL", "flagged %", "mean")
        tips = ("left and right are the patient's", "of the height of both lungs", "volume of lung",
                "volume of the regions that are not excluded", "their share of this part of the lung",
                "mean of the scan, in its unit")  # fmt: skip
        super().__init__(titles, tips, "zones", 2)

    def show_rows(self, rows: Sequence[ZoneRow]) -> None:
        """Show figures of lungs and thirds."""
        cells = [
            (row.lung if row.third == "all" else "", "" if row.third == "all" else row.third, f"{row.volume_ml:.0f}",
             f"{row.flagged_ml:.1f}", f"{row.flagged_percent:.1f}", f"{row.mean_value:.0f}")
            for row in rows
        ]  # fmt: skip
        self.fill(cells, [i for i, row in enumerate(rows) if row.third == "all"])


class ClassTable(FigureTable):
    """Classes of density: one row a class, its share of both lungs and of each."""

    def __init__(self) -> None:
        titles = ("Class", "HU", "mL", "% both", "% left", "% right")
        tips = ("as usual in density analysis of the lung", "from, up to", "volume in both lungs", "of both lungs",
                "of the patient's left lung", "of the patient's right lung")  # fmt: skip
        super().__init__(titles, tips, "classes", 2)

    def show_rows(self, rows: Sequence[ClassRow]) -> None:
        """Show figures of classes, lung by lung."""
        of = {(row.lung, row.name): row for row in rows}
        cells = []
        for row in (row for row in rows if row.lung == "both"):
            sides = (of.get((lung, row.name)) for lung in ("left", "right"))
            shares = ("-" if side is None else f"{side.share_percent:.1f}" for side in sides)
            cells.append((row.name, _range(row), f"{row.volume_ml:.0f}", f"{row.share_percent:.1f}", *shares))
        self.fill(cells)


def _range(row: ClassRow) -> str:
    if row.low is None:
        return f"below {row.high}"
    return f"from {row.low}" if row.high is None else f"{row.low} to {row.high}"
