"""What is painted in a labels layer, counted behind the window a moment after the brush rests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from genesis3d.events import Control, Finished
from napari_genesis.jobs import ThreadJob

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

__all__ = ["LabelWatch", "Painted", "counted", "counting"]

REST_MS = 500  # the brush rests


@dataclass(frozen=True)
class Painted:
    """``voxels`` of each value but 0, and how many ``slices`` across ``axis`` of the array carry any."""

    voxels: dict[int, int] = field(default_factory=dict)
    slices: int = 0
    axis: int = 0

    @property
    def total(self) -> int:
        """Painted voxels of all values."""
        return sum(self.voxels.values())


def counted(data: np.ndarray, spacing: tuple[float, ...], control: Callable[[], str]) -> Painted | None:
    """Count (D, H, W) ``data`` slice by slice; None when told to stop.

    The axis is the one across whose slices somebody painted: the fewest carry paint; of equals the thickest.
    """
    voxels: dict[int, int] = {}
    first = np.zeros(data.shape[0], dtype=bool)
    others = [np.zeros(n, dtype=bool) for n in data.shape[1:]]
    for index, plane in enumerate(data):
        if control() == "stop":
            return None
        painted = plane != 0
        if not painted.any():
            continue
        first[index] = True
        others[0] |= painted.any(axis=1)
        others[1] |= painted.any(axis=0)
        for value, count in zip(*np.unique(plane[painted], return_counts=True), strict=True):
            voxels[int(value)] = voxels.get(int(value), 0) + int(count)
    slices = [int(marks.sum()) for marks in (first, *others)]
    axis = min(range(3), key=lambda a: (slices[a], -spacing[a], a))
    return Painted(dict(sorted(voxels.items())), slices[axis], axis)


def counting(data: np.ndarray, spacing: tuple[float, ...]) -> Callable[[Control], Iterator[Any]]:
    """Return the work of counting ``data``; its one event is a :class:`Painted`."""

    def work(control: Control) -> Iterator[Any]:
        found = counted(data, spacing, control)
        if found is not None:
            yield found
        yield Finished(cancelled=found is None)

    return work


class LabelWatch(QObject):
    """Follows one labels layer: what is painted, by brush, undo or script.

    Signals
    -------
    counted(object) : the :class:`Painted`; of no layer, an empty one
    started(object) : a :class:`Job` counts; whoever owns the watch ends it with itself
    """

    counted = Signal(object)
    started = Signal(object)

    def __init__(self, viewer: ViewerModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layer: ref[Labels] | None = None
        self._seen: tuple[Any, ...] = ()
        self._job: ThreadJob | None = None
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(REST_MS)
        self._timer.timeout.connect(self._count)

    def follow(self, layer: Labels | None) -> None:
        """Follow ``layer`` and no other."""
        before = None if self._layer is None else self._layer()
        for event, slot in self._events(before):
            event.disconnect(slot)
        self._layer = None if layer is None else ref(layer)
        for event, slot in self._events(layer):
            event.connect(slot)
        if layer is None:
            self._timer.stop()
            self.counted.emit(Painted())
        else:
            self._count()

    def close_watch(self) -> None:
        """Let go of the layer."""
        before = None if self._layer is None else self._layer()
        for event, slot in self._events(before):
            event.disconnect(slot)
        self._layer = None
        self._timer.stop()

    def _events(self, layer: Labels | None) -> list[tuple[Any, Any]]:
        if layer is None:
            return []
        events = layer.events
        return [(events.paint, self._on_change), (events.data, self._on_change), (events.set_data, self._on_drawn)]

    def _on_change(self, event: Any = None) -> None:
        if isalive(self):
            self._timer.start()

    def _on_drawn(self, event: Any = None) -> None:
        """Undo and redo only say that the slice was drawn anew: they count where it is the slice of before."""
        seen = (*self._viewer.dims.current_step, *self._viewer.dims.order, self._viewer.dims.ndisplay)
        if seen == self._seen:
            self._on_change()
        self._seen = seen

    def _count(self) -> None:
        layer = None if self._layer is None else self._layer()
        if layer is None or layer.ndim != 3 or layer.multiscale:
            return
        if self._job is not None and self._job.running:
            self._again = True
            return
        self._job = ThreadJob(counting(np.asarray(layer.data), tuple(layer.scale)), name="count labels")
        self._job.event.connect(self._on_event)
        self._job.ended.connect(self._on_ended)
        self.started.emit(self._job)
        self._job.start()

    def _on_event(self, event: object) -> None:
        if isinstance(event, Painted):
            self.counted.emit(event)

    def _on_ended(self, _: object) -> None:
        if self._again:
            self._again = False
            self._timer.start()
