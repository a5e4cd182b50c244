"""What the network being trained makes of the slice looked at: a labels layer that refreshes in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from genesis3d.errors import GenesisError
from genesis3d.events import Control, Finished
from genesis3d.training.rundir import RunDir
from napari_genesis.jobs import ThreadJob
from napari_genesis.layers import add_volume, array_turn, volume_from_layer
from napari_genesis.widgets.colours import label_colours
from napari_genesis.widgets.finetune.regrid import Slab, WorkingGrid
from napari_genesis.widgets.finetune.rounds import run_config

if TYPE_CHECKING:
    from napari.layers import Image, Labels

    from genesis3d.labels import LabelClass

__all__ = ["LiveOverlay", "array_box", "place_looked_at", "reading"]

MOVED_MS = 120  # after the slice changed: a drag of the slider asks once
THICKNESS = 1  # of the outlines, in voxels


def reading(path: Path) -> Callable[[Control], Iterator[Any]]:
    """Return the work of reading a prediction; a file being replaced or from elsewhere is passed over."""

    def work(control: Control) -> Iterator[Any]:
        try:
            with np.load(path) as file:
                start = tuple(int(n) for n in file["start"])
                yield Slab(np.asarray(file["labels"]), start, int(file["step"]))  # type: ignore[arg-type]
        except (OSError, KeyError, ValueError):
            pass
        yield Finished()

    return work


def place_looked_at(viewer: Any, layer: Image) -> tuple[int, int] | None:
    """Return axis and index of the slice of the canonical scan that the 2D view shows; None in 3D or outside."""
    dims = viewer.dims
    if dims.ndisplay != 2:
        return None
    index = np.round(layer.world_to_data(dims.point)[-3:]).astype(int)
    axis = int(dims.order[-3]) - (dims.ndim - 3)
    if not 0 <= axis <= 2 or not 0 <= index[axis] < layer.data.shape[axis]:
        return None
    turn = array_turn(layer)
    canonical, place = turn.permutation.index(axis), int(index[axis])
    return canonical, layer.data.shape[axis] - 1 - place if turn.flips[canonical] else place


def array_box(box: tuple[slice, ...], layer: Labels) -> tuple[slice, ...]:
    """Return where a ``box`` of the canonical scan lies in the array of ``layer``."""
    turn, shape = array_turn(layer), layer.data.shape
    found = [slice(0, n) for n in shape]
    for axis, part in enumerate(box):
        source = turn.permutation[axis]
        size = shape[source]
        found[source] = slice(size - part.stop, size - part.start) if turn.flips[axis] else part
    return tuple(found)


class LiveOverlay(QObject):
    """Asks the run for the slice looked at, and shows its answers.

    Signals
    -------
    shown() : there is a prediction in the viewer, or another one
    started(object) : a :class:`Job` reads a prediction; whoever owns the overlay ends it with itself
    """

    shown = Signal()
    started = Signal(object)

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._run: Path | None = None
        self._scan: ref[Image] | None = None
        self._classes: tuple[LabelClass, ...] = ()
        self._layer: Labels | None = None
        self._volume: Any = None
        self._job: ThreadJob | None = None
        self._waiting: Path | None = None
        self.box: tuple[slice, ...] | None = None
        self.step = 0
        self.wanted, self.asking = True, False
        self._asked: tuple[int, int] | None = None
        self._grid: WorkingGrid | None = None
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(MOVED_MS)
        self._moved.timeout.connect(self.ask)
        for emitter in self._emitters():
            emitter.connect(self._on_moved)

    @property
    def layer(self) -> Labels | None:
        """The prediction's layer, while it is in the viewer."""
        return self._layer if self._layer is not None and self._layer in self._viewer.layers else None

    def follow(self, run: Path, scan: Image | None, classes: Sequence[LabelClass]) -> None:
        """Show the predictions of ``run`` on ``scan``, in the colours of ``classes``."""
        same = self._scan is not None and scan is not None and self._scan() is scan and self._classes == tuple(classes)
        if not same or self.layer is None:
            self.remove()
        self._run = run
        self._scan = None if scan is None else ref(scan)
        self._classes = tuple(classes)
        self.step, self._asked, self._grid, self.asking = 0, None, None, True

    def rest(self) -> None:
        """The training ended: ask no more; the last prediction stays."""
        self.asking = False
        self._moved.stop()

    def set_wanted(self, wanted: bool) -> None:
        """Show predictions, or take them away and ask for none."""
        self.wanted, self._asked = wanted, None
        if wanted:
            self.ask()
            return
        self.remove()
        if self._run is not None and self.asking:
            from genesis3d.training.live import withdraw

            withdraw(self._run)

    def close_overlay(self) -> None:
        """Take the layer out of the viewer and listen no more."""
        self.rest()
        for emitter in self._emitters():
            emitter.disconnect(self._on_moved)
        self.remove()
        self._run = self._scan = None

    def remove(self) -> None:
        """Take the layer out of the viewer; the next prediction makes it anew."""
        layer = self.layer
        if layer is not None:
            self._viewer.layers.remove(layer)
        self._let_go()

    def ask(self) -> None:
        """Tell the run, once it has begun, what is looked at; it renews its answer until another slice is asked for."""
        scan = None if self._scan is None else self._scan()
        if self._run is None or not (self.wanted and self.asking) or scan is None or scan not in self._viewer.layers:
            return
        if not RunDir(self._run).begun():
            return
        try:
            place = place_looked_at(self._viewer, scan)
            if place is None or place == self._asked:
                return
            if self._grid is None:  # the run has begun: it has settled on its grid
                geometry = volume_from_layer(scan).geometry
                self._grid = WorkingGrid(geometry, run_config(self._run).data.spacing)
        except GenesisError:
            return
        from genesis3d.training.live import ask

        self._asked = place
        ask(self._run, case=0, axis=place[0], index=self._grid.there(*place))

    def read(self, path: Path) -> None:
        """Show the prediction in ``path`` as soon as it is read; of several that come together the newest."""
        if self._job is not None and self._job.running:
            self._waiting = path
            return
        self._job = ThreadJob(reading(path), name="prediction")
        self._job.event.connect(self._on_event)
        self._job.ended.connect(self._on_ended)
        self.started.emit(self._job)
        self._job.start()

    def paste(self, slab: Slab) -> None:
        """Show ``slab`` and nothing of the predictions before it."""
        scan = None if self._scan is None else self._scan()
        if not self.wanted or scan is None or scan not in self._viewer.layers or not self._make_layer(scan):
            return
        own = slab if self._grid is None else self._grid.back(slab)
        whole = self._volume.data[0]
        if own is None or (np.add(own.start, own.labels.shape) > whole.shape).any():
            return  # of another scan
        if self.box is not None:
            whole[self.box] = 0
        self.box = tuple(slice(a, a + n) for a, n in zip(own.start, own.labels.shape, strict=True))
        whole[self.box] = own.labels
        self.step = slab.step
        layer = self.layer
        if layer is not None:
            layer.name = f"prediction (step {slab.step})"
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.shown.emit()

    def slice_box(self) -> tuple[slice, ...] | None:
        """Return where in the layer's array the slice looked at is predicted; None where it is not."""
        layer, scan = self.layer, None if self._scan is None else self._scan()
        if self.box is None or layer is None or scan is None or scan not in self._viewer.layers:
            return None
        place = place_looked_at(self._viewer, scan)
        if place is None:
            return None
        axis, index = place
        part = self.box[axis]
        if not part.start <= index < part.stop:
            return None
        return array_box((*self.box[:axis], slice(index, index + 1), *self.box[axis + 1 :]), layer)

    def _make_layer(self, scan: Image) -> bool:
        if self._layer is not None:
            return self.layer is not None  # one that somebody removed stays away until the next training
        try:
            volume = volume_from_layer(scan)
        except GenesisError:
            return False
        self._volume = volume.with_data(np.zeros(volume.geometry.shape, np.uint16), unit=None, notes=())
        active, selection = self._viewer.layers.selection.active, set(self._viewer.layers.selection)
        layer = add_volume(self._viewer, self._volume, scan, kind="labels", name="prediction")
        layer.metadata["genesis prediction"] = True
        layer.editable = False
        if self._classes:
            layer.colormap = label_colours(self._classes)
        layer.contour = THICKNESS
        layer.opacity = 1.0
        self._layer = layer
        self._viewer.layers.selection = {one for one in selection if one in self._viewer.layers}
        self._viewer.layers.selection.active = active if active in self._viewer.layers else None
        return True

    def _let_go(self) -> None:
        self._layer, self._volume, self.box = None, None, None

    def _emitters(self) -> list[Any]:
        events = self._viewer.dims.events
        return [events.current_step, events.order, events.ndisplay]

    def _on_moved(self, event: Any = None) -> None:
        if isalive(self) and self.asking:
            self._moved.start()

    def _on_event(self, event: object) -> None:
        if isinstance(event, Slab):
            self.paste(event)

    def _on_ended(self, _: object) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self.read(waiting)
