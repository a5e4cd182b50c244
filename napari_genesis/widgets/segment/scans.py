"""What is segmented: one image layer, or as many as the model has input channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError, GeometryError, ScanError
from napari_genesis.layers import check_layer, volume_from_layer

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.volume import Volume
    from napari_genesis.widgets.pickers import LayerPicker

__all__ = ["ScanPickers", "any_image"]


def any_image(layer: Layer) -> bool:
    """Offer every image, also those that cannot be segmented: to be told why is better than to search for it."""
    return not {"genesis samples", "genesis result"} & set(layer.metadata)


class ScanPickers(QWidget):
    """One picker for each input channel of the model.

    Signals
    -------
    changed() : another layer in any of them
    """

    changed = Signal()

    def __init__(self, make: Callable[..., LayerPicker]) -> None:
        super().__init__()
        self._make = make
        self._labels: list[QLabel] = []
        self._shown = 1
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self.pickers: list[LayerPicker] = []
        self._add()
        self.setFocusProxy(self.pickers[0])

    @property
    def layer(self) -> Layer | None:
        """The first channel's layer."""
        return self.pickers[0].layer

    @property
    def channels(self) -> int:
        """How many layers are asked for."""
        return self._shown

    def set_channels(self, count: int) -> None:
        """Ask for ``count`` layers."""
        while len(self.pickers) < count:
            self._add()
        self._shown = count
        for index, (picker, label) in enumerate(zip(self.pickers, self._labels, strict=True)):
            picker.setVisible(index < count)
            label.setVisible(0 < index < count)

    def problem(self) -> str:
        """Return why the layers cannot be segmented, from their kind and dimensions alone; empty if they can."""
        try:
            for picker in self.pickers[: self._shown]:
                if picker.layer is not None:
                    check_layer(picker.layer)
        except GenesisError as error:
            return str(error)
        return ""

    def volume(self) -> Volume:
        """Return the scan, canonical (C, D, H, W), its channels in the order of the pickers.

        Raises
        ------
        ScanError, GeometryError
            For a layer that is no scan, and channels on different grids.
        """
        layers = [picker.layer for picker in self.pickers[: self._shown]]
        if any(layer is None for layer in layers):
            raise ScanError(f"scan: expected {self._shown} image layer(s), got fewer")
        first, *others = (volume_from_layer(layer) for layer in layers)
        for other in others:
            if not other.geometry.matches(first.geometry):
                raise GeometryError(
                    f"{other.name}: expected the grid of {first.name} ({first.geometry.describe()}), "
                    f"got {other.geometry.describe()}"
                )
        if not others:
            return first
        return first.with_data(np.concatenate([first.data, *(other.data for other in others)]))

    def _add(self) -> None:
        picker = self._make(accepts=any_image)
        label = QLabel(f"Channel {len(self.pickers) + 1}, on the same grid")
        label.setVisible(False)
        self.pickers.append(picker)
        self._labels.append(label)
        self._column.addWidget(label)
        self._column.addWidget(picker)
        picker.changed.connect(self._on_change)

    def _on_change(self, _: Any = None) -> None:
        self.changed.emit()
