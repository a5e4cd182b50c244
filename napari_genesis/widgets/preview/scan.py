"""The scan behind the picked layer: read as a view, never copied, and read anew when the layer changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from genesis3d.errors import GenesisError, ScanError
from genesis3d.intensity import Scale, default_intensity
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.box import Grid, layer_grid

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.volume import Volume

__all__ = ["LayerScan", "read_layer", "refusal"]

EVENTS = ("data", "scale", "translate", "rotate", "shear", "affine", "units", "name")


def read_layer(layer: Layer) -> Volume:
    """Return an image layer as canonical volume; raises ScanError or GeometryError in one sentence."""
    if not isinstance(layer, Image):
        kind = type(layer).__name__.lower()
        raise ScanError(f"layer {layer.name!r}: expected an image to transform, got {kind}")
    return volume_from_layer(layer)


def refusal(layer: Layer) -> str:
    """Return why a layer cannot be previewed, from its kind and dimensions alone; empty if it can."""
    if not isinstance(layer, Image):
        return f"layer {layer.name!r}: expected an image to transform, got {type(layer).__name__.lower()}"
    if layer.rgb:
        return f"layer {layer.name!r}: expected one value a voxel, got an RGB picture"
    if layer.multiscale:
        return f"layer {layer.name!r}: expected one 3D array, got a multiscale pyramid"
    return "" if layer.ndim == 3 else f"layer {layer.name!r}: expected a 3D volume, got {layer.ndim} dimensions"


class LayerScan(QObject):
    """Follows one layer.

    Attributes
    ----------
    volume, scale, grid : the scan, its map to [0, 1] and its place in the viewer; None without a usable layer
    error : why there is none, in one sentence
    """

    changed = Signal()  # another layer, other data or another place
    contrast = Signal()  # the layer's contrast limits moved

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.layer: Layer | None = None
        self._forget()

    def set_layer(self, layer: Layer | None) -> None:
        """Follow ``layer`` from now on."""
        self._disconnect()
        self.layer = layer
        if layer is not None:
            for emitter in self._emitters(layer):
                emitter.connect(self._on_layer)
            if isinstance(layer, Image):
                layer.events.contrast_limits.connect(self._on_contrast)
        self._read()
        self.changed.emit()

    def close(self) -> None:
        """Follow nothing any more."""
        self._disconnect()
        self.layer = None
        self._forget()

    @property
    def window(self) -> tuple[float, float] | None:
        """The contrast limits the user sees; None without a usable layer."""
        if self.layer is None or self.volume is None:
            return None
        low, high = self.layer.contrast_limits
        return float(low), float(high)

    @property
    def unit(self) -> str:
        """HU, or nothing known."""
        return (self.volume.unit or "") if self.volume is not None else ""

    def _emitters(self, layer: Layer) -> list[Any]:
        return [getattr(layer.events, name) for name in EVENTS if hasattr(layer.events, name)]

    def _disconnect(self) -> None:
        if self.layer is not None:
            for emitter in self._emitters(self.layer):
                emitter.disconnect(self._on_layer)
            if isinstance(self.layer, Image):
                self.layer.events.contrast_limits.disconnect(self._on_contrast)

    def _forget(self) -> None:
        self.volume: Volume | None = None
        self.scale: Scale | None = None
        self.grid: Grid | None = None
        self.error = ""

    def _read(self) -> None:
        self._forget()
        if self.layer is None:
            return
        self.error = refusal(self.layer)
        if self.error:
            return
        try:
            volume = read_layer(self.layer)
            self.scale = default_intensity(volume).fit(volume)
        except GenesisError as error:
            self.error = str(error)
            return
        self.volume, self.grid = volume, layer_grid(self.layer, volume)

    def _on_layer(self, event: Any = None) -> None:
        self._read()
        self.changed.emit()

    def _on_contrast(self, event: Any = None) -> None:
        self.contrast.emit()
