"""A version's prediction of the whole scan, in a layer of its own that fills while it is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.QtCore import QObject

from genesis3d.errors import ConfigError
from genesis3d.events import Control, Event, Finished
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.run_files import training_threads
from napari_genesis.structures import name_structures
from napari_genesis.widgets.colours import label_colours
from napari_genesis.widgets.finetune.versions import NOW
from napari_genesis.widgets.status import StatusArea

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from genesis3d.volume import Volume

__all__ = ["WholePrediction", "predicting"]


Work = Callable[[Control], Iterator[Event]]


def predicting(volume: Volume, model: Path, canvas: Any) -> Work:
    """Return the work of predicting ``volume``; what is known appears on ``canvas``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.networks.model_file import read_model
        from genesis3d.workflows.segment import SegmentSettings, segment_volume

        settings = SegmentSettings(quality="fast", threads=training_threads())
        result = yield from segment_volume(volume, read_model(model), settings, canvas=canvas, control=control)
        if result.complete:
            np.copyto(canvas.labels, result.labels.data[0])
        yield Finished(cancelled=not result.complete)

    return work


class WholePrediction(QObject):
    """One prediction at a time; a layer for each version, so that versions can be compared."""

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: ref[Labels] | None = None
        self._job: ThreadJob | None = None
        self._canvas: Any = None
        self.status = StatusArea()

    @property
    def running(self) -> bool:
        """Whether a prediction is being made."""
        return self._job is not None and self._job.running

    def job(self, model: Path, scan: Image | None) -> ThreadJob:
        """Return the job that predicts ``scan`` with ``model``, shown in the colours of its classes.

        Raises
        ------
        ConfigError
            Without a scan, or while another prediction is being made.
        GenesisError
            For a layer that is no scan, or a file that is no model.
        """
        from genesis3d.networks.model_file import read_card
        from genesis3d.workflows.segment import Canvas

        if scan is None:
            raise ConfigError("pick the scan to be predicted first")
        if self.running:
            raise ConfigError("a prediction is being made: let it end first")
        volume, classes = volume_from_layer(scan), read_card(model).classes
        empty = volume.with_data(np.zeros(volume.geometry.shape, np.uint16), unit=None, notes=())
        layer = self._layer_for(_name(model), empty, scan)
        if any(one.value for one in classes):
            layer.colormap = label_colours(classes)
        name_structures(layer, (one for one in classes if one.value))
        self._layer, self._canvas = ref(layer), Canvas(empty.data[0])
        self._job = ThreadJob(predicting(volume, model, self._canvas), name="predict")
        self._job.changed.connect(self._on_changed)
        self._job.ended.connect(self._on_ended)
        self.status.show_error("")
        return self._job

    def layer_of(self, model: Path) -> Labels | None:
        """Return the layer that shows what ``model`` finds, or None when there is none, or it is not complete."""
        name = _name(model)
        return None if self.running or name not in self._viewer.layers else self._viewer.layers[name]

    def _layer_for(self, name: str, empty: Volume, scan: Image) -> Labels:
        if name in self._viewer.layers:
            self._viewer.layers.remove(name)
        active = self._viewer.layers.selection.active
        layer = add_volume(self._viewer, empty, scan, kind="labels", name=name, opacity=0.5)
        self._viewer.layers.selection.active = active if active in self._viewer.layers else layer
        return layer

    def _on_changed(self, state: JobState) -> None:
        self.status.show_state(state)
        if self._canvas.take():
            self._redraw()

    def _on_ended(self, state: JobState) -> None:
        self.status.show_state(state)
        if state.state != "failed":
            self.status.show_facts("")
        self._redraw()

    def _redraw(self) -> None:
        layer = None if self._layer is None else self._layer()
        if layer is not None and layer in self._viewer.layers:
            layer.refresh(extent=False, thumbnail=False, highlight=False)


def _name(model: Path) -> str:
    number = model.stem.removeprefix("version-")
    return f"prediction of version {int(number)}" if number.isdigit() else f"prediction ({NOW})"
