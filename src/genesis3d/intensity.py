"""Named, invertible mappings from a scan's own values to [0, 1], the domain of every transform and network.

A published framework fed z-scored data to a curve defined on [0, 1]; here the domain is a rule: :func:`require_unit`
raises instead of clamping.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, model_validator

from genesis3d.errors import DomainError
from genesis3d.registry import Named, Registry
from genesis3d.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["INTENSITIES", "ByModality", "CtIntensity", "Intensity", "MinMax", "Percentile", "Scale", "Window",
           "common_intensity", "default_intensity", "require_unit"]  # fmt: skip

INTENSITIES: Registry[Intensity] = Registry("intensity")


@dataclass(frozen=True)
class Scale:
    """The linear map of one scan: ``low`` goes to 0 and ``high`` to 1, in the scan's own units (HU for CT)."""

    low: float
    high: float

    def to_unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return ``values`` (any shape) clipped to [low, high] and mapped to [0, 1], float32."""
        unit = values.astype(np.float32)
        unit -= np.float32(self.low)
        unit /= np.float32(self.high - self.low)
        np.clip(unit, 0.0, 1.0, out=unit)
        return unit

    def from_unit(self, unit: NDArray[Any]) -> NDArray[np.float32]:
        """Return values in the scan's own units for ``unit`` values in [0, 1]."""
        return unit.astype(np.float32) * np.float32(self.high - self.low) + np.float32(self.low)

    @property
    def width(self) -> float:
        """The span of the map in the scan's own units: one unit of difference in [0, 1]."""
        return self.high - self.low


class Intensity(Named):
    """How scans enter the domain [0, 1]."""

    def fit(self, volume: Volume) -> Scale:
        """Return the map for ``volume``; raises DomainError for a scan without contrast."""
        raise NotImplementedError

    def _scale(self, volume: Volume, low: float, high: float) -> Scale:
        if not np.isfinite([low, high]).all() or high <= low:
            raise DomainError(f"{volume.name}: expected voxels of more than one finite value, got {low:g} to {high:g}")
        return Scale(float(low), float(high))


@INTENSITIES.register("ct")
class CtIntensity(Intensity):
    """CT in Hounsfield units, clipped as in Models Genesis, section 2.2: [-1000, 1000] HU."""

    low: float = Field(-1000.0, ge=-2000, le=3000, description="HU that maps to 0")
    high: float = Field(1000.0, ge=-2000, le=4000, description="HU that maps to 1")

    @model_validator(mode="after")
    def _ordered(self) -> CtIntensity:
        if self.high <= self.low:
            raise ValueError(f"expected low < high in HU, got {self.low:g} and {self.high:g}")
        return self

    def fit(self, volume: Volume) -> Scale:
        """Return the fixed window."""
        return self._scale(volume, self.low, self.high)


@INTENSITIES.register("window")
class Window(Intensity):
    """A fixed window in the scan's own values."""

    low: float = Field(description="value that maps to 0, in the scan's own unit")
    high: float = Field(description="value that maps to 1, in the scan's own unit")

    def fit(self, volume: Volume) -> Scale:
        """Return the fixed window."""
        return self._scale(volume, self.low, self.high)


@INTENSITIES.register("percentile")
class Percentile(Intensity):
    """Percentiles of the whole scan, for MR and other scans without a physical unit."""

    low: float = Field(0.5, ge=0, le=50, description="percentile that maps to 0, in %")
    high: float = Field(99.5, ge=50, le=100, description="percentile that maps to 1, in %")

    def fit(self, volume: Volume) -> Scale:
        """Return the scan's percentiles, from at most about two million evenly spaced voxels."""
        values = volume.data.reshape(-1)[:: max(1, volume.data.size // 2_000_000)]
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [self.low, self.high]) if values.size else (np.nan, np.nan)
        return self._scale(volume, float(low), float(high))


@INTENSITIES.register("minmax")
class MinMax(Intensity):
    """The scan's whole range, for X-ray (Models Genesis, section 2.2)."""

    def fit(self, volume: Volume) -> Scale:
        """Return the scan's finite minimum and maximum."""
        finite = volume.data[np.isfinite(volume.data)]
        low, high = (finite.min(), finite.max()) if finite.size else (np.nan, np.nan)
        return self._scale(volume, float(low), float(high))


@INTENSITIES.register("auto")
class ByModality(Intensity):
    """Each scan by its modality, so that CT and MR train together: CT in HU as ``ct``, anything else ``percentile``."""

    def fit(self, volume: Volume) -> Scale:
        """Return what the mapping for the scan's modality gives."""
        return default_intensity(volume).fit(volume)


def default_intensity(volume: Volume) -> Intensity:
    """Return the mapping for a scan's modality: CT in HU by its fixed window, anything else by percentiles."""
    return CtIntensity() if volume.modality == "CT" and volume.unit == "HU" else Percentile()


def common_intensity(used: Sequence[Intensity]) -> Intensity:
    """Return the one mapping that all of ``used`` (at least one) are, or ``auto`` for the defaults of modalities."""
    return used[0] if all(one == used[0] for one in used) else ByModality()


def require_unit(low: float, high: float, what: str) -> None:
    """Raise DomainError unless ``low`` and ``high``, the extremes of ``what``, lie in [0, 1] (to 1e-6)."""
    if not (low >= -1e-6 and high <= 1 + 1e-6):
        raise DomainError(
            f"{what}: expected intensities in [0, 1] (map the scan by an Intensity first), got {low:.4g} to {high:.4g}"
        )
