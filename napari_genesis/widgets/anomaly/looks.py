"""How the layers of a map look: colours, limits, and what is shown at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_genesis.widgets.colours import one_sided

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils import Colormap
    from napari.utils.colormaps import DirectLabelColormap
    from numpy.typing import NDArray

    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["OUT", "TITLES", "colour_limit", "diverging", "gradient", "looks", "lung_colours", "score_colours"]

OUT = 65535  # the value of regions taken out by hand
OUTLINE = {0: "transparent", OUT: "#9a9a9a", None: "#35e0ff"}  # a colour that no score has
LUNGS = {0: "transparent", 1: "#4c9be8", 2: "#58b26a", None: "#b0b0b0"}
TITLES = {"restored": "restored", "difference": "difference", "baseline": "baseline", "z": "z-score", "score": "score",
          "lungs": "lungs", "regions": "regions"}  # fmt: skip
SIGNED = ("difference", "z")


def colour_limit(volume: Volume, lungs: Volume, threshold: float = 0.0) -> float:
    """Return the symmetric colour limit of a map in its unit: what 99 % of the lungs stay below, rounded up."""
    inside = lungs.data[0] > 0
    values = np.abs(volume.data.max(axis=0)[inside][::7])
    limit = max(float(np.percentile(values, 99)) if values.size else 0.0, 1.5 * threshold)
    step = 10.0 ** np.floor(np.log10(limit)) / 2 if limit > 0 else 1.0
    return float(np.ceil(limit / step) * step) or 1.0


def looks(result: AnomalyMap, role: str, limit: float, like: Layer | None) -> dict[str, Any]:
    """Return napari's options for the layer of ``role``; ``limit`` is that of the score."""
    if role == "restored":
        return ({} if like is None else {"contrast_limits": tuple(like.contrast_limits)}) | {"visible": False}
    if role == "lungs":
        return {"colormap": lung_colours(), "opacity": 0.3, "visible": False}
    if role == "regions":
        return {"colormap": _outline(), "opacity": 1.0}
    if role == "score":
        return {"colormap": score_colours(), "contrast_limits": (0.0, limit), "opacity": 0.85,
                "blending": "translucent"}  # fmt: skip
    volume: Volume = getattr(result, role)
    far = colour_limit(volume, result.lungs, limit / 2 if role == "difference" and volume.unit == "HU" else 0.0)
    hidden = {"visible": False, "blending": "translucent"}
    if role in SIGNED:
        return hidden | {"colormap": diverging(), "contrast_limits": (-far, far)}
    return hidden | {"colormap": score_colours(), "contrast_limits": (0.0, far), "opacity": 0.85}


def score_colours() -> Colormap:
    """Return the colours of a score: perceptually uniform, clear at 0."""
    return one_sided("genesis score")


def lung_colours() -> DirectLabelColormap:
    """Return the colours of the left, the right and any other lung."""
    return _direct(LUNGS)


def diverging() -> Colormap:
    """Blue below, near black at 0, orange above: told apart by people who confuse red and green too."""
    from napari.utils import Colormap

    colours = [[0.62, 0.79, 1.0], [0.16, 0.45, 0.86], [0.06, 0.06, 0.08], [0.85, 0.40, 0.08], [1.0, 0.85, 0.60]]
    return Colormap(colours, controls=[0.0, 0.25, 0.5, 0.75, 1.0], name="genesis difference")


def gradient(colours: Colormap, count: int = 128) -> NDArray[np.uint8]:
    """Return ``count`` colours (RGBA, 0 to 255) from the lower to the upper limit."""
    return np.asarray(np.rint(255 * colours.map(np.linspace(0, 1, count))), np.uint8)


def _outline() -> DirectLabelColormap:
    return _direct(OUTLINE)


def _direct(colours: dict[int | None, str]) -> DirectLabelColormap:
    from napari.utils.colormaps import DirectLabelColormap

    return DirectLabelColormap(color_dict=dict(colours))
