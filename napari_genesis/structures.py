"""Names of the structures in a labels layer, kept with the layer: ``metadata["structures"]``, plain values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ConfigError
from genesis3d.labels import LabelClass

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["KEY", "colour_of", "name_structures", "structures_of"]

KEY = "structures"


def structures_of(layer: Any) -> dict[int, LabelClass]:
    """Return the classes that ``layer`` names, by value: in its metadata, else in its features."""
    found: dict[int, LabelClass] = {}
    for item in layer.metadata.get(KEY, None) or _of_features(layer):
        try:
            one = LabelClass.parse(item)
        except (ConfigError, TypeError, ValueError):
            continue
        found[one.value] = one
    return found


def name_structures(layer: Labels, classes: Iterable[LabelClass]) -> None:
    """Keep ``classes`` with ``layer``; the name is then shown under the cursor."""
    kept = sorted(classes, key=lambda one: one.value)
    layer.metadata[KEY] = [one.to_dict() for one in kept]
    layer.features = {"index": [0, *(one.value for one in kept)], "name": ["", *(one.name for one in kept)]}


def _of_features(layer: Any) -> list[dict[str, Any]]:
    table = getattr(layer, "features", None)
    if table is None or not {"index", "name"} <= set(table.columns):
        return []
    return [{"value": int(value), "name": str(name)} for value, name in zip(table["index"], table["name"], strict=True)]


def colour_of(layer: Labels, value: int) -> str:
    """Return the colour in which ``layer`` shows ``value``, as #rrggbb."""
    colour = layer.get_color(value)
    red, green, blue = (0.5, 0.5, 0.5) if colour is None else np.asarray(colour, dtype=float)[:3]
    return "#" + "".join(f"{round(255 * min(max(part, 0.0), 1.0)):02x}" for part in (red, green, blue))
