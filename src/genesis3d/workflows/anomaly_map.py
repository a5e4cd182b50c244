"""From a score to regions with their figures; a mask of lungs checked, and their volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.anomaly.finishing import finished, without_rim
from genesis3d.errors import DomainError, GeometryError
from genesis3d.io.itk_filters.lungs import LEFT, RIGHT
from genesis3d.io.itk_filters.regions import Region, find_regions

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["COLUMNS", "FoundRegion", "check_lungs", "find", "lung_millilitres", "rows", "score_map"]

SIDES = {LEFT: "left", RIGHT: "right"}
COLUMNS = (
    "region", "lung", "volume_ml", "share_of_lungs_percent", "mean_{unit}", "mean_difference_{unit}",
    "peak_score_{unit}", "centroid_s_mm", "centroid_p_mm", "centroid_l_mm",
)  # fmt: skip


@dataclass(frozen=True)
class FoundRegion:
    """A region of the thresholded score: its figures, the ``lung`` it lies in, its ``share`` of both lungs in %."""

    region: Region
    lung: str
    share: float


def check_lungs(lungs: Volume, scan: Volume) -> Volume:
    """Return ``lungs`` as canonical labels (1, D, H, W) uint8 (1 left, 2 right; any other value counts as inside).

    Raises
    ------
    GeometryError
        When they do not lie on the grid of ``scan``.
    DomainError
        When nothing is marked.
    """
    lungs, scan = lungs.canonical(), scan.canonical()
    if lungs.channels != 1 or not lungs.geometry.matches(scan.geometry, tolerance_mm=0.05):
        raise GeometryError(
            f"{lungs.name}: expected a mask on the grid of {scan.name} ({scan.geometry.describe()}), "
            f"got another one ({lungs.geometry.describe()})"
        )
    labels = np.nan_to_num(lungs.data[0]).round()
    if not (labels > 0).any():
        raise DomainError(f"{lungs.name}: expected a mask of the lungs, got one without any voxel")
    plain = np.where(labels > 0, np.clip(labels, 0, 255), 0).astype(np.uint8)
    return scan.with_data(plain, modality=None, unit=None, name=f"{scan.name} lungs", notes=())


def score_map(difference: Volume, lungs: Volume, smooth: int = 1, rim_mm: float = 2.0) -> Volume:
    """Return how much brighter each voxel is than restored, inside the lungs: max(0, difference), then a median.

    Parameters
    ----------
    difference : scan minus restored (C, D, H, W); the largest of several channels counts
    lungs : labels (1, D, H, W) on the same grid, above 0 inside
    smooth : radius in voxels of the median, 0 for none (a slice is not mixed with another more than 4 mm away)
    rim_mm : the outermost layer of the lungs left out, where a voxel is part lung and part wall

    Returns
    -------
    (1, D, H, W) float32 in the scan's unit, whole HU for CT; higher is more anomalous, 0 outside the lungs.
    """
    score = finished(difference.data, difference, lungs, smooth)
    return without_rim(score.with_data(score.data, name=difference.name.replace("difference", "score")), lungs, rim_mm)


def find(
    score: Volume, threshold: float, lungs: Volume, scan: Volume, difference: Volume | None, least_ml: float = 0.0
) -> tuple[Volume, list[FoundRegion]]:
    """Return the regions of ``score`` at or above ``threshold`` (above 0): labels, 1 the largest, and their figures.

    All volumes lie on one grid; ``least_ml`` leaves smaller regions out.  Without a
    ``difference`` there is no mean of it.
    """
    hot = (score.data >= threshold) & (score.data > 0) & (lungs.data > 0)
    mask = score.with_data(hot, modality=None, unit=None, name=score.name.replace("score", "regions"))
    measured = {"value": scan, "score": score} | ({} if difference is None else {"difference": difference})
    labels, regions = find_regions(mask, measured, least_ml)
    whole = sum(lung_millilitres(lungs).values())
    lung = lungs.data[0]
    found = [FoundRegion(r, SIDES.get(int(lung[r.centre]), ""), float(100 * r.volume_ml / whole)) for r in regions]
    return labels, found


def rows(
    found: Sequence[FoundRegion], unit: str | None, probability: bool = False
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the table of regions; ``unit`` None: the scan's own values.

    ``probability``: the score is one, and not in the scan's unit.
    """
    header = [name.format(unit=(unit or "value").lower()) for name in COLUMNS]
    if probability:
        header[header.index(next(name for name in header if name.startswith("peak")))] = "peak_score"
    table = []
    for item in found:
        r = item.region
        difference = r.means.get("difference")
        figures = (r.volume_ml, item.share, r.means["value"], difference, r.peaks["score"], *r.centroid)
        table.append([r.label, item.lung, *("" if value is None else round(value, 3) for value in figures)])
    return header, table


def lung_millilitres(lungs: Volume) -> dict[str, float]:
    """Return the volume in mL of the ``left`` and ``right`` lung and of what else is marked (``other``)."""
    voxel = float(np.prod(lungs.geometry.spacing)) / 1000
    counts = np.bincount(lungs.data.reshape(-1).astype(np.uint8), minlength=3)
    return {"left": int(counts[1]) * voxel, "right": int(counts[2]) * voxel, "other": int(counts[3:].sum()) * voxel}
