"""The table of regions: sorted by any column, selecting both ways; regions taken out by hand stay listed, as such."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QTableWidgetItem, QVBoxLayout, QWidget

from napari_genesis.widgets.tables import MOST_ROWS, Number, ResultTable

if TYPE_CHECKING:
    from genesis3d.anomaly.figures import RegionRow
    from genesis3d.workflows.anomaly_map import FoundRegion
    from napari_genesis.widgets.anomaly.kept import KeptMap

__all__ = ["MOST_ROWS", "RegionPanel", "RegionTable"]

COLUMNS = (
    ("#", "number in the regions layer"),
    ("Where", "left or right, the patient's; upper, middle or lower third of the lungs' height"),
    ("mL", "volume in millilitres"),
    ("% lungs", "share of both lungs"),
    ("mean {unit}", "mean of the scan in the region, {unit}"),
    ("diff.", "mean of scan minus restored in the region, {unit}"),
    ("z", "mean z-score in the region: standard deviations of healthy lungs"),
    ("pleura", "from the surface of the lungs to the region, mm"),
)
HIDDEN = (5, 6, 7)  # columns that not every map has
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
        super().__init__(len(COLUMNS), "regions")
        self.set_unit("HU")

    def set_unit(self, unit: str | None) -> None:
        """Name the unit of the means in the header."""
        unit = unit or "value"
        self.set_titles(
            [title.format(unit=unit) for title, _ in COLUMNS], [tip.format(unit=unit) for _, tip in COLUMNS]
        )

    def fill(
        self,
        found: Sequence[FoundRegion],
        excluded: Collection[int] = (),
        figures: Mapping[int, RegionRow] | None = None,
    ) -> None:
        """Show ``found``, those ``excluded`` struck out; the region that was chosen is no longer.

        ``figures`` are the further ones, by number; columns that nothing is known of are hidden.
        """
        known = figures or {}
        rows = [(item, _cells(item, item.region.label in excluded, known.get(item.region.label)))
                for item in found[:MOST_ROWS]]  # fmt: skip
        self.fill_rows(rows)
        for column in HIDDEN:
            self.setColumnHidden(column, all(cells[column].text() == "-" for _, cells in rows))

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
        """Show the regions of a map; ``same``: they are numbered as before, and the chosen one stays chosen."""
        before = self.table.current() if same else None
        self._excluded = kept.excluded
        self._can = (kept.exclusions.can_undo, kept.exclusions.can_redo)
        figures = kept.figures
        known = figures is not None and figures.labels is kept.result.labels
        self.table.fill(kept.result.regions, kept.excluded, figures.regions if known and figures is not None else None)
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


def _cells(item: FoundRegion, out: bool, row: RegionRow | None) -> tuple[QTableWidgetItem, ...]:
    r = item.region
    where = item.lung or "-" if row is None else f"{row.lung} {row.third}"
    cells = (
        Number(r.label, f"{r.label} out" if out else str(r.label)),
        QTableWidgetItem(where),
        Number(r.volume_ml, f"{r.volume_ml:.2f}"),
        Number(item.share, f"{item.share:.2f}"),
        _number(r.means["value"], ".0f"),
        _number(r.means.get("difference"), "+.0f"),
        _number(None if row is None else row.mean_z, ".1f"),
        _number(None if row is None else row.pleura_mm, ".0f"),
    )
    for cell in cells if out else ():
        font = cell.font()
        font.setStrikeOut(True)
        cell.setFont(font)
        cell.setToolTip("excluded: counts in no total, file or report")
    return cells


def _number(value: float | None, form: str) -> Number:
    if value is None:
        return Number(-1e9, "-")
    return Number(value, f"{round(value, 1 if form.endswith('1f') else 0) + 0.0:{form}}")  # no minus before 0
