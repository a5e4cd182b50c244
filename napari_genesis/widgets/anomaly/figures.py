"""The tables of a map: regions, lungs and thirds, classes of density; further figures come from behind the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QTabWidget

from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.widgets.anomaly.measuring import Figures, measuring
from napari_genesis.widgets.anomaly.regions import RegionPanel
from napari_genesis.widgets.anomaly.shares import ClassTable, ZoneTable

if TYPE_CHECKING:
    from napari_genesis.widgets.anomaly.kept import KeptMap

__all__ = ["FigureTabs"]


class FigureTabs(QTabWidget):
    """Three tables of the map shown.

    Signals
    -------
    failed(str) : a sentence for the dock's error line
    measured() : the tables show all there is to know of the map as it stands
    """

    failed = Signal(str)
    measured = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("figures")
        self.regions, self.zones, self.classes = RegionPanel(), ZoneTable(), ClassTable()
        self.addTab(self.regions, "Regions")
        self.addTab(self.zones, "Lungs and thirds")
        self.addTab(self.classes, "Density classes")
        self._kept: KeptMap | None = None
        self._jobs: list[ThreadJob] = []
        self._out: list[Figures] = []
        self._again = False
        close_with(self, self._jobs)

    def show_map(self, kept: KeptMap, same: bool = False) -> None:
        """Show what is known of a map at once, and the rest when it is reckoned.

        ``same``: its regions are numbered as before, and the one that is chosen stays chosen.
        """
        self._kept = kept
        self.regions.show_map(kept, same)
        if kept.figures is not None:
            self._show_shares(kept.figures)
        self._measure()

    @property
    def busy(self) -> bool:
        """Whether figures are being reckoned."""
        return any(job.running for job in self._jobs)

    def forget(self) -> None:
        """Let go of the map."""
        close_jobs(self._jobs)
        self._kept, self._again = None, False

    def _measure(self) -> None:
        if self._kept is None:
            return
        if self.busy:
            self._again = True
            return
        self._again, self._out = False, []
        kept = self._kept
        job = ThreadJob(measuring(kept.result, kept.excluded, kept.figures, self._out), name="figures")
        job.ended.connect(self._on_measured)
        self._jobs[:] = [job]
        job.start()

    def _on_measured(self, state: JobState) -> None:
        if not isalive(self) or self._kept is None:
            return
        if state.state == "failed":
            self.failed.emit(state.message)
        kept, found = self._kept, self._out[0] if self._out else None
        if found is not None and found.labels is kept.result.labels and not self._again:
            kept.figures = found
            self.regions.show_map(kept, same=True)
            self._show_shares(found)
        if self._again:
            self._measure()
        else:
            self.measured.emit()

    def _show_shares(self, figures: Figures) -> None:
        self.zones.show_rows(figures.zones)
        self.classes.show_rows(figures.classes)
        self.setTabVisible(self.indexOf(self.classes), bool(figures.classes))
