"""Shares of each lung and each third of it: how much there is, how much is flagged, how high it scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["LUNGS", "THIRDS", "Mapped", "ProfileRow", "SliceSums", "ZoneRow", "profile_rows", "side_codes", "thirds",
           "zone_rows"]  # fmt: skip

LUNGS = ("left", "right", "other")  # labels 1, 2 and any above
THIRDS = ("lower", "middle", "upper")


class Mapped(Protocol):
    """What figures are taken of: volumes (1, D, H, W) on one canonical grid."""

    @property
    def scan(self) -> Volume:
        """The scan."""

    @property
    def lungs(self) -> Volume:
        """Labels, 1 left, 2 right, above: inside without a side."""

    @property
    def score(self) -> Volume:
        """Higher is more anomalous."""

    @property
    def labels(self) -> Volume:
        """Regions, above 0 where flagged."""


@dataclass(frozen=True)
class ZoneRow:
    """A lung or a third of one; ``lung`` is left, right, other or both, ``third`` upper, middle, lower or all."""

    lung: str
    third: str
    volume_ml: float
    flagged_ml: float
    flagged_percent: float
    mean_value: float
    mean_score: float


@dataclass(frozen=True)
class ProfileRow:
    """A slice of both lungs, ``height_mm`` above the lowest slice that holds lung."""

    height_mm: float
    volume_ml: float
    flagged_percent: float
    mean_value: float
    mean_score: float


@dataclass(frozen=True, eq=False)
class SliceSums:
    """Sums over the lungs of a map, by slice and side: all that zones and profiles need.

    Attributes
    ----------
    table : (4, D, 3) float64: voxels, flagged voxels, sum of the scan, sum of the score; sides as in :data:`LUNGS`
    third : (D,) 0 lower, 1 middle, 2 upper, -1 above or below the lungs
    voxel_ml, step_mm : size of a voxel, distance of slices
    """

    table: NDArray[np.float64]
    third: NDArray[np.int64]
    voxel_ml: float
    step_mm: float

    @classmethod
    def of(cls, result: Mapped) -> SliceSums:
        """Return the sums of a map."""
        depth = result.lungs.geometry.shape[0]
        table = np.zeros((4, depth, len(LUNGS)))
        for index, slab in enumerate(result.lungs.data[0]):
            inside = slab > 0
            side = side_codes(slab[inside])
            if side.size:
                flagged = result.labels.data[0, index][inside] > 0
                columns = (flagged, result.scan.data[0, index][inside], result.score.data[0, index][inside])
                table[0, index] = np.bincount(side, minlength=len(LUNGS))
                for row, values in zip(table[1:], columns, strict=True):
                    row[index] = np.bincount(side, np.nan_to_num(values), len(LUNGS))
        spacing = result.lungs.geometry.spacing
        return cls(table, thirds(result.lungs), float(np.prod(spacing)) / 1000, spacing[0])


def thirds(lungs: Volume) -> NDArray[np.int64]:
    """Return for each slice the third of the lungs' height it lies in: 0 lower, 1 middle, 2 upper, -1 outside.

    The height is that of the box of both lungs along S as far as the scan shows them.
    """
    hit = np.flatnonzero((lungs.data[0] > 0).any(axis=(1, 2)))
    found = np.full(lungs.geometry.shape[0], -1)
    if hit.size:
        low, high = int(hit[0]), int(hit[-1]) + 1
        found[low:high] = (np.arange(high - low) + 0.5) * 3 // (high - low)
    return found


def zone_rows(result: Mapped, sums: SliceSums | None = None) -> list[ZoneRow]:
    """Return both lungs, then each lung that there is, then its thirds from the upper down.

    ``sums`` are those of the map, where the caller has them already.
    """
    sums = sums or SliceSums.of(result)
    every = np.arange(len(sums.third))
    rows = [_zone(sums, "both", "all", every, range(len(LUNGS)))]
    for side, lung in enumerate(LUNGS):
        if not sums.table[0, :, side].any():
            continue
        rows.append(_zone(sums, lung, "all", every, [side]))
        parts = ((THIRDS[number], np.flatnonzero(sums.third == number)) for number in (2, 1, 0))
        rows += [_zone(sums, lung, third, slices, [side]) for third, slices in parts]
    return rows


def profile_rows(result: Mapped, sums: SliceSums | None = None) -> list[ProfileRow]:
    """Return one row a slice of the lungs, from the lowest up."""
    sums = sums or SliceSums.of(result)
    held = np.flatnonzero(sums.table[0].any(axis=1))
    rows = []
    for index in held:
        voxels, flagged, value, score = sums.table[:, index].sum(axis=1)
        height = float(index - held[0]) * sums.step_mm
        figures = float(100 * flagged / max(voxels, 1)), float(value / max(voxels, 1)), float(score / max(voxels, 1))
        rows.append(ProfileRow(height, float(voxels) * sums.voxel_ml, *figures))
    return rows


def _zone(sums: SliceSums, lung: str, third: str, slices: NDArray[np.int64], sides: Sequence[int]) -> ZoneRow:
    voxels, flagged, value, score = sums.table[:, slices][:, :, list(sides)].sum(axis=(1, 2)).tolist()
    count = max(voxels, 1)
    return ZoneRow(
        lung,
        third,
        voxels * sums.voxel_ml,
        flagged * sums.voxel_ml,
        100 * flagged / count,
        value / count,
        score / count,
    )


def side_codes(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the place in :data:`LUNGS` of each label above 0."""
    codes: NDArray[np.int64] = np.minimum(labels, len(LUNGS)).astype(np.int64) - 1
    return codes
