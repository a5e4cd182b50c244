"""The result of a segmentation in the dock: table, corrections, probabilities on demand, and the buttons to save."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.layers import patient_point
from napari_genesis.widgets.finding import Clicks, go_to
from napari_genesis.widgets.segment.measuring import Measured, Structure, measuring, tidying
from napari_genesis.widgets.segment.table import StructureTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.volume import Volume
    from genesis3d.workflows.segment import Segmentation
    from napari_genesis.widgets.segment.layers import SegmentLayers
    from napari_genesis.widgets.segment.work import Request

__all__ = ["GONE", "ResultPanel"]

GONE = "the labels layer was removed from the viewer; segment again"
EDIT_MS = 500  # labels painted in and then left alone this long are measured again
FURTHER = {"probabilities": "Probabilities", "entropy": "Uncertainty"}


class ResultPanel(QWidget):
    """Shows one segmentation; hidden until there is one.

    Signals
    -------
    failed(str) : a sentence for the dock's error line
    wanted(tuple) : further layers, ``probabilities`` or ``entropy``, that must be computed first
    measured() : the table is that of the labels as they are
    """

    failed = Signal(str)
    wanted = Signal(tuple)
    measured = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = viewer
        self.layers: SegmentLayers | None = None
        self.request: Request | None = None
        self.result: Segmentation | None = None
        self.figures: Measured | None = None
        self._jobs: list[ThreadJob] = []
        self._out: list[Any] = []
        self._again = False
        self._watched: Layer | None = None
        self._build()
        self._edit = QTimer(self)
        self._edit.setSingleShot(True)
        self._edit.setInterval(EDIT_MS)
        self._edit.timeout.connect(self.measure)
        self._clicks = Clicks(viewer, self._labels, self._on_click)
        close_with(self, self._jobs)
        self.hide()

    def show_result(self, layers: SegmentLayers, request: Request, result: Segmentation | None, complete: bool) -> None:
        """Show a segmentation; ``result`` None: a part, of which only the labels are known."""
        self._forget()
        self.layers, self.request, self.result, self.figures = layers, request, result, None
        seconds = "" if result is None else f" · {result.seconds:.0f} s on {result.device}"
        self._facts = f"{'' if complete else 'a part of the scan · '}{layers.names[1]}{seconds}"
        self.summary.setText(self._facts)
        self.table.set_unit(request.volume.unit)
        self.table.fill(None)
        self._watched = layers.labels
        if self._watched is not None:
            for name in ("paint", "labels_update", "data"):
                getattr(self._watched.events, name).connect(self._on_edit)
        if result is not None:
            settings = request.settings
            self.show_further(result, tuple(role for role in FURTHER if getattr(settings, role)))
        self.show()
        self.measure()

    def show_further(self, result: Segmentation, roles: tuple[str, ...]) -> None:
        """Show the probabilities or the uncertainty of ``result``."""
        if self.layers is None:
            return
        if "probabilities" in roles and result.probabilities is not None:
            self.layers.show_probabilities(result.probabilities)
        if "entropy" in roles and result.entropy is not None:
            self.layers.show_entropy(result.entropy)

    def current(self) -> Volume | None:
        """Return the labels as they are in the viewer, corrections included; None without any."""
        return None if self.layers is None else self.layers.current()

    @property
    def busy(self) -> bool:
        """Whether the table is being made, or labels tidied, in the background."""
        return any(job.running for job in self._jobs)

    def measure(self) -> None:
        """Fill the table anew, in the background."""
        labels = self.current()
        if labels is None or self.layers is None or self.request is None:
            return
        if self.busy:
            self._again = True
            return
        self._again = False
        scan = self.request.volume
        self._run(measuring(labels, scan, self.layers.classes, self.parts.isChecked(), self._out), self._on_measured)

    def tidy(self, how: str) -> None:
        """Change the labels in the background: ``largest`` part of each structure only, or ``fill`` its holes."""
        labels = self.current()
        if labels is None:
            self.failed.emit(GONE)
        if labels is None or self.layers is None or self.busy:
            return
        self._run(tidying(labels, self.layers.classes, how, self._out), self._on_tidied)

    def undo(self) -> None:
        """Take back the last change of the labels, by hand or by button."""
        if self.layers is not None:
            self.layers.undo()
            self._edit.start()

    def table_text(self) -> str:
        """Return the table as CSV, measured now if need be."""
        if self.figures is None or self._edit.isActive() or self.busy:
            self._edit.stop()
            close_jobs(self._jobs)
            labels = self.current()
            if labels is not None and self.layers is not None and self.request is not None:
                out: list[Any] = []
                work = measuring(labels, self.request.volume, self.layers.classes, self.parts.isChecked(), out)
                for _event in work(lambda: "run"):
                    pass
                self._show_figures(out[0])
        return "" if self.figures is None else self.figures.csv()

    def close_down(self) -> None:
        """Stop what runs and let go of viewer and layers."""
        self._edit.stop()
        close_jobs(self._jobs)
        self._forget()
        self._clicks.close()
        self.layers = self.request = self.result = self.figures = None

    # inside

    def _build(self) -> None:
        self._facts = ""
        self.summary = QLabel(objectName="segment-summary", wordWrap=True)
        self.table = StructureTable()
        self.parts = QCheckBox("each connected part on its own", objectName="parts")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.summary)
        column.addWidget(self.parts)
        column.addWidget(self.table)
        self.buttons: dict[str, QPushButton] = {}
        for line in self._actions():
            row = QHBoxLayout()
            for name, text, tip, slot in line:
                button = QPushButton(text, objectName=name, toolTip=tip)
                button.clicked.connect(slot)
                self.buttons[name] = button
                row.addWidget(button)
            column.addLayout(row)
        self.undo_button = self.buttons["undo"]
        self.export_button = QPushButton("Export CSV ...", objectName="export")
        self.save_button = QPushButton("Save ...", objectName="save")
        self.save_button.setToolTip("the labels as they are now, on the scan's own grid: NIfTI, NRRD, MHA, DICOM SEG")
        row = QHBoxLayout()
        row.addWidget(self.export_button)
        row.addWidget(self.save_button)
        column.addLayout(row)
        self.parts.toggled.connect(self.measure)
        self.table.chosen.connect(self._go_to)

    def _actions(self) -> tuple[tuple[tuple[str, str, str, Callable[[], None]], ...], ...]:
        return (
            (
                ("largest", "Largest part", "remove all but the largest connected part of each structure",
                 self._on_largest),
                ("fill", "Fill holes", "fill what a structure encloses on all sides", self._on_fill),
                ("undo", "Undo", "take back the last change of the labels (in the viewer: Ctrl+Z)", self.undo),
            ),
            (
                ("probabilities", "Probabilities", "a layer for each structure, computed again unless kept",
                 self._on_probabilities),
                ("entropy", "Uncertainty", "entropy of the probabilities: 0 sure, 1 all structures alike",
                 self._on_entropy),
            ),
        )  # fmt: skip

    def _run(self, work: Any, ended: Any) -> None:
        self._out.clear()
        job = ThreadJob(work, name="structures")
        job.ended.connect(ended)
        self._jobs[:] = [job]
        job.start()

    def _on_measured(self, state: JobState) -> None:
        if state.state == "failed":
            self.failed.emit(state.message)
        elif self._out:
            self._show_figures(self._out[0])
        if self._again:
            self.measure()
        else:
            self.measured.emit()

    def _show_figures(self, figures: Measured) -> None:
        self.figures = figures
        self.table.fill(figures)
        self.summary.setText(f"<b>{figures.sentence()}</b><br>{self._facts}")

    def _on_tidied(self, state: JobState) -> None:
        if state.state == "failed":
            self.failed.emit(state.message)
        elif self._out and self.layers is not None:
            self.layers.replace_values(self._out[0])
            self.measure()

    def _on_largest(self) -> None:
        self.tidy("largest")

    def _on_fill(self) -> None:
        self.tidy("fill")

    def _on_probabilities(self) -> None:
        self._want("probabilities")

    def _on_entropy(self) -> None:
        self._want("entropy")

    def _want(self, role: str) -> None:
        if self.result is not None and getattr(self.result, role) is not None:
            self.show_further(self.result, (role,))
        elif self._labels() is None:
            self.failed.emit(GONE)
        else:
            self.wanted.emit((role,))

    def _on_edit(self, _: Any = None) -> None:
        if isalive(self) and self.layers is not None:
            self._edit.start()

    def _labels(self) -> Layer | None:
        return None if self.layers is None else self.layers.labels

    def _go_to(self, found: Structure) -> None:
        layer, labels = self._labels(), self.current()
        if layer is None or labels is None or self.figures is None:
            return
        voxel = self.figures.voxel_of(found, labels.data[0])
        if voxel is not None:
            go_to(self.viewer, layer, labels.geometry.to_world(voxel))

    def _on_click(self, value: int, position: Any) -> None:
        layer, labels = self._labels(), self.current()
        if layer is None or labels is None or self.figures is None:
            return
        voxel = labels.geometry.to_index(patient_point(layer, position[-3:]))
        number = self.figures.row_at(value, voxel)
        if number:
            self.table.choose(number)

    def _forget(self) -> None:
        layer, self._watched = self._watched, None
        if layer is not None:
            for name in ("paint", "labels_update", "data"):
                getattr(layer.events, name).disconnect(self._on_edit)
