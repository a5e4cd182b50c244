"""The segmentation in the making: its layer appears with the first labels, takes the place of an older one, or goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_genesis.widgets.segment.layers import SegmentLayers
from napari_genesis.widgets.segment.live import Painter

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from genesis3d.inference.canvas import Canvas
    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["Show"]


class Show(QObject):
    """Shows one segmentation while it is computed.

    Signals
    -------
    lost() : its labels layer was taken out of the viewer meanwhile; told once
    """

    lost = Signal()

    def __init__(self, owner: QObject, viewer: ViewerModel) -> None:
        super().__init__(owner)
        self.viewer = viewer
        self.layers: SegmentLayers | None = None
        self._painter = Painter(self, viewer, self._draw)
        self._finished: list[SegmentLayers] = []
        self._hidden: list[SegmentLayers] = []
        self._begun: tuple[Volume, Layer, tuple[str, str], tuple[LabelClass, ...], bool] | None = None
        self._told = False

    def begin(self, scan: Volume, like: Layer, model: str, classes: Sequence[LabelClass], replacing: bool) -> Canvas:
        """Begin with an empty canvas on the grid of ``scan`` (canonical), which the layer ``like`` shows."""
        from genesis3d.inference.canvas import Canvas

        labels = scan.with_data(
            np.zeros(scan.geometry.shape, np.uint16), modality=None, unit=None, name=f"{scan.name} segmentation"
        )
        self._begun = (labels, like, (like.name, model), tuple(classes), replacing)
        self.layers, self._told = None, False
        canvas = Canvas(labels.data[0])
        self._painter.follow(canvas)
        return canvas

    def finish(self, labels: NDArray[Any] | None, complete: bool) -> SegmentLayers:
        """Show the final ``labels`` (D, H, W), None: those of the canvas; an older segmentation of the same goes."""
        self._painter.look()
        self._painter.end()
        layers = self._made()
        for older in self._hidden:  # first, for its name becomes free
            older.remove()
        layers.finish(layers.volume.data[0] if labels is None else labels, complete)
        self._finished = [each for each in self._finished if each.alive and each not in self._hidden] + [layers]
        self._hidden = []
        return layers

    def discard(self) -> None:
        """Take the unfinished layer away; an older one that it would have replaced is shown again."""
        self._painter.end()
        if self.layers is not None:
            self.layers.remove()
        for older in self._hidden:
            if older.labels is not None:
                older.labels.visible = True
        self.layers, self._hidden = None, []

    def close_down(self) -> None:
        """Look no more; layers stay, they are the user's."""
        self._painter.end()
        if self.layers is not None:
            self.layers.release()
        self._finished.clear()
        self._hidden.clear()

    def _draw(self) -> None:
        first = self.layers is None
        layers = self._made()
        if layers.labels is not None:
            if not first:
                layers.redraw()
        elif not self._told:
            self._told = True
            self.lost.emit()

    def _made(self) -> SegmentLayers:
        """Make the layer when there is something to show in it."""
        if self.layers is None:
            assert self._begun is not None
            labels, like, names, classes, replacing = self._begun
            if replacing:
                self._hide_older(names)
            self.layers = SegmentLayers(
                self.viewer, labels, like if like in self.viewer.layers else None, names, classes
            )
        return self.layers

    def _hide_older(self, names: tuple[str, str]) -> None:
        """Hide what will be replaced; what somebody corrected by hand is not."""
        older = [each for each in self._finished if each.names == names and each.alive and not each.edited]
        self._hidden = older
        for each in older:
            if each.labels is not None:
                each.labels.visible = False
