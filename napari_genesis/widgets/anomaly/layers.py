"""The layers of one anomaly map: made, named, coloured, thresholded in place, and found again or missed."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from genesis3d.io.itk_filters.morphology import bounds
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.looks import OUT, TITLES, colour_limit, looks

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["ROLES", "MapLayers", "show_bar", "unit_of"]

ROLES = ("restored", "difference", "baseline", "z", "score", "lungs", "regions")
LABELS = ("lungs", "regions")
BARS = ("difference", "score", "baseline", "z")


class MapLayers:
    """What one map shows in the viewer.

    Each of :data:`ROLES` that the map has is a layer, or None once somebody removed it.  The buffer of the regions is
    written in place, so that a threshold acts at once.

    Parameters
    ----------
    like : the scan's layer, where it is still there
    name : what stands in brackets after each layer's role: recipe and model
    coarse : the layer of a first, coarse score, which the score takes the place of

    Signals
    -------
    redrawn(str) : the buffer of ``score`` or ``regions`` was written in place
    """

    redrawn = Signal(str)

    def __init__(
        self, viewer: ViewerModel, result: AnomalyMap, like: Layer | None, name: str, scan: str,
        coarse: Layer | None = None,
    ) -> None:  # fmt: skip
        self.viewer = viewer
        self.limit = score_limit(result)
        self.lungs_volume = result.lungs.with_data(result.lungs.data.copy())  # the user may paint in it
        self.regions_volume = result.labels.with_data(np.zeros(result.labels.data.shape, np.uint16))
        self.score_volume = result.score
        self._box = bounds(result.lungs.data[0] > 0)
        self._layers: dict[str, Layer] = {}
        self._hidden: dict[str, bool] = {}
        active = viewer.layers.selection.active
        own = {"lungs": self.lungs_volume, "regions": self.regions_volume}
        for role in ROLES:
            volume = own.get(role) or getattr(result, role, None)
            if volume is None or (role == "baseline" and result.recipe.name == "hu"):  # the score itself
                continue
            kind = "labels" if role in LABELS else "image"
            title = f"{TITLES[role]}, {unit_of(result, role)}" if role in BARS else TITLES[role]
            options = {"name": f"{title} - {scan} ({name})"} | looks(result, role, self.limit, like)
            self._layers[role] = add_volume(viewer, volume, like, kind=kind, **options)
        for role in BARS:
            if role in self._layers:
                show_bar(self._layers[role])
        self._replace(coarse)
        self._outline()
        viewer.layers.selection.active = active if active in viewer.layers else None

    def layer(self, role: str) -> Layer | None:
        """Return the layer of ``role`` while it is in the viewer."""
        layer = self._layers.get(role)
        return layer if layer is not None and layer in self.viewer.layers else None

    @property
    def alive(self) -> bool:
        """Whether any of the layers is still in the viewer."""
        return any(self.layer(role) is not None for role in ROLES)

    def remove(self) -> None:
        """Take away what is left of the layers."""
        for role in ROLES:
            layer = self.layer(role)
            if layer is not None:
                self.viewer.layers.remove(layer)
        self._layers.clear()

    def hide(self) -> None:
        """Show none of the layers, until :meth:`unhide`."""
        if self._hidden:
            return
        shown = {role: self.layer(role) for role in ROLES}
        self._hidden = {role: layer.visible for role, layer in shown.items() if layer is not None}
        for layer in shown.values():
            if layer is not None:
                layer.visible = False

    def unhide(self) -> None:
        """Show those layers again that :meth:`hide` hid."""
        hidden, self._hidden = self._hidden, {}
        for role, visible in hidden.items():
            layer = self.layer(role)
            if layer is not None:
                layer.visible = visible

    def threshold(self, value: float) -> None:
        """Mark every voxel whose score reaches ``value`` as region 1, at once."""
        score, marked = self.score_volume.data[0][self._box], self.regions_volume.data[0][self._box]
        np.greater_equal(score, max(value, np.finfo(np.float32).tiny), out=marked)
        self._redraw("regions")

    def show_regions(self, labels: Volume, excluded: Collection[int] = ()) -> None:
        """Show numbered regions; those ``excluded`` in grey."""
        part = labels.data[0][self._box]
        self.regions_volume.data[0].fill(0)
        shown = np.minimum(part, OUT - 1)
        if excluded:
            values = np.arange(int(shown.max()) + 1)
            values[[number for number in excluded if number < len(values)]] = OUT
            shown = values[shown]
        np.copyto(self.regions_volume.data[0][self._box], shown, casting="unsafe")
        self._redraw("regions")

    def show_score(self, score: Volume, lungs: Volume) -> None:
        """Show another score, from edited lungs, in the same layer."""
        np.copyto(self.score_volume.data, score.data)
        self._box = bounds(lungs.data[0] > 0)
        self._redraw("score")

    def _replace(self, coarse: Layer | None) -> None:
        """Put the score where the coarse one was, as visible and as opaque as it is now."""
        if coarse is None or coarse not in self.viewer.layers:
            return
        score = self._layers["score"]
        score.visible, score.opacity = coarse.visible, coarse.opacity
        self.viewer.layers.remove(coarse)

    def _outline(self) -> None:
        """Show outlines, so that what they enclose is seen; in 3D napari fills them, and would warn each time."""
        warnings.filterwarnings("ignore", "Contours are not displayed during 3D rendering", UserWarning)
        self._layers["regions"].contour = 1

    def _redraw(self, role: str) -> None:
        layer = self.layer(role)
        if layer is not None:
            layer.refresh(extent=False, thumbnail=False, highlight=False)
        self.redrawn.emit(role)


def show_bar(layer: Layer) -> None:
    """Show the colour bar of ``layer``, and above it the layer's name, which says the unit of its ticks."""
    layer.colorbar.visible = True
    layer.name_overlay.position = layer.colorbar.position
    layer.name_overlay.font_size = 7
    layer.name_overlay.visible = True


def unit_of(result: AnomalyMap, role: str) -> str:
    """Return the unit of a volume of a map: ``HU``, ``probability``, ``SD`` (of healthy lungs) for z-scores."""
    if role == "score" and result.recipe.unit == "probability":
        return "probability"
    return "SD" if role == "z" else result.scan.unit or "value"


def score_limit(result: AnomalyMap) -> float:
    """Return the upper colour limit of the score: 1 for a probability."""
    if result.recipe.unit == "probability":
        return 1.0
    return colour_limit(result.score, result.lungs, result.threshold)
