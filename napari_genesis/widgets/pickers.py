"""Combo boxes that follow the viewer's layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_genesis.widgets.parts import unwrapped

__all__ = ["LayerPicker", "describe_layer"]

KINDS = {"image": Image, "labels": Labels}


def describe_layer(layer: Layer) -> str:
    """Return shape and spacing, x by y by z, and modality: ``512 x 512 x 133  CT  0.70 x 0.70 x 2.50 mm``."""
    shape = layer.data.shape
    known = layer.metadata.get("genesis", {})
    modality = known.get("modality") if isinstance(known, dict) else getattr(known, "modality", None)
    unit = "mm" if "millimeter" in str(layer.units[-1]) else str(layer.units[-1])
    size = " x ".join(str(n) for n in reversed(shape))
    spacing = " x ".join(f"{s:.2f}" for s in reversed(tuple(layer.scale)))
    return "  ".join(part for part in (size, modality, f"{spacing} {unit}") if part)


class LayerPicker(QWidget):
    """A combo of the viewer's layers that follows what is added, removed, renamed and moved.

    Parameters
    ----------
    viewer : napari's viewer
    kinds : which of ``"image"`` and ``"labels"``
    optional : the words of a first entry that means "none"; None for no such entry
    accepts : a further condition on a layer (default: 3D, not RGB)

    Signals
    -------
    changed(object) : the picked layer or None, when it became another one
    """

    changed = Signal(object)

    def __init__(
        self,
        viewer: ViewerModel,
        kinds: tuple[str, ...] = ("image",),
        optional: str | None = None,
        accepts: Callable[[Layer], bool] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer = viewer = unwrapped(viewer)
        self._classes = tuple(KINDS[kind] for kind in kinds)
        self._optional = optional
        self._accepts = accepts or _is_volume
        self._layer: Layer | None = None
        self._entries: list[Layer | None] = []
        self.combo = QComboBox(objectName="layer-combo")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        self.combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.info = QLabel(objectName="layer-info", wordWrap=True)
        self.info.setStyleSheet("font-size: 8pt")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.combo)
        layout.addWidget(self.info)
        self.setFocusProxy(self.combo)
        self.combo.currentIndexChanged.connect(self._on_index)
        self._events = [getattr(viewer.layers.events, name) for name in ("inserted", "removed", "reordered", "renamed")]
        for emitter in self._events:
            emitter.connect(self._on_layers)
        self.refresh()

    @property
    def layer(self) -> Layer | None:
        """The picked layer, or None."""
        return self._layer

    def set_layer(self, layer: Layer | None) -> None:
        """Pick ``layer``; one that the combo does not offer is ignored."""
        layer = unwrapped(layer)
        for index, entry in enumerate(self._entries):
            if entry is layer:
                self.combo.setCurrentIndex(index)

    def layers(self) -> list[Layer]:
        """Return the layers offered, uppermost first."""
        return [entry for entry in self._entries if entry is not None]

    def refresh(self) -> None:
        """Read the viewer's layers anew; the picked one stays picked while it exists."""
        offered: list[Layer | None] = [] if self._optional is None else [None]
        offered += [x for x in reversed(self._viewer.layers) if isinstance(x, self._classes) and self._accepts(x)]
        self._entries = offered
        self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([self._optional or "" if x is None else x.name for x in offered])
        kept = next((i for i, x in enumerate(offered) if x is not None and x is self._layer), 0 if offered else -1)
        self.combo.setCurrentIndex(kept)
        self.combo.blockSignals(False)
        self.combo.setEnabled(bool(offered))
        self._on_index(kept)

    def disconnect_viewer(self) -> None:
        """Follow the viewer no more."""
        for emitter in self._events:
            emitter.disconnect(self._on_layers)
        self._events = []
        self._layer, self._entries = None, []

    def _on_layers(self, event: Any = None) -> None:
        if isalive(self):
            self.refresh()

    def _on_index(self, index: int) -> None:
        layer = self._entries[index] if 0 <= index < len(self._entries) else None
        if layer is None:
            empty = "" if self._entries else f"no {' or '.join(c.__name__.lower() for c in self._classes)} layer yet"
            self.info.setText(empty)
        else:
            self.info.setText(describe_layer(layer))
        if layer is not self._layer:
            self._layer = layer
            self.changed.emit(layer)


def _is_volume(layer: Layer) -> bool:
    """Whether it is a 3D scan: no colour picture, no pyramid, no samples that a training shows."""
    if getattr(layer, "rgb", False) or getattr(layer, "multiscale", False):
        return False
    return layer.ndim == 3 and "genesis samples" not in layer.metadata
