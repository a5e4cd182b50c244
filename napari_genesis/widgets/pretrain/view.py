"""What a training shows of itself: curves, restored samples as layers, and its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from genesis3d.events import Sampled
from napari_genesis.jobs import JobState, RunFollower
from napari_genesis.widgets.plots import CurvePlot
from napari_genesis.widgets.pretrain.samples import SampleLayers
from napari_genesis.widgets.run_parts import LogFold

__all__ = ["TrainingView"]


class TrainingView(QWidget):
    """Curves, samples and log of the run last given to :meth:`follow`.

    ``spacing`` is the voxel size (mm along D, H, W) that samples are shown with.

    Signals
    -------
    learnt(object) : somebody wants to see what the run at this :class:`Path` learnt
    """

    learnt = Signal(object)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Path | None = None
        self._newest = ""
        self.spacing = (1.0, 1.0, 1.0)
        self.samples = SampleLayers(viewer)
        self.plot = CurvePlot(viewer.theme)
        self.samples_box = QCheckBox("restored samples as layers", objectName="samples-box", checked=True)
        self.samples_box.setToolTip("input, restored and target of three held-out sub-volumes, refreshed in place")
        self.samples_box.toggled.connect(self._on_samples_box)
        self.go_to = QPushButton("Go to samples", objectName="go-to-samples", enabled=False)
        self.go_to.clicked.connect(self.samples.go_to)
        self.learnt_button = QPushButton("What was learnt", objectName="what-was-learnt")
        self.learnt_button.setToolTip("what the run's best model makes of transformed sub-volumes of a scan")
        self.learnt_button.clicked.connect(self._on_learnt)
        self.log_fold = LogFold()
        row = QHBoxLayout()
        row.addWidget(self.samples_box, 1)
        row.addWidget(self.go_to)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.plot)
        layout.addLayout(row)
        layout.addWidget(self.learnt_button)
        layout.addWidget(self.log_fold)
        self.hide()  # until there is something to show

    def follow(self, follower: RunFollower) -> None:
        """Show the run of ``follower`` from now on."""
        self._run, self._newest = follower.run_dir, ""
        self.show()
        self.plot.clear()
        self.log_fold.follow(follower.run_dir)
        follower.changed.connect(self._on_progress)
        follower.event.connect(self._on_event)

    def rest(self) -> None:
        """The run has ended: show the rest of its log, then be still."""
        self.log_fold.rest()

    def close_view(self) -> None:
        """Take the sample layers out of the viewer and stop listening."""
        self.log_fold.forget()
        self._run = None
        self.samples.remove()

    def _on_learnt(self, *_: object) -> None:
        if self._run is not None:
            self.learnt.emit(self._run)

    def _on_progress(self, state: JobState) -> None:
        self.plot.show_curves(state.curves)

    def _on_event(self, event: object) -> None:
        if isinstance(event, Sampled):
            self._newest = event.path
            self._show_samples()

    def _show_samples(self) -> None:
        if self._run is None or not self._newest or not self.samples_box.isChecked():
            return
        try:
            outcomes = self.samples.show(self._run / self._newest, self.spacing)
        except (OSError, KeyError, ValueError):
            return  # pruned meanwhile; the next ones come soon
        self.go_to.setEnabled(bool(self.samples.layers))
        self.go_to.setToolTip("\n".join(outcomes))

    def _on_samples_box(self, on: bool) -> None:
        if on:
            self._show_samples()
        else:
            self.samples.remove()
            self.go_to.setEnabled(False)
