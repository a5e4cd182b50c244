"""Where the map looks: lungs found one way or another, the whole scan, or labels of the user's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_genesis.fields import wheel_needs_focus

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_genesis.widgets.pickers import LayerPicker

__all__ = ["LungsPicker", "brush"]

LAYER = "layer"
# key of the engine, what stands in the combo, what it means
METHODS = (
    (
        "auto",
        "found in the CT",
        "by the lung model that ships, where it is there and the scan fits, else by thresholds",
    ),
    ("classical", "found by thresholds", "thresholds, connected parts and distances: no network"),
    ("network", "found by the lung model", "by the lung model that ships: holds in dense, diseased lungs too"),
    ("body", "the whole body", "everything but the air around it: for MR and other organs"),
    ("none", "the whole scan", "every voxel"),
    (LAYER, "a labels layer", "labels on the scan's grid: 1 left, 2 right, any other value counts as inside"),
)


class LungsPicker(QWidget):
    """A combo of ways, a layer picker for the last of them, and a button for the brush.

    Signals
    -------
    changed(object) : another way or another layer
    brushed() : the user wants to correct the mask by hand
    """

    changed = Signal(object)
    brushed = Signal()

    def __init__(self, layers: LayerPicker) -> None:
        super().__init__()
        self.layers = layers
        self.combo = QComboBox(objectName="lungs-combo")
        for key, words, tip in METHODS:
            self.combo.addItem(words, key)
            self.combo.setItemData(self.combo.count() - 1, tip, 3)  # Qt's role of tool tips
        wheel_needs_focus(self.combo)
        self.brush = QPushButton("Brush", objectName="brush-lungs")
        self.brush.setToolTip(
            "edit the lungs with the brush: those of the map shown, which follows; without a map they are found first"
        )
        row, column = QHBoxLayout(), QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        row.addWidget(self.combo, 1)
        row.addWidget(self.brush)
        column.addLayout(row)
        column.addWidget(self.layers)
        self.layers.setVisible(False)
        self.setFocusProxy(self.combo)
        self.combo.currentIndexChanged.connect(self._on_way)
        self.layers.changed.connect(self._on_layer)
        self.brush.clicked.connect(self._on_brush)

    @property
    def way(self) -> str:
        """How the lungs are found: ``auto``, ``classical``, ``network``, ``body``, ``none`` or ``layer``."""
        return str(self.combo.currentData())

    @property
    def layer(self) -> Layer | None:
        """The labels layer picked, where that is the way."""
        return self.layers.layer if self.way == LAYER else None

    def set_way(self, way: str) -> None:
        """Choose a way."""
        self.combo.setCurrentIndex(max(0, self.combo.findData(way)))

    def set_layer(self, layer: Layer) -> None:
        """Choose a labels layer."""
        self.layers.set_layer(layer)
        self.set_way(LAYER)

    def _on_way(self, _: int) -> None:
        self.layers.setVisible(self.way == LAYER)
        self.changed.emit(self.way)

    def _on_layer(self, layer: Any) -> None:
        if self.way == LAYER:
            self.changed.emit(layer)

    def _on_brush(self, _: Any = None) -> None:
        self.brushed.emit()


def brush(viewer: ViewerModel, layer: Layer) -> None:
    """Put the brush into the user's hand: ``layer`` shown, active, in paint mode."""
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.selected_label = max(1, layer.selected_label)
    layer.mode = "paint"
