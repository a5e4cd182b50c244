"""What the Anomaly dock does about two dates: comparing them, and the layers of what came out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject

from genesis3d.errors import GenesisError
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dates import DatesPanel, comparing
from napari_genesis.widgets.anomaly.kept import KeptMap
from napari_genesis.widgets.finding import go_to
from napari_genesis.widgets.parts import fold

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.workflows.anomaly_dates import DateComparison
    from genesis3d.workflows.anomaly_dates_regions import RegionChange
    from napari_genesis.widgets.anomaly.dock import AnomalyDock

__all__ = ["Dating"]

COLOURS = {0: "transparent", 1: "#4c9be8", 2: "#f58a3c", 3: "#e6d34c", None: "transparent"}


class Dating(QObject):
    """Compares the map shown with an earlier one; the result lies on the earlier scan's grid."""

    def __init__(self, dock: AnomalyDock) -> None:
        super().__init__(dock)
        self.dock = dock
        self.panel = DatesPanel()
        self.fold = fold("Compare with an earlier date", self.panel, "dates-fold")
        self.fold.hide()
        self.comparison: DateComparison | None = None
        self.layers: list[Layer] = []
        self._out: list[DateComparison] = []
        self._pair: tuple[KeptMap | None, KeptMap] | None = None
        dock.results.addWidget(self.fold)
        self.panel.started.connect(self.compare)
        self.panel.chosen.connect(self._go_to)

    def refresh(self) -> None:
        """Offer the maps there are."""
        keeping = self.dock.keeping
        self.fold.setVisible(bool(keeping.maps))
        self.panel.show_maps(keeping.maps, self.dock.panel.kept)

    def compare(self) -> None:
        """Compare the earlier map picked with the one shown, behind the window."""
        dock, earlier, now = self.dock, self.panel.earlier, self.dock.panel.kept
        if earlier is None or now is None or dock.running:
            return
        dock.panel.settle()
        dock.show_error("")
        self._out = []
        self._pair = (earlier if isinstance(earlier, KeptMap) else None, now)
        job = ThreadJob(comparing(earlier, now, self._out), name="comparing two dates")
        job.ended.connect(self._on_ended)
        dock.watch(job)
        job.start()

    def _on_ended(self, state: JobState) -> None:
        pair, self._pair = self._pair, None
        if state.state != "finished" or not self._out or pair is None:
            return
        self.comparison = self._out.pop()
        self._show(self.comparison, pair)
        self.panel.show_comparison(self.comparison)

    def _show(self, comparison: DateComparison, pair: tuple[KeptMap | None, KeptMap]) -> None:
        """Show the later scan laid over the earlier one, and what changed, in place of the comparison before."""
        dock, (earlier, now) = self.dock, pair
        for layer in self.layers:
            if layer in dock.viewer.layers:
                dock.viewer.layers.remove(layer)
        like = None if earlier is None else dock.keeping.scan_of(earlier)
        name = f"{now.scan} over {comparison.first.scan.name}"
        window = {} if like is None else {"contrast_limits": tuple(like.contrast_limits)}
        try:
            laid = add_volume(dock.viewer, comparison.scan, like, kind="image", name=name, visible=False, **window)
            change = add_volume(dock.viewer, comparison.change, like, kind="labels", name=f"{name} - change",
                                colormap=_colours(), opacity=0.6)  # fmt: skip
        except GenesisError as error:
            dock.show_error(str(error))
            return
        self.layers = [laid, change]

    def _go_to(self, one: RegionChange) -> None:
        change = self.layers[-1] if self.layers else None
        if change is not None and change in self.dock.viewer.layers and self.comparison is not None:
            go_to(self.dock.viewer, change, self.comparison.first.scan.geometry.to_world(one.centre))


def _colours() -> object:
    from napari.utils.colormaps import DirectLabelColormap

    return DirectLabelColormap(color_dict=dict(COLOURS))
