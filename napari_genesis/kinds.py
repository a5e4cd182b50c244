"""Telling labels from images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["Kind", "layer_kind", "sounds_like_labels"]

Kind = Literal["image", "labels"]

_NAME = re.compile(r"(?<![a-z])(seg|mask|label)", re.IGNORECASE)
_MOST_VALUES = 128
_SURELY_LABELS = 8


def layer_kind(volume: Volume) -> Kind:
    """Return ``"labels"`` for whole numbers of few values that are called so, else ``"image"``.

    Called so: the name, or the folder of the source, has a word that begins with seg, mask or label.  Bytes of two
    to eight values, zero among them, are labels under any name.
    """
    data = volume.data
    named, byte = sounds_like_labels(volume), data.dtype.kind in "ub" and data.dtype.itemsize == 1
    if volume.channels != 1 or data.dtype.kind not in "iub" or not (named or byte):
        return "image"
    values = np.unique(data.reshape(-1)[:: max(1, data.size // 1_000_000)])
    if byte and 2 <= len(values) <= _SURELY_LABELS and not values[0]:
        return "labels"
    return "labels" if named and len(values) <= _MOST_VALUES and data.min() >= 0 else "image"


def sounds_like_labels(volume: Volume) -> bool:
    """Whether the name or the source's folder says that these are labels."""
    folder = Path(volume.source).parent.name if volume.source else ""
    return any(_NAME.search(text) for text in (volume.name, folder))
