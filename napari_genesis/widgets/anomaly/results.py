"""The result of a map in the dock: threshold, exclusions and least size that act at once, tables, saving."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.layers import patient_point, volume_from_layer
from napari_genesis.widgets.anomaly.figures import FigureTabs
from napari_genesis.widgets.anomaly.kept import without
from napari_genesis.widgets.anomaly.regions import MOST_ROWS
from napari_genesis.widgets.anomaly.threshold import ThresholdRow
from napari_genesis.widgets.anomaly.work import refining
from napari_genesis.widgets.finding import Clicks, go_to
from napari_genesis.widgets.parts import form_layout

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.workflows.anomaly import AnomalyMap
    from genesis3d.workflows.anomaly_map import FoundRegion
    from napari_genesis.widgets.anomaly.kept import KeptMap
    from napari_genesis.widgets.anomaly.layers import MapLayers

__all__ = ["ResultPanel"]

SETTLE_MS = 250  # a slider at rest this long has its regions counted
EDIT_MS = 500  # lungs painted in and then left alone this long are scored again
EDITS = ("paint", "labels_update", "data")


class ResultPanel(QWidget):
    """Shows one map; hidden until there is one.

    Signals
    -------
    failed(str) : a sentence for the dock's error line
    refined() : the regions are those of slider, least size and lungs as they stand
    counted() : totals changed: regions were found anew, excluded or taken back
    """

    failed = Signal(str)
    refined = Signal()
    counted = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.kept: KeptMap | None = None
        self._jobs: list[ThreadJob] = []
        self._found: list[AnomalyMap] = []
        self._again = False
        self._lungs_edited = self._took_lungs = False
        self._watched: Layer | None = None
        self._build()
        self._settle, self._edit = QTimer(self), QTimer(self)
        for timer, after in ((self._settle, SETTLE_MS), (self._edit, EDIT_MS)):
            timer.setSingleShot(True)
            timer.setInterval(after)
            timer.timeout.connect(self.refine)
        self._clicks = Clicks(viewer, self._regions, self._on_click)
        close_with(self, self._jobs)
        self.hide()

    @property
    def result(self) -> AnomalyMap | None:
        """The map shown, with every region found, excluded or not."""
        return None if self.kept is None else self.kept.result

    @property
    def layers(self) -> MapLayers | None:
        """Its layers."""
        return None if self.kept is None else self.kept.layers

    def show_map(self, kept: KeptMap) -> None:
        """Show a map: its threshold, regions and layers; what was pending for the one before is done first."""
        self.settle()
        self._forget_lungs()
        self.kept, result = kept, kept.result
        self.threshold.set_map(result.threshold, kept.default, kept.layers.limit, kept.unit, result.calibration)
        self.least.blockSignals(True)
        self.least.setValue(result.settings.least_ml)
        self.least.blockSignals(False)
        self.regions.table.set_unit(result.scan.unit)
        self._take_regions()
        lungs = kept.layers.layer("lungs")
        if lungs is not None:
            self._watched = lungs
            for name in EDITS:
                getattr(lungs.events, name).connect(self._on_lungs)
        self.show()

    def show_none(self) -> None:
        """Show no map any more."""
        self._settle.stop()
        self._edit.stop()
        close_jobs(self._jobs)
        self.figures.forget()
        self._forget_lungs()
        self.kept = None
        self.hide()

    def settle(self) -> None:
        """Work every pending change of slider and lungs in, at once."""
        if self.kept is None or not (self._settle.isActive() or self._edit.isActive() or self.busy):
            return
        self._settle.stop()
        self._edit.stop()
        for job in self._jobs:
            job.wait_closed()
        before = self._found.pop() if self._found else self.kept.result
        self._lungs_edited = self._lungs_edited or (self.busy and self._took_lungs and before is self.kept.result)
        close_jobs(self._jobs)
        for _event in self._refining(before)(lambda: "run"):
            pass
        self._again = False
        self._on_refined(None)

    def final(self, labels: bool = False) -> AnomalyMap | None:
        """Return the map without the regions taken out, every pending change worked in.

        ``labels`` False leaves the label volume as it is: for those who want the figures alone.
        """
        self.settle()
        return None if self.kept is None else without(self.kept.result, self.kept.excluded, labels)

    @property
    def busy(self) -> bool:
        """Whether regions are being counted in the background."""
        return any(job.running for job in self._jobs)

    def refine(self) -> None:
        """Count the regions for slider, least size and lungs as they stand, in the background."""
        if self.kept is None:
            return
        if self.busy:
            self._again = True
            return
        self._again, self._found = False, []
        job = ThreadJob(self._refining(self.kept.result), name="regions")
        job.ended.connect(self._on_refined)
        self._jobs[:] = [job]
        job.start()

    def close_down(self) -> None:
        """Stop what runs and let go of viewer and layers."""
        self.show_none()
        self._clicks.close()

    def add_action(self, button: QPushButton) -> None:
        """Put a button of the dock's beside those for report and files."""
        self._buttons.insertWidget(0, button)

    # inside

    def _build(self) -> None:
        self.summary = QLabel(objectName="map-summary", wordWrap=True)
        self.threshold = ThresholdRow()
        self.slider = self.threshold.slider
        self.least = QDoubleSpinBox(objectName="least", minimum=0, maximum=1000, decimals=2, singleStep=0.1)
        self.least.setSuffix(" mL")
        self.least.setToolTip("regions smaller than this are left out")
        self.figures = FigureTabs()
        self.regions, self.table = self.figures.regions, self.figures.regions.table
        self.report_button = QPushButton("Report", objectName="report")
        self.report_button.setToolTip("pictures, figures, model and settings as a page in the browser")
        self.save_button = QPushButton("Save", objectName="save")
        self.save_button.setToolTip("everything into a folder, the table, the report or the mask")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        rows = form_layout()
        rows.addRow(self.threshold)
        rows.addRow("Smallest region", self.least)
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.report_button)
        self._buttons.addWidget(self.save_button)
        column.addWidget(self.summary)
        column.addLayout(rows)
        column.addWidget(self.figures)
        column.addLayout(self._buttons)
        self.threshold.changed.connect(self._on_threshold)
        self.least.valueChanged.connect(self._on_least)
        self.regions.chosen.connect(self._go_to)
        self.regions.wanted.connect(self._on_wanted)
        self.figures.failed.connect(self.failed)

    def _refining(self, result: AnomalyMap) -> Any:
        return refining(result, self.threshold.value(), self.least.value(), self._edited_lungs(), self._found)

    def _on_threshold(self, value: float) -> None:
        if self.kept is not None:
            self.kept.layers.threshold(value)
            self._settle.start()

    def _on_least(self, _: float) -> None:
        self._settle.start()

    def _on_lungs(self, _: Any = None) -> None:
        if isalive(self) and self.kept is not None:
            self._lungs_edited = True
            self._edit.start()

    def _edited_lungs(self) -> Any:
        """Return the lungs as painted, or None while they are as they were scored."""
        layer = None if self.kept is None else self.kept.layers.layer("lungs")
        self._took_lungs = self._lungs_edited and layer is not None
        self._lungs_edited = False
        return volume_from_layer(layer) if self._took_lungs else None

    def _on_refined(self, state: JobState | None) -> None:
        if state is not None and state.state == "failed":
            self.failed.emit(state.message)
        found, self._found = self._found, []
        if found and self.kept is not None:
            after = found[0]
            if after.score is not self.kept.result.score:
                self.kept.layers.show_score(after.score, after.lungs)
            self.kept.take(after)
            self._take_regions(draw=not self._settle.isActive())
        if self._again:
            self.refine()
        else:
            self.refined.emit()

    def _on_wanted(self, what: str, number: int | None) -> None:
        """Exclude a region or take it back in, undo or redo: at once, no region is found anew for it."""
        if self.kept is None:
            return
        act = getattr(self.kept.exclusions, what)
        if number is None:
            act()
        else:
            act(self.kept.result.labels.data[0], number)
        self.kept.count()
        self._take_regions(same=True)

    def _take_regions(self, draw: bool = True, same: bool = False) -> None:
        kept = self.kept
        assert kept is not None
        if draw:
            kept.layers.show_regions(kept.result.labels, kept.excluded)
        self.figures.show_map(kept, same)
        count, out = kept.left(), len(kept.excluded)
        listed = f", the {MOST_ROWS} largest listed" if len(kept.result.regions) > MOST_ROWS else ""
        words = f"in {count} region{'' if count == 1 else 's'}{f', {out} excluded' if out else ''}{listed}"
        figures = f"<b>{kept.millilitres():.1f} mL, {kept.share():.1f} % of the lungs</b> {words}"
        self.summary.setText(f"{figures}<br>{escape(kept.name)}: {escape(kept.scan)}")
        self.counted.emit()

    def _regions(self) -> Layer | None:
        return None if self.kept is None else self.kept.layers.layer("regions")

    def _go_to(self, found: FoundRegion) -> None:
        """Bring viewer and camera to a region, into the voxel nearest to its middle."""
        layer = self._regions()
        if layer is not None and self.kept is not None:
            go_to(self.viewer, layer, self.kept.result.labels.geometry.to_world(found.region.centre))

    def _on_click(self, _value: int, position: Any) -> None:
        """Mark the row of the region under the pointer, excluded ones too: all of those look alike in the layer."""
        layer = self._regions()
        if layer is None or self.kept is None:
            return
        labels = self.kept.result.labels
        voxel = labels.geometry.to_index(patient_point(layer, position[-3:])).round().astype(int)
        if all(0 <= v < n for v, n in zip(voxel, labels.data.shape[1:], strict=True)):
            self.regions.choose(int(labels.data[0][tuple(voxel)]))

    def _forget_lungs(self) -> None:
        layer, self._watched = self._watched, None
        if layer is not None:
            for name in EDITS:
                getattr(layer.events, name).disconnect(self._on_lungs)
        self._lungs_edited = False
