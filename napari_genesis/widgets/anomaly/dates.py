"""Two dates of one patient: an earlier map beside the one shown, laid over each other behind the window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QPushButton, QTableWidgetItem, QVBoxLayout, QWidget

from genesis3d.events import Control, Event, Finished
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.tables import MOST_ROWS, Number, ResultTable

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly_dates import DateComparison
    from genesis3d.workflows.anomaly_dates_regions import RegionChange
    from napari_genesis.widgets.anomaly.kept import KeptMap
    from napari_genesis.widgets.anomaly.work import Work

__all__ = ["DatesPanel", "comparing"]

FOLDER = "a folder ..."
TITLES = ("#", "Change", "Lung", "first mL", "now mL", "mL more")
TIPS = ("largest first", "what became of the region between the two dates", "left or right, the patient's",
        "volume at the earlier date, on that scan's own grid", "volume in the map shown, on its own grid",
        "how much larger it has become")  # fmt: skip


class DatesPanel(QWidget):
    """Which earlier map to compare with, a button, and what became of each region.

    Signals
    -------
    started() : the button was pressed
    chosen(object) : the :class:`RegionChange` of a row that a person chose
    """

    started = Signal()
    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._maps: list[KeptMap] = []
        self._folders: list[Path] = []
        self.combo = QComboBox(objectName="earlier-map")
        self.combo.setToolTip("the map of the earlier date: made in this window, or a folder of genesis3d anomaly")
        wheel_needs_focus(self.combo)
        self.button = QPushButton("Compare with the map shown", objectName="compare-dates")
        self.told = QLabel(objectName="dates-told", wordWrap=True, visible=False)
        self.table = ResultTable(len(TITLES), "changes")
        self.table.set_titles(TITLES, TIPS)
        self.table.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.combo, self.button, self.told, self.table):
            column.addWidget(part)
        self.combo.activated.connect(self._on_activated)
        self.button.clicked.connect(self._on_button)
        self.table.chosen.connect(self.chosen)
        self.show_maps([], None)

    @property
    def earlier(self) -> KeptMap | Path | None:
        """The earlier map picked: one of this window, a folder, or None."""
        picked = self.combo.currentData()
        return picked if picked != FOLDER else None

    def show_maps(self, maps: Sequence[KeptMap], shown: KeptMap | None) -> None:
        """Offer ``maps`` of other scans than the one ``shown``, and folders."""
        before = self.earlier
        self._maps = [each for each in maps if shown is None or each.scan != shown.scan]
        self.combo.clear()
        for each in self._maps:
            self.combo.addItem(f"{each.scan}: {each.name}", each)
        for folder in self._folders:
            self.combo.addItem(folder.name, folder)
        self.combo.addItem(FOLDER, FOLDER)
        places = [i for i in range(self.combo.count()) if self.combo.itemData(i) is before]
        self.combo.setCurrentIndex(places[0] if before is not None and places else 0)
        self.button.setEnabled(shown is not None and self.earlier is not None)

    def add_folder(self, folder: str | Path) -> None:
        """Offer, and pick, a folder written by ``genesis3d anomaly``."""
        path = Path(folder)
        if path not in self._folders:
            self._folders.append(path)
            self.combo.insertItem(self.combo.count() - 1, path.name, path)
        self.combo.setCurrentIndex(self.combo.findText(path.name))
        self.button.setEnabled(True)

    def show_comparison(self, comparison: DateComparison) -> None:
        """Show what became of each region, and what to doubt."""
        changes = comparison.regions
        self.table.fill_rows((one, _cells(i, one)) for i, one in enumerate(changes[:MOST_ROWS], start=1))
        self.table.show()
        before, now = (sum(getattr(one, name) for one in changes) for name in ("first_ml", "second_ml"))
        counts = {
            state: sum(one.state == state for one in changes) for state in dict.fromkeys(c.state for c in changes)
        }
        states = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no region at either date"
        lines = [f"<b>{before:.1f} mL, then {now:.1f} mL</b> ({now - before:+.1f} mL): {states}"]
        self.told.setText("<br>".join([*lines, *(f"⚠ {text}" for text in comparison.warnings)]))
        self.told.show()

    def _on_activated(self, index: int) -> None:
        if self.combo.itemData(index) == FOLDER:
            name = self.ask()
            if name:
                self.add_folder(name)
        self.button.setEnabled(self.earlier is not None)

    def ask(self) -> str:
        """Ask for a folder; return its name, empty for none."""
        return str(QFileDialog.getExistingDirectory(self, "The folder of an earlier map"))

    def _on_button(self, _: Any = None) -> None:
        if isalive(self):
            self.started.emit()


def comparing(earlier: KeptMap | Path, now: KeptMap, out: list[DateComparison]) -> Work:
    """Return the work of comparing two dates, without the regions that were taken out of either map."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.anomaly_dates import compare_dates
        from genesis3d.workflows.anomaly_dates_files import read_map
        from napari_genesis.widgets.anomaly.kept import without

        first = read_map(earlier) if isinstance(earlier, Path) else without(earlier.result, earlier.excluded)
        comparison = yield from compare_dates(first, without(now.result, now.excluded), control)
        if comparison is not None:
            out.append(comparison)
        yield Finished(cancelled=comparison is None)

    return work


def _cells(number: int, one: RegionChange) -> tuple[QTableWidgetItem, ...]:
    return (
        Number(number, str(number)),
        QTableWidgetItem(one.state),
        QTableWidgetItem(one.lung or "-"),
        Number(one.first_ml, f"{one.first_ml:.2f}"),
        Number(one.second_ml, f"{one.second_ml:.2f}"),
        Number(one.difference_ml, f"{one.difference_ml:+.2f}"),
    )
