"""Contrast windows: the usual ones of CT, and what a scan is first shown with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import DomainError
from genesis3d.intensity import Percentile

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["WINDOWS", "default_limits", "window_limits"]

WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "soft tissue": (40.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
"""Usual CT windows: name -> (level, width) in HU."""

_LUNG_HU = (-950, -500)
_LUNG_SHARE = 0.03


def window_limits(level: float, width: float) -> tuple[float, float]:
    """Return the contrast limits (low, high) of a window."""
    return level - width / 2, level + width / 2


def default_limits(volume: Volume) -> tuple[float, float]:
    """Return the limits a scan is first shown with, in its own values.

    CT in HU: the lung window where its middle holds lung, else the soft-tissue window.  Anything else: the 0.5th to
    the 99.5th percentile.
    """
    if volume.modality == "CT" and volume.unit == "HU":
        return window_limits(*WINDOWS["lung" if _holds_lung(volume) else "soft tissue"])
    if volume.data.dtype == bool:
        return 0.0, 1.0
    try:
        scale = Percentile().fit(volume)
    except DomainError:
        return _constant_limits(volume)
    return scale.low, scale.high


def _holds_lung(volume: Volume) -> bool:
    middle = tuple(slice(n // 4, max(n // 4 + 1, n - n // 4), max(1, n // 64)) for n in volume.geometry.shape)
    values = volume.data[(0, *middle)]
    return bool(np.mean((values > _LUNG_HU[0]) & (values < _LUNG_HU[1])) > _LUNG_SHARE)


def _constant_limits(volume: Volume) -> tuple[float, float]:
    """Limits around the only value of a scan, or [0, 1] where none is finite; sparse scans get their whole range."""
    finite = volume.data[np.isfinite(volume.data)]
    if not finite.size:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)
