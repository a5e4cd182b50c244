"""The layers of one anomaly map: made, named, coloured, thresholded in place, and found again or missed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.io.itk_filters.morphology import bounds
from napari_genesis.layers import add_volume
from napari_genesis.widgets.colours import one_sided

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from napari.utils import Colormap

    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["ROLES", "MapLayers", "colour_limit"]

ROLES = ("restored", "difference", "score", "lungs", "regions")
OUTLINE = {0: "transparent", None: "#35e0ff"}  # a colour that no score has
LUNG_COLOURS = {0: "transparent", 1: "#4c9be8", 2: "#58b26a", None: "#b0b0b0"}


def colour_limit(result: AnomalyMap) -> float:
    """Return the symmetric colour limit of a map in the scan's unit: what 99 % of the lungs stay below, rounded up."""
    inside = result.lungs.data[0] > 0
    values = np.abs(result.difference.data.max(axis=0)[inside][::7])
    limit = max(float(np.percentile(values, 99)) if values.size else 0.0, 1.5 * result.threshold)
    step = 10.0 ** np.floor(np.log10(limit)) / 2 if limit > 0 else 1.0
    return float(np.ceil(limit / step) * step) or 1.0


class MapLayers:
    """What one map shows in the viewer.

    Each of ``restored, difference, score, lungs, regions`` is a layer, or None once somebody removed it.  The buffer
    of the regions is written in place, so that a threshold acts at once.
    """

    def __init__(self, viewer: ViewerModel, result: AnomalyMap, like: Layer | None, model: str, scan: str) -> None:
        self.viewer = viewer
        self.limit = colour_limit(result)
        self.lungs_volume = _editable(result.lungs)
        self.regions_volume = result.labels.with_data(np.zeros(result.labels.data.shape, np.uint16))
        self.score_volume = result.score
        self._box = bounds(result.lungs.data[0] > 0)
        self._layers: dict[str, Layer] = {}
        volumes = (result.restored, result.difference, result.score, self.lungs_volume, self.regions_volume)
        looks = _looks(result, self.limit, like)
        active = viewer.layers.selection.active
        for role, volume in zip(ROLES, volumes, strict=True):
            kind = "labels" if role in ("lungs", "regions") else "image"
            options = {"name": f"{scan} - {role} ({model})"} | looks[role]
            self._layers[role] = add_volume(viewer, volume, like, kind=kind, **options)
        for role in ("difference", "score"):
            self._layers[role].colorbar.visible = True
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

    def threshold(self, value: float) -> None:
        """Mark every voxel whose score reaches ``value`` as region 1, at once."""
        score, marked = self.score_volume.data[0][self._box], self.regions_volume.data[0][self._box]
        np.greater_equal(score, max(value, np.finfo(np.float32).tiny), out=marked)
        self._redraw("regions")

    def show_regions(self, labels: Volume) -> None:
        """Show numbered regions."""
        part = labels.data[0][self._box]
        self.regions_volume.data[0].fill(0)
        np.minimum(part, np.iinfo(np.uint16).max, out=self.regions_volume.data[0][self._box], casting="unsafe")
        self._redraw("regions")

    def show_score(self, score: Volume, lungs: Volume) -> None:
        """Show another score, from edited lungs, in the same layer."""
        np.copyto(self.score_volume.data, score.data)
        self._box = bounds(lungs.data[0] > 0)
        self._redraw("score")

    def _outline(self) -> None:
        """Show outlines, so that what they enclose is seen; in 3D napari fills them, and would warn each time."""
        warnings.filterwarnings("ignore", "Contours are not displayed during 3D rendering", UserWarning)
        self._layers["regions"].contour = 1

    def _redraw(self, role: str) -> None:
        layer = self.layer(role)
        if layer is not None:
            layer.refresh(extent=False, thumbnail=False, highlight=False)


def _editable(lungs: Volume) -> Volume:
    """The lungs with an array of their own: the user may paint in it."""
    return lungs.with_data(lungs.data.copy())


def _looks(result: AnomalyMap, limit: float, like: Layer | None) -> dict[str, dict[str, Any]]:
    gray = {} if like is None else {"contrast_limits": tuple(like.contrast_limits)}
    from napari.utils.colormaps import DirectLabelColormap

    return {
        "restored": gray | {"visible": False},
        "difference": {
            "colormap": diverging(), "contrast_limits": (-limit, limit), "visible": False, "blending": "translucent",
        },
        "score": {
            "colormap": one_sided("genesis score"), "contrast_limits": (0.0, limit), "blending": "translucent",
            "opacity": 0.85,
        },
        "lungs": {"colormap": DirectLabelColormap(color_dict=LUNG_COLOURS), "opacity": 0.3, "visible": False},
        "regions": {"colormap": DirectLabelColormap(color_dict=OUTLINE), "opacity": 1.0},
    }  # fmt: skip


def diverging() -> Colormap:
    """Blue below, near black at 0, orange above: told apart by people who confuse red and green too."""
    from napari.utils import Colormap

    colours = [[0.62, 0.79, 1.0], [0.16, 0.45, 0.86], [0.06, 0.06, 0.08], [0.85, 0.40, 0.08], [1.0, 0.85, 0.60]]
    return Colormap(colours, controls=[0.0, 0.25, 0.5, 0.75, 1.0], name="genesis difference")
