"""Which sub-volumes a training sees: drawn by address, cut as views, judged by a rule, never by copying a scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, field_validator

from genesis3d.config import Config
from genesis3d.data.rules import excess, look_ahead
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale
    from genesis3d.rng import Address
    from genesis3d.volume import Volume

__all__ = ["Location", "Sampler", "SamplingConfig"]

Triple = tuple[int, int, int]


class SamplingConfig(Config):
    """Size of a sub-volume and where one may lie."""

    patch: Triple = Field((32, 64, 64), description="sub-volume (D, H, W) in voxels; the papers' 64x64x32")
    rule: Literal["default", "official", "paper", "anywhere"] = Field(
        "default",
        description="which sub-volumes are taken: default asks for some contrast and content (any modality); official "
        "is the published generator (a border, at most lung_max dense tissue); paper leaves out the empty and the full",
    )
    balance: Literal["scans", "modalities"] = Field(
        "scans", description="what is drawn equally often: scans, or modalities and then a scan of it"
    )
    attempts: int = Field(
        50, ge=1, le=1000, description="draws per sub-volume before the least bad of them is taken, so that none hangs"
    )
    min_std: float = Field(0.03, ge=0, le=0.5, description="default rule: least standard deviation, in [0, 1]")
    min_content: float = Field(
        0.10, ge=0, le=1, description="default rule: least share of voxels above the content level"
    )
    content: float = Field(0.10, ge=0, le=1, description="default rule: content level in [0, 1]; CT: 0.1 is -800 HU")
    tissue: float = Field(
        0.425, ge=0, le=1, description="official and paper rules: tissue level in [0, 1]; CT: 0.425 is -150 HU"
    )
    min_tissue: float = Field(0.05, ge=0, le=1, description="paper rule: least share of voxels of tissue")
    max_tissue: float = Field(0.95, ge=0, le=1, description="paper rule: largest share of voxels of tissue")
    lung_max: float = Field(
        0.15, ge=0, le=1, description="official rule: largest tissue score; a voxel whose next one along z alone is "
        "tissue counts half"
    )  # fmt: skip
    border: Triple = Field(
        (30, 100, 100),
        description="official rule: voxels (D, H, W) kept clear at either end; shrunk, and said, in small scans",
    )

    @field_validator("patch")
    @classmethod
    def _patch(cls, value: Triple) -> Triple:
        if any(n < 4 or n > 512 for n in value):
            raise ValueError("expected three sizes (D, H, W) from 4 to 512 voxels")
        return value

    @field_validator("border")
    @classmethod
    def _border(cls, value: Triple) -> Triple:
        if any(n < 0 for n in value):
            raise ValueError("expected three sizes (D, H, W) of 0 voxels or more")
        return value


@dataclass(frozen=True, order=True)
class Location:
    """A sub-volume: index of its ``case`` and first voxel (D, H, W); negative where the scan is smaller and padded."""

    case: int
    start: Triple


class Sampler:
    """Draws sub-volumes from scans by address.

    Parameters
    ----------
    config : size and rule
    volumes : canonical scans of equally many channels; views and memory maps are read box by box
    scales : each scan's map to [0, 1]

    Attributes
    ----------
    warnings : sentences on scans smaller than the sub-volume (padded by their edge) or than the rule's borders

    Raises
    ------
    ConfigError
        For no scan, or scans and scales that do not run in parallel, or differing numbers of channels.
    """

    def __init__(self, config: SamplingConfig, volumes: Sequence[Volume], scales: Sequence[Scale]) -> None:
        if not volumes or len(volumes) != len(scales):
            raise ConfigError(
                f"sampler: expected as many scans as scales, at least one, got {len(volumes)}, {len(scales)}"
            )
        if len({volume.channels for volume in volumes}) > 1:
            found = sorted({volume.channels for volume in volumes})
            raise ConfigError(f"sampler: expected scans of equally many channels, got {found}")
        self.config, self.volumes, self.scales = config, list(volumes), list(scales)
        self.warnings: list[str] = []
        self._ranges = [self._range(volume) for volume in self.volumes]
        kinds = [volume.modality or "" for volume in self.volumes]
        self._by_modality = [[i for i, k in enumerate(kinds) if k == kind] for kind in sorted(set(kinds))]

    @property
    def channels(self) -> int:
        """Channels C of a sub-volume."""
        return self.volumes[0].channels

    def locate(self, address: Address) -> Location:
        """Return the sub-volume at ``address``: a case, each as likely (or each modality), then a place that it takes.

        Places are drawn at most ``attempts`` times; then the one closest to the rule's limits is taken.
        """
        case = self._case(address)
        best, best_excess = Location(case, (0, 0, 0)), np.inf
        for attempt in range(self.config.attempts):
            location = Location(case, self._place(case, address / "place" / str(attempt)))
            found = self._excess(location)
            if found <= 0:
                return location
            if found < best_excess:
                best, best_excess = location, found
        return best

    def _case(self, address: Address) -> int:
        draw = (address / "case").generator()
        if self.config.balance == "scans":
            return int(draw.integers(len(self.volumes)))
        of_one = self._by_modality[int((address / "modality").generator().integers(len(self._by_modality)))]
        return of_one[int(draw.integers(len(of_one)))]

    def accepts(self, location: Location) -> bool:
        """Whether the rule takes the sub-volume at ``location``."""
        return self._excess(location) <= 0

    def cut(self, location: Location) -> NDArray[np.float32]:
        """Return the sub-volume (C, *patch), float32 in [0, 1], a copy of its box alone; NaN becomes 0."""
        return self._box(location, 0)

    def _box(self, location: Location, extra: int) -> NDArray[np.float32]:
        """Cut with up to ``extra`` more slices along D, as far as the scan reaches."""
        volume, scale = self.volumes[location.case], self.scales[location.case]
        slices, pads = [], [(0, 0)]
        for axis, (start, size, n) in enumerate(
            zip(location.start, self.config.patch, volume.geometry.shape, strict=True)
        ):
            stop = start + size
            slices.append(slice(max(start, 0), min(stop + (extra if axis == 0 else 0), n)))
            pads.append((max(-start, 0), max(stop - n, 0)))
        unit = scale.to_unit(np.ascontiguousarray(volume.data[(slice(None), *slices)]))
        if volume.data.dtype.kind == "f":
            np.nan_to_num(unit, copy=False, nan=0.0)
        return np.pad(unit, pads, mode="edge") if any(max(pad) for pad in pads) else unit

    def _place(self, case: int, address: Address) -> Triple:
        draw = address.generator()
        d, h, w = (int(draw.integers(low, high + 1)) for low, high in self._ranges[case])
        return d, h, w

    def _excess(self, location: Location) -> float:
        if self.config.rule == "anywhere":
            return 0.0
        extra = look_ahead(self.config)
        return excess(self._box(location, extra), self.config)

    def _range(self, volume: Volume) -> list[tuple[int, int]]:
        """Return the first and last start along D, H, W; says where the scan is too small."""
        ranges, padded, shrunk = [], [], []
        official = self.config.rule == "official"
        for axis, (n, size) in enumerate(zip(volume.geometry.shape, self.config.patch, strict=True)):
            free = n - size
            if free < 0:
                ranges.append((-(-free // 2), -(-free // 2)))
                padded.append("DHW"[axis])
                continue
            ahead = 1 + (look_ahead(self.config) if axis == 0 else 0) if official else 0
            border = self.config.border[axis] if official else 0
            if official and free - ahead - 2 * border < 0:
                border, ahead = max(0, free - ahead) // 4, ahead if free >= ahead else 0
                shrunk.append(f"{'DHW'[axis]} {border}")
            ranges.append((border, free - ahead - border))
        size_text = f"{volume.name} ({' x '.join(str(n) for n in volume.geometry.shape)} voxels, D x H x W)"
        if padded:
            self.warnings.append(
                f"{size_text} is smaller than the sub-volume along {', '.join(padded)}: padded by its edge"
            )
        if shrunk:
            self.warnings.append(
                f"{size_text} is too small for the official border: shrunk to {', '.join(shrunk)} voxels"
            )
        return ranges
