"""What was learnt: a model's restorations of the twelve outcomes on a scan, as pictures with figures, in the dock."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
from napari.utils.theme import get_theme
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import add_volume, patient_point, volume_from_layer
from napari_genesis.widgets.models import ModelPicker, model_name
from napari_genesis.widgets.parts import form_layout, theme_kind
from napari_genesis.widgets.pickers import LayerPicker
from napari_genesis.widgets.pretrain.learnt_rows import RowList
from napari_genesis.widgets.pretrain.learnt_work import Framed, drawing, layers_of, restoring
from napari_genesis.widgets.shared import Store
from napari_genesis.widgets.status import StatusArea

__all__ = ["LearntView"]

PICTURE_KINDS = "PNG (*.png);;PDF (*.pdf);;SVG (*.svg)"
SHOWN_AT = (1, 5)  # numbers of rows
HINT = "Pick a scan, better one that was not trained on, and see what the model makes of it when it is transformed."


class LearntView(QWidget):
    """Scan, model, a button, and the rows.

    Signals
    -------
    started(object) : a :class:`Job` works in the background; whoever owns the view ends it with itself
    filled() : there is something to look at: the first row, then as many as fill a dock
    """

    started = Signal(object)
    filled = Signal()

    def __init__(self, viewer: Any, scans: LayerPicker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._seed = 0
        self._at: tuple[int, int, int] | None = None
        self._job: ThreadJob | None = None
        self._label, self._scan = "", ""
        self._like: ref[Any] | None = None
        self._frame: Any = None
        self._chosen: Any = None
        self.scans, self.models = scans, ModelPicker(Store("PretrainDock-learnt"), viewer)
        self.rows = RowList()
        self.status = StatusArea()
        self.hint = QLabel(HINT, objectName="learnt-hint", wordWrap=True)
        self._build()
        self.follow_theme()
        self.scans.changed.connect(self._on_scan)
        self.models.changed.connect(self._update)
        self.rows.chosen.connect(self._on_chosen)
        self._on_scan(self.scans.layer)

    @property
    def running(self) -> bool:
        """Whether the model is at work, or a picture is being written."""
        return self._job is not None and self._job.running

    @property
    def chosen(self) -> Any:
        """The row chosen, or None."""
        return self._chosen

    def show_run(self, run: Path) -> None:
        """Pick the model of ``run``, and begin if there is a scan."""
        self.models.refresh()
        self.models.set_path(run)
        if self.scans.layer is not None and self.models.path is not None and not self.running:
            self.begin()

    def begin(self) -> None:
        """Restore the outcomes at the present place."""
        from genesis3d.workflows.gallery_rows import GallerySettings

        layer, model = self.scans.layer, self.models.path
        if layer is None or model is None or self.running:
            return
        self.status.show_error("")
        try:
            volume = volume_from_layer(layer)
        except GenesisError as error:
            self.status.show_error(str(error))
            return
        self._label, self._scan, self._like = model_name(model), layer.name, ref(layer)
        settings = GallerySettings(seed=self._seed, at=self._at)
        self._run(ThreadJob(restoring(volume, model, self._label, settings), name="what was learnt"))

    def begin_elsewhere(self, *_: object) -> None:
        """Restore them at another place, drawn anew, with other transformations."""
        self._seed, self._at = self._seed + 1, None
        self.begin()

    def begin_here(self, *_: object) -> None:
        """Restore them around the middle of what the viewer shows."""
        layer = self.scans.layer
        if layer is None:
            return
        try:
            volume = volume_from_layer(layer).canonical()
            index = volume.geometry.to_index(patient_point(layer, self._view_middle()))
        except GenesisError as error:
            self.status.show_error(str(error))
            return
        inside = np.clip(np.round(index), 0, np.subtract(volume.geometry.shape, 1)).astype(int)
        self._at = (int(inside[0]), int(inside[1]), int(inside[2]))
        self.begin()

    def stop(self) -> None:
        """Stop after the outcome in flight; the rows so far stay."""
        if self._job is not None:
            self._job.stop()

    def add_to_viewer(self, *_: object) -> list[Any]:
        """Add the chosen row as layers at its place in the scan: transformed, restored, error."""
        if self._chosen is None or self._frame is None:
            return []
        like = self._like() if self._like is not None else None
        like = like if like in self._viewer.layers else None
        active = self._viewer.layers.selection.active
        made = []
        for volume, is_error in layers_of(self._chosen, self._label, self._frame, self._scan):
            look: dict[str, Any] = {"kind": "image"}
            if is_error:
                limit = float(volume.data.max()) or 1.0
                look |= {"colormap": "inferno", "contrast_limits": (0.0, limit), "visible": False}
            elif like is not None and hasattr(like, "contrast_limits"):
                look["contrast_limits"] = tuple(like.contrast_limits)
            made.append(add_volume(self._viewer, volume, like, **look))
        if active is not None:
            self._viewer.layers.selection.active = active
        return made

    def save_picture(self, *_: object) -> None:
        """Ask for a file and write the picture that ``genesis3d gallery`` writes."""
        name, kind = QFileDialog.getSaveFileName(self, "Save picture", "what-was-learnt.png", PICTURE_KINDS)
        if name:
            path = Path(name)
            self.write_picture(path if path.suffix else path.with_suffix(f".{kind[:3].lower()}"))

    def write_picture(self, path: Path) -> None:
        """Write the picture to ``path`` in the background."""
        rows = [item.row for item in self.rows.items]
        if rows and not self.running:
            self.status.show_error("")
            self._run(ThreadJob(drawing(self._frame, rows, path), name="picture"))

    def follow_theme(self) -> None:
        """Take the colours of napari's theme."""
        self.status.set_theme(theme_kind(self._viewer))
        self.rows.set_accent(get_theme(self._viewer.theme).current.as_hex())

    # inside

    def _build(self) -> None:
        inputs: QFormLayout = form_layout()
        inputs.addRow("Scan", self.scans)
        inputs.addRow("Model", self.models)
        self.show_button = self._button("learnt-show", "Show what was learnt", self._on_show)
        self.here = self._button("learnt-here", "Here", self.begin_here)
        self.here.setToolTip("around the middle of what the viewer shows")
        self.elsewhere = self._button("learnt-elsewhere", "Elsewhere", self.begin_elsewhere)
        self.elsewhere.setToolTip("at another place, drawn anew, with other transformations")
        self.add = self._button("learnt-add", "Add to viewer", self.add_to_viewer)
        self.add.setToolTip("the chosen row as layers at its place in the scan: transformed, restored, error")
        self.save = self._button("learnt-save", "Save picture …", self.save_picture)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.hint)
        column.addLayout(inputs)
        for buttons in ((self.show_button, self.here, self.elsewhere), (self.add, self.save)):
            row = QHBoxLayout()
            for button in buttons:
                row.addWidget(button, 2 if button is self.show_button else 1)
            column.addLayout(row)
        column.addWidget(self.status)
        column.addWidget(self.rows)

    def _button(self, name: str, text: str, slot: Any) -> QPushButton:
        button = QPushButton(text, objectName=name)
        button.clicked.connect(slot)
        return button

    def _run(self, job: ThreadJob) -> None:
        self._job = job
        job.event.connect(self._on_event)
        job.changed.connect(self._on_changed)
        job.ended.connect(self._on_ended)
        self.started.emit(job)
        job.start()
        self._update()

    def _on_show(self, *_: object) -> None:
        if self.running:
            self.stop()
        else:
            self.begin()

    def _on_event(self, event: object) -> None:
        from genesis3d.workflows.gallery_rows import Row

        if isinstance(event, Framed):
            self._frame, self._chosen = event.frame, None
            self.rows.begin(event.frame, self._label)
            self.hint.hide()
        elif isinstance(event, Row):
            self.rows.add(event)
            if len(self.rows.items) in SHOWN_AT:
                self.filled.emit()

    def _on_changed(self, state: JobState) -> None:
        self.status.show_state(state)
        self._update()

    def _on_ended(self, state: JobState) -> None:
        self.status.show_state(state)
        if state.state == "finished":
            self.status.show_facts(f"saved {Path(state.saved).name}" if state.saved else self._mean_sentence())
        self._update()

    def _on_chosen(self, row: Any) -> None:
        self._chosen = row
        self._update()

    def _on_scan(self, layer: Any) -> None:
        self._at = None
        self.models.set_layer(layer)
        self._update()

    def _mean_sentence(self) -> str:
        from genesis3d.workflows.gallery_picture import score_text
        from genesis3d.workflows.gallery_rows import mean_scores

        rows = [item.row for item in self.rows.items]
        if not rows:
            return ""
        means = mean_scores(rows)[self._label]
        return f"'{self._label}', mean of the outcomes: {score_text(means)}, {means.ratio:.2f} of a constant's error"

    def _update(self, *_: object) -> None:
        ready = self.scans.layer is not None and self.models.card is not None
        stopping = self.running and self._job is not None and self._job.state.state == "cancelling"
        self.show_button.setText("Stopping ..." if stopping else "Stop" if self.running else "Show what was learnt")
        self.show_button.setEnabled((self.running and not stopping) or (ready and not self.running))
        for button in (self.here, self.elsewhere):
            button.setEnabled(ready and not self.running)
        self.add.setEnabled(self._chosen is not None)
        self.save.setEnabled(bool(self.rows.items) and not self.running)

    def _view_middle(self) -> Any:
        """The point, in the viewer's world, in the middle of the slice shown."""
        point = np.array(self._viewer.dims.point, dtype=np.float64)
        camera = getattr(self._viewer, "scene", self._viewer).camera  # napari before 0.9 has it on the viewer
        shown = list(self._viewer.dims.displayed)
        point[shown] = np.asarray(camera.center)[-len(shown) :]
        return point[-3:]
