"""The maps that were made, beside each other: figures, agreement with the one shown, and going from one to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QHeaderView, QPushButton, QTableWidgetItem, QVBoxLayout, QWidget

from genesis3d.events import Control, Event, Finished
from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.widgets.anomaly.kept import KeptMap, dice
from napari_genesis.widgets.tables import Number, ResultTable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ComparePanel"]

TITLES = ("#", "Map", "mL", "% lungs", "regions", "Dice")
TIPS = ("in the order they were made", "recipe and model",
        "volume of the regions", "share of both lungs", "how many, without those excluded",
        "overlap of the regions with those of the map shown: 1 the same, 0 none in common")  # fmt: skip


class ComparePanel(QWidget):
    """A table of maps; the one shown is marked.

    Signals
    -------
    picked(object) : a :class:`KeptMap` to show
    dropped(object) : a :class:`KeptMap` to take away, with its layers
    """

    picked = Signal(object)
    dropped = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._maps: list[KeptMap] = []
        self._shown: KeptMap | None = None
        self._before: KeptMap | None = None
        self._dice: dict[int, float | None] = {}
        self._jobs: list[ThreadJob] = []
        self._again = False
        self.table = ResultTable(len(TITLES), "maps")
        self.table.set_titles(TITLES, TIPS)
        self.table.setFixedHeight(132)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.flick = QPushButton("Flick", objectName="flick")
        self.flick.setToolTip("show the map shown before, and back again")
        self.drop = QPushButton("Remove", objectName="drop")
        self.drop.setToolTip("take the map shown, and its layers, away")
        column, row = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.table)
        row.addWidget(self.flick)
        row.addWidget(self.drop)
        column.addLayout(row)
        self.table.chosen.connect(self._on_chosen)
        self.flick.clicked.connect(self._on_flick)
        self.drop.clicked.connect(self._on_drop)
        close_with(self, self._jobs)

    def show_maps(self, maps: Sequence[KeptMap], shown: KeptMap | None) -> None:
        """List ``maps``, of which one is ``shown``; agreement is reckoned in the background."""
        if shown is not self._shown:
            self._before, self._shown = self._shown, shown
            self._dice.clear()  # agreement with another one
        self._maps = list(maps)
        if self._before not in self._maps or self._before is shown:
            others = [each for each in self._maps if each is not shown]
            self._before = others[-1] if others else None
        self._fill()
        self._measure()

    @property
    def busy(self) -> bool:
        """Whether agreement is being reckoned."""
        return any(job.running for job in self._jobs)

    def close_down(self) -> None:
        """Stop what runs and forget the maps."""
        close_jobs(self._jobs)
        self._maps, self._shown, self._before = [], None, None
        self._dice.clear()

    def _fill(self) -> None:
        several = len({each.scan for each in self._maps}) > 1
        rows = []
        for number, each in enumerate(self._maps, start=1):
            name = f"{each.name} ({each.scan})" if several else each.name
            rows.append((each, self._cells(number, name, each)))
        self.table.fill_rows(rows)
        if self._shown in self._maps:
            self.table.choose(1 + self._maps.index(self._shown))
        self.flick.setEnabled(self._before is not None)
        self.drop.setEnabled(self._shown is not None)

    def _cells(self, number: int, name: str, each: KeptMap) -> tuple[QTableWidgetItem, ...]:
        known = self._dice.get(id(each))
        word = "shown" if each is self._shown else "-" if known is None else f"{known:.2f}"
        title = QTableWidgetItem(name)
        title.setToolTip(f"{name}, {each.scan}, threshold {each.result.threshold:.3g} {each.unit}")
        return (
            Number(number, str(number)),
            title,
            Number(each.millilitres(), f"{each.millilitres():.1f}"),
            Number(each.share(), f"{each.share():.1f}"),
            Number(each.left(), str(each.left())),
            Number(-1 if known is None else known, word),
        )

    def _measure(self) -> None:
        """Reckon agreement anew; while it is being reckoned, once more afterwards."""
        if self.busy:
            self._again = True
            return
        self._again = False
        shown, others = self._shown, [each for each in self._maps if each is not self._shown]
        if shown is None or not others:
            return
        job = ThreadJob(_agreeing(shown, others, self._dice), name="agreement")
        job.ended.connect(self._on_measured)
        self._jobs[:] = [job]
        job.start()

    def _on_measured(self, _state: JobState) -> None:
        if not isalive(self):
            return
        self._fill()
        if self._again:
            self._measure()

    def _on_chosen(self, kept: KeptMap) -> None:
        if kept is not self._shown:
            self.picked.emit(kept)

    def _on_flick(self, _: Any = None) -> None:
        if self._before is not None:
            self.picked.emit(self._before)

    def _on_drop(self, _: Any = None) -> None:
        if self._shown is not None:
            self.dropped.emit(self._shown)


def _agreeing(
    shown: KeptMap, others: Sequence[KeptMap], out: dict[int, float | None]
) -> Callable[[Control], Iterator[Event]]:
    def work(control: Control) -> Iterator[Event]:
        for each in others:
            if control() == "stop":
                break
            out[id(each)] = dice(shown, each)
        yield Finished(cancelled=control() == "stop")

    return work
