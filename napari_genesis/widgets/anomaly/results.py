"""The result of a map in the dock: threshold and least size that act at once, the table, saving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt import QLabeledDoubleSlider

from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.anomaly.regions import MOST_ROWS, RegionTable
from napari_genesis.widgets.anomaly.work import refining
from napari_genesis.widgets.finding import Clicks, go_to
from napari_genesis.widgets.parts import form_layout

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.workflows.anomaly import AnomalyMap
    from genesis3d.workflows.anomaly_map import FoundRegion
    from napari_genesis.widgets.anomaly.layers import MapLayers

__all__ = ["ResultPanel"]

SETTLE_MS = 250  # a slider at rest this long has its regions counted
EDIT_MS = 500  # lungs painted in and then left alone this long are scored again


class ResultPanel(QWidget):
    """Shows one map; hidden until there is one.

    Signals
    -------
    failed(str) : a sentence for the dock's error line
    refined() : the regions are those of slider, least size and lungs as they stand
    """

    failed = Signal(str)
    refined = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.result: AnomalyMap | None = None
        self.layers: MapLayers | None = None
        self._jobs: list[ThreadJob] = []
        self._found: list[AnomalyMap] = []
        self._again = False
        self._lungs_edited = False
        self._watched: Layer | None = None
        self._build()
        self._settle, self._edit = QTimer(self), QTimer(self)
        for timer, after in ((self._settle, SETTLE_MS), (self._edit, EDIT_MS)):
            timer.setSingleShot(True)
            timer.setInterval(after)
        self._settle.timeout.connect(self.refine)
        self._edit.timeout.connect(self.refine)
        self._clicks = Clicks(viewer, self._regions, self._on_click)
        close_with(self, self._jobs)
        self.hide()

    def show_map(self, result: AnomalyMap, layers: MapLayers) -> None:
        """Show a new map: its threshold, regions and layers."""
        self._forget_lungs()
        self.result, self.layers = result, layers
        unit = result.scan.unit or ""
        decimals = 0 if layers.limit >= 50 else 3
        self.slider.blockSignals(True)
        self.slider.setDecimals(decimals)
        self.slider.setRange(10.0**-decimals, layers.limit)
        self.slider.setValue(result.threshold)
        self.slider.blockSignals(False)
        self.slider_label.setText(f"Threshold ({unit})" if unit else "Threshold")
        self.least.blockSignals(True)
        self.least.setValue(result.settings.least_ml)
        self.least.blockSignals(False)
        self.table.set_unit(result.scan.unit)
        self._take_regions(result)
        lungs = layers.layer("lungs")
        if lungs is not None:
            self._watched = lungs
            for name in ("paint", "labels_update", "data"):
                getattr(lungs.events, name).connect(self._on_lungs)
        self.show()

    def settled(self) -> AnomalyMap | None:
        """Return the map with every pending change of slider and lungs worked in, at once."""
        if self.result is not None and (self._settle.isActive() or self._edit.isActive() or self.busy):
            self._settle.stop()
            self._edit.stop()
            for job in self._jobs:
                job.wait_closed()
            close_jobs(self._jobs)
            lungs = self._edited_lungs()
            work = refining(self.result, self.slider.value(), self.least.value(), lungs, self._found)
            for _event in work(lambda: "run"):
                pass
            self._on_refined(None)
        return self.result

    @property
    def busy(self) -> bool:
        """Whether regions are being counted in the background."""
        return any(job.running for job in self._jobs)

    def refine(self) -> None:
        """Count the regions for slider, least size and lungs as they stand, in the background."""
        if self.result is None or self.layers is None:
            return
        if self.busy:
            self._again = True
            return
        self._again, self._found = False, []
        lungs = self._edited_lungs()
        work = refining(self.result, self.slider.value(), self.least.value(), lungs, self._found)
        job = ThreadJob(work, name="regions")
        job.ended.connect(self._on_refined)
        self._jobs[:] = [job]
        job.start()

    def close_down(self) -> None:
        """Stop what runs and let go of viewer and layers."""
        self._settle.stop()
        self._edit.stop()
        close_jobs(self._jobs)
        self._forget_lungs()
        self._clicks.close()
        self.result = self.layers = None

    def _build(self) -> None:
        self.summary = QLabel(objectName="map-summary", wordWrap=True)
        self.slider = QLabeledDoubleSlider(Qt.Orientation.Horizontal, objectName="threshold")
        self.slider.setToolTip("voxels at least this much brighter than restored, inside the lungs, are marked")
        self.slider_label = QLabel("Threshold")
        self.least = QDoubleSpinBox(objectName="least", minimum=0, maximum=1000, decimals=2, singleStep=0.1)
        self.least.setSuffix(" mL")
        self.least.setToolTip("regions smaller than this are left out")
        self.table = RegionTable()
        self.export_button = QPushButton("Export CSV ...", objectName="export")
        self.save_button = QPushButton("Save map ...", objectName="save")
        self.save_button.setToolTip("write volumes, mask, lungs, table and report into a folder")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form_layout()
        rows.addRow(self.slider_label, self.slider)
        rows.addRow("Smallest region", self.least)
        buttons = QHBoxLayout()
        buttons.addWidget(self.export_button)
        buttons.addWidget(self.save_button)
        column.addWidget(self.summary)
        column.addLayout(rows)
        column.addWidget(self.table)
        column.addLayout(buttons)
        self.slider.valueChanged.connect(self._on_threshold)
        self.least.valueChanged.connect(self._on_least)
        self.table.chosen.connect(self._go_to)

    def _on_threshold(self, value: float) -> None:
        if self.layers is not None:
            self.layers.threshold(value)
            self._settle.start()

    def _on_least(self, _: float) -> None:
        self._settle.start()

    def _on_lungs(self, _: Any = None) -> None:
        if isalive(self) and self.result is not None:
            self._lungs_edited = True
            self._edit.start()

    def _edited_lungs(self) -> Any:
        """Return the lungs as painted, or None while they are as they were scored."""
        layer = None if self.layers is None else self.layers.layer("lungs")
        if not self._lungs_edited or layer is None:
            return None
        self._lungs_edited = False
        return volume_from_layer(layer)

    def _on_refined(self, state: JobState | None) -> None:
        if state is not None and state.state == "failed":
            self.failed.emit(state.message)
        found, self._found = self._found, []
        if found and self.layers is not None and self.result is not None:
            after = found[0]
            if after.score is not self.result.score:
                self.layers.show_score(after.score, after.lungs)
            self.result = after
            moved = self._settle.isActive()
            self._take_regions(after, draw=not moved)
        if self._again:
            self.refine()
        else:
            self.refined.emit()

    def _take_regions(self, result: AnomalyMap, draw: bool = True) -> None:
        if draw and self.layers is not None:
            self.layers.show_regions(result.labels)
        self.table.fill(result.regions)
        flagged = sum(item.region.volume_ml for item in result.regions)
        share = sum(item.share for item in result.regions)
        count = len(result.regions)
        shown = f", the {MOST_ROWS} largest listed" if count > MOST_ROWS else ""
        plural = "" if count == 1 else "s"
        self.summary.setText(f"<b>{flagged:.1f} mL, {share:.1f} % of the lungs</b> in {count} region{plural}{shown}")

    def _regions(self) -> Layer | None:
        return None if self.layers is None else self.layers.layer("regions")

    def _go_to(self, found: FoundRegion) -> None:
        """Bring viewer and camera to a region, into the voxel nearest to its middle."""
        layer = self._regions()
        if layer is not None and self.result is not None:
            go_to(self.viewer, layer, self.result.labels.geometry.to_world(found.region.centre))

    def _on_click(self, value: int, _position: Any) -> None:
        self.table.choose(value)

    def _forget_lungs(self) -> None:
        layer, self._watched = self._watched, None
        if layer is not None:
            for name in ("paint", "labels_update", "data"):
                getattr(layer.events, name).disconnect(self._on_lungs)
        self._lungs_edited = False
