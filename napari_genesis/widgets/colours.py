"""Colours of results: maps through which the scan shows, and colours of classes that have none of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari.utils import Colormap
    from napari.utils.colormaps import DirectLabelColormap

    from genesis3d.labels import LabelClass

__all__ = ["coloured", "label_colours", "one_sided"]

# told apart by people who confuse red and green too; yellow last: on bright bone it is lost
PALETTE = ("#3fa7f5", "#f58a3c", "#4fc98a", "#d678d8", "#e8505b", "#8c7bf0", "#22c7c7", "#b98a5a", "#f0a3bd", "#e6d34c")


def coloured(classes: Sequence[LabelClass]) -> list[LabelClass]:
    """Return ``classes`` without the background, each with a colour: its own or one of a palette."""
    shown = [each for each in classes if each.value]
    return [each.replaced(colour=each.colour or PALETTE[i % len(PALETTE)]) for i, each in enumerate(shown)]


def label_colours(classes: Sequence[LabelClass]) -> DirectLabelColormap:
    """Return the colours of ``classes`` (at least one besides the background) for a labels layer that is there."""
    from napari_genesis.segmentations import described

    return described(coloured(classes), {})["colormap"]


def one_sided(name: str) -> Colormap:
    """Inferno (perceptually uniform), clear at 0 so that the scan shows through."""
    from napari.utils import Colormap
    from napari.utils.colormaps import AVAILABLE_COLORMAPS

    colours = np.array(AVAILABLE_COLORMAPS["inferno"].colors, dtype=float)[::4].copy()
    colours[:, 3] = np.clip(np.linspace(0, 2.5, len(colours)), 0, 1)
    return Colormap(colours, name=name)
