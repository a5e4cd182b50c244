"""What a fine-tuning shows of itself: the live prediction and what to do with it, curves, and its log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from genesis3d.events import Sampled, Started, Stepped
from napari_genesis.jobs import JobState, RunFollower
from napari_genesis.widgets.dice_plot import DicePlot
from napari_genesis.widgets.finetune.live import LiveOverlay
from napari_genesis.widgets.plots import CurvePlot
from napari_genesis.widgets.run_parts import LogFold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

    from genesis3d.labels import LabelClass

__all__ = ["TuningView"]

LIVE = "live/"


class TuningView(QWidget):
    """Live prediction, the two buttons of the loop, curves of loss and Dice, log.

    Signals
    -------
    taken() : the prediction is wanted as labels
    continued() : train on, from the labels as they stand
    """

    taken = Signal()
    continued = Signal()

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._run: Path | None = None
        self.overlay = LiveOverlay(viewer, self)
        self.overlay.shown.connect(self._on_shown)
        self.live_box = QCheckBox("live prediction on the slice", objectName="live-box", checked=True)
        self.live_box.setToolTip("outlines of what the network finds on the slice looked at, renewed as it learns")
        self.live_box.toggled.connect(self.overlay.set_wanted)
        self.over_paint = QCheckBox("over my paint", objectName="over-paint")
        self.over_paint.setToolTip("else the prediction fills only what is not painted")
        self.take_button = QPushButton("Use prediction as labels", objectName="take-prediction", enabled=False)
        self.take_button.setToolTip("copy it into the labels layer, to be corrected there; Ctrl+Z takes it back")
        self.take_button.clicked.connect(self._on_take)
        self.continue_button = QPushButton("Continue from my corrections", objectName="continue", enabled=False)
        self.continue_button.setToolTip("train on with the labels as they are painted now; what was learnt is kept")
        self.continue_button.clicked.connect(self._on_continue)
        self.note = QLabel(objectName="note", wordWrap=True, visible=False)
        self.plot = CurvePlot(viewer.theme)
        self.dice = DicePlot(viewer.theme)
        self.log_fold = LogFold()
        row = QHBoxLayout()
        row.addWidget(self.take_button, 1)
        row.addWidget(self.over_paint)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.note)
        layout.addWidget(self.live_box)
        layout.addLayout(row)
        layout.addWidget(self.continue_button)
        for widget in (self.dice, self.plot, self.log_fold):
            layout.addWidget(widget)
        self.hide()  # until there is something to show

    def follow(self, follower: RunFollower, scan: Image | None, classes: Sequence[LabelClass]) -> None:
        """Show the run of ``follower`` from now on, its predictions on ``scan`` in the colours of ``classes``."""
        self._run = follower.run_dir
        self.show()
        self.say("")
        self.plot.clear()
        self.dice.set_classes(classes)
        self.log_fold.follow(follower.run_dir)
        self.overlay.follow(follower.run_dir, scan, classes)
        follower.changed.connect(self._on_progress)
        follower.event.connect(self._on_event)

    def rest(self) -> None:
        """The run has ended: show the rest of its log, then be still."""
        self.log_fold.rest()
        self.overlay.rest()

    def say(self, sentence: str) -> None:
        """Show a sentence about the loop; empty hides it."""
        self.note.setText(sentence)
        self.note.setVisible(bool(sentence))

    def close_view(self) -> None:
        """Take the prediction out of the viewer and stop listening."""
        self.log_fold.forget()
        self._run = None
        self.overlay.close_overlay()

    def set_theme(self, theme: str) -> None:
        """Take the colours of napari's ``theme``."""
        self.plot.set_theme(theme)
        self.dice.set_theme(theme)

    def _on_progress(self, state: JobState) -> None:
        self.plot.show_curves(state.curves)
        self.dice.show_curves(state.curves)

    def _on_event(self, event: object) -> None:
        if isinstance(event, Started | Stepped):
            self.overlay.ask()
        elif isinstance(event, Sampled) and event.path.startswith(LIVE) and self._run is not None:
            self.overlay.read(self._run / event.path)

    def _on_shown(self) -> None:
        self.take_button.setEnabled(self.overlay.layer is not None)

    def _on_take(self, *_: object) -> None:
        self.taken.emit()

    def _on_continue(self, *_: object) -> None:
        self.continued.emit()
