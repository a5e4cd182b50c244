"""Where to segment: the whole scan, a box drawn in the view, or where a labels layer is painted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError, GeometryError, ScanError
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.box import ScanBox, layer_grid
from napari_genesis.widgets.segment.box_rows import BoxRows
from napari_genesis.widgets.segment.looking import seen_box

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from genesis3d.volume import Volume
    from napari_genesis.widgets.pickers import LayerPicker

__all__ = ["KINDS", "RegionPicker"]

KINDS = ("the whole scan", "a box", "where a mask is painted")
ALL, BOX, MASK = range(3)
Triple = tuple[int, int, int]


class RegionPicker(QWidget):
    """A choice of region; the box is shown in the view, and dragged there.

    Signals
    -------
    changed() : another region
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, masks: LayerPicker) -> None:
        super().__init__()
        self._viewer, self.masks = viewer, masks
        self._layer: Layer | None = None
        self._shape: Triple | None = None
        self.box = ScanBox(viewer, self, "region to segment")
        self._build()
        self._show()

    @property
    def kind(self) -> int:
        """0 the whole scan, 1 the box, 2 the mask."""
        return self.combo.currentIndex()

    def set_kind(self, kind: int) -> None:
        """Choose the whole scan (0), the box (1) or the mask (2)."""
        self.combo.setCurrentIndex(kind)

    def set_layer(self, layer: Layer | None) -> None:
        """Follow the scan ``layer``; a box stays while it fits."""
        self._layer = layer
        self._show()

    def inside(self, volume: Volume) -> NDArray[np.bool_] | None:
        """Return what of ``volume`` (canonical) is to be segmented, (D, H, W), or None for all of it.

        Raises
        ------
        GeometryError, ScanError
            For a mask on another grid, and one without any voxel.
        """
        if self.kind == BOX:
            inside = np.zeros(volume.geometry.shape, bool)
            inside[self.slices()] = True
            return inside
        if self.kind != MASK:
            return None
        layer = self.masks.layer
        if layer is None:
            raise ScanError("mask: expected a labels layer that marks where to segment, got none")
        mask = volume_from_layer(layer)
        if not mask.geometry.matches(volume.geometry):
            raise GeometryError(
                f"{layer.name}: expected a mask on the grid of {volume.name} ({volume.geometry.describe()}), "
                f"got {mask.geometry.describe()}"
            )
        marked = np.asarray(mask.data[0] > 0)
        if not marked.any():
            raise ScanError(f"{layer.name}: expected a mask with at least one painted voxel, got an empty one")
        return marked

    def share(self) -> float:
        """Return about which share of the scan's voxels is to be segmented, without looking at a mask's voxels."""
        if self.kind != BOX or self._shape is None:
            return 1.0
        _start, size = self.rows.box()
        return float(np.prod(size)) / float(np.prod(self._shape))

    def slices(self) -> tuple[slice, slice, slice]:
        """Return the box as slices of the canonical scan."""
        (d, h, w), size = self.rows.box()
        return slice(d, d + size[0]), slice(h, h + size[1]), slice(w, w + size[2])

    def close_down(self) -> None:
        """Leave the viewer as it was."""
        self.box.remove()
        self._layer = None

    def _build(self) -> None:
        self.combo = QComboBox(objectName="region-kind")
        self.combo.addItems(KINDS)
        self.rows = BoxRows()
        self.seen = QPushButton("as in the view", objectName="box-as-seen")
        self.seen.setToolTip("the box becomes what the view shows of the scan; in depth it stays as it is")
        self.go = QPushButton("go to box", objectName="box-go")
        self.hint = QLabel("drag the box in the view, or set its ends (voxels)", wordWrap=True)
        self.hint.setStyleSheet("font-size: 8pt")
        self.box_part = QWidget()
        column = QVBoxLayout(self.box_part)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        buttons = QHBoxLayout()
        buttons.addWidget(self.seen)
        buttons.addWidget(self.go)
        column.addWidget(self.rows)
        column.addLayout(buttons)
        column.addWidget(self.hint)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(2)
        for part in (self.combo, self.box_part, self.masks):
            outer.addWidget(part)
        self.setFocusProxy(self.combo)
        self.combo.currentIndexChanged.connect(self._on_change)
        self.rows.changed.connect(self._on_change)
        self.masks.changed.connect(self._on_change)
        self.box.moved.connect(self._on_dragged)
        self.seen.clicked.connect(self._on_seen)
        self.go.clicked.connect(self.box.go)

    def _show(self) -> None:
        """Show what belongs to the choice, and the box in the view."""
        self.box_part.setVisible(self.kind == BOX)
        self.masks.setVisible(self.kind == MASK)
        volume = self._volume() if self.kind == BOX else None
        if volume is None or self._layer is None:
            self.box.hide()
            return
        if volume.geometry.shape != self._shape:
            self._shape = volume.geometry.shape
            self.rows.set_shape(self._shape)
        self.box.show(layer_grid(self._layer, volume), *self.rows.box())

    def _volume(self) -> Volume | None:
        try:
            return None if self._layer is None else volume_from_layer(self._layer)
        except GenesisError:  # said when segmenting begins
            return None

    def _on_change(self, _: Any = None) -> None:
        self._show()
        self.changed.emit()

    def _on_dragged(self, start: Triple) -> None:
        self.rows.move_to(start)
        self.changed.emit()

    def _on_seen(self) -> None:
        volume = self._volume()
        if self._layer is not None and volume is not None:
            self.rows.set_box(*seen_box(self._viewer, self._layer, volume.geometry, self.rows.box()))
            self._on_change()
