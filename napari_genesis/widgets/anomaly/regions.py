"""The table of regions: sorted by any column, selecting both ways; regions taken out by hand stay listed, as such."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTableWidgetItem, QVBoxLayout, QWidget

from napari_genesis.widgets.tables import MOST_ROWS, Number, ResultTable

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly_map import FoundRegion
    from napari_genesis.widgets.anomaly.kept import KeptMap

__all__ = ["MOST_ROWS", "RegionPanel", "RegionTable"]

DELETE = (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)


class RegionTable(ResultTable):
    """Regions, the largest first.

    Signals
    -------
    chosen(object) : the :class:`FoundRegion` of a row that a person chose
    pressed(str) : ``exclude``, ``undo`` or ``redo``, by a key
    """

    pressed = Signal(str)

    def __init__(self) -> None:
        super().__init__(6, "regions")
        self.set_unit("HU")

    def set_unit(self, unit: str | None) -> None:
        """Name the unit of the means in the header."""
        unit = unit or "value"
        titles = ("#", "Lung", "mL", "% lungs", f"mean {unit}", "diff.")
        tips = ("number in the regions layer", "left or right, the patient's", "volume in millilitres",
                "share of both lungs", f"mean of the scan in the region, {unit}",
                f"mean of scan minus restored in the region, {unit}")  # fmt: skip
        self.set_titles(titles, tips)

    def fill(self, found: Sequence[FoundRegion], excluded: Collection[int] = ()) -> None:
        """Show ``found``, those ``excluded`` struck out; the region that was chosen is no longer."""
        self.fill_rows((item, _cells(item, item.region.label in excluded)) for item in found[:MOST_ROWS])

    def current(self) -> FoundRegion | None:
        """Return the region of the row that is chosen."""
        rows = {index.row() for index in self.selectedIndexes()}
        return self.thing(rows.pop()) if len(rows) == 1 else None

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Delete takes the chosen region out or in; the usual keys undo and redo."""
        if event.key() in DELETE:
            self.pressed.emit("exclude")
        elif event.matches(QKeySequence.StandardKey.Undo):
            self.pressed.emit("undo")
        elif event.matches(QKeySequence.StandardKey.Redo):
            self.pressed.emit("redo")
        else:
            super().keyPressEvent(event)


class RegionPanel(QWidget):
    """The table with its buttons.

    Signals
    -------
    chosen(object) : the region of a row that a person chose
    wanted(str, object) : ``exclude`` or ``include`` with a region's number, ``undo`` or ``redo`` with None
    """

    chosen = Signal(object)
    wanted = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        self._excluded: frozenset[int] = frozenset()
        self._can = (False, False)
        self.table = RegionTable()
        self.exclude = QPushButton("Exclude", objectName="exclude")
        self.undo = QPushButton("Undo", objectName="undo")
        self.redo = QPushButton("Redo", objectName="redo")
        self.exclude.setToolTip("leave the chosen region out of totals, files and report, or take it back in (Delete)")
        self.undo.setToolTip("take the last exclusion back (Ctrl+Z in the table)")
        self.redo.setToolTip("exclude again what was taken back")
        column, row = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        for button, slot in ((self.exclude, self._on_exclude), (self.undo, self._on_undo), (self.redo, self._on_redo)):
            button.clicked.connect(slot)
            row.addWidget(button)
        column.addLayout(row)
        self.table.chosen.connect(self.chosen)
        self.table.chosen.connect(self._say)
        self.table.itemSelectionChanged.connect(self._say)
        self.table.pressed.connect(self._on_pressed)

    def show_map(self, kept: KeptMap, same: bool = False) -> None:
        """Show the regions of a map, and what can be done to them; ``same``: numbered as before, the chosen one stays."""
        before = self.table.current() if same else None
        self._excluded = kept.excluded
        self._can = (kept.exclusions.can_undo, kept.exclusions.can_redo)
        self.table.fill(kept.result.regions, kept.excluded)
        if before is not None:
            self.table.choose(before.region.label)
        self._say()

    def choose(self, number: int) -> bool:
        """Mark the row of region ``number`` without telling; False when there is none."""
        chosen = self.table.choose(number)
        self._say()
        return chosen

    def _say(self, _: Any = None) -> None:
        item = self.table.current()
        out = item is not None and item.region.label in self._excluded
        self.exclude.setText("Take back in" if out else "Exclude")
        self.exclude.setEnabled(item is not None)
        self.undo.setEnabled(self._can[0])
        self.redo.setEnabled(self._can[1])

    def _on_exclude(self, _: Any = None) -> None:
        item = self.table.current()
        if item is not None:
            number = item.region.label
            self.wanted.emit("include" if number in self._excluded else "exclude", number)

    def _on_undo(self, _: Any = None) -> None:
        self.wanted.emit("undo", None)

    def _on_redo(self, _: Any = None) -> None:
        self.wanted.emit("redo", None)

    def _on_pressed(self, what: str) -> None:
        if what == "exclude":
            self._on_exclude()
        else:
            self.wanted.emit(what, None)


def _cells(item: FoundRegion, out: bool) -> tuple[QTableWidgetItem, ...]:
    r = item.region
    cells = (
        Number(r.label, f"{r.label} out" if out else str(r.label)),
        QTableWidgetItem(item.lung or "-"),
        Number(r.volume_ml, f"{r.volume_ml:.2f}"),
        Number(item.share, f"{item.share:.2f}"),
        Number(r.means["value"], f"{r.means['value']:.0f}"),
        Number(r.means["difference"], f"{r.means['difference']:+.0f}"),
    )
    for cell in cells if out else ():
        font = cell.font()
        font.setStrikeOut(True)
        cell.setFont(font)
        cell.setToolTip("excluded: counts in no total, file or report")
    return cells
