"""The pictures of an anomaly map's report: through the largest region, and axial slices through the lungs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.anomaly.hu import Hounsfield
from genesis3d.io.itk_filters.morphology import bounds
from genesis3d.workflows.anomaly_slices import Bar, Cut, Frame, Outline, Panel, slices_picture

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["FLAGGED", "LUNGS", "axial_picture", "frame_of", "largest_picture", "middle_of", "score_bar"]

FLAGGED, LUNGS, DENSITY = "#00e5ff", "#8bc34a", "#ff9800"
MARGIN = 12.0  # mm shown around the lungs
CHEST = (-1100.0, 200.0)  # HU from black to white
SLICES = 6


def largest_picture(result: AnomalyMap) -> bytes:
    """Return three slices through the largest region, or the middle of the lungs: scan, restored, score."""
    panels, bar = _panels(result), score_bar(result)
    centre = result.regions[0].region.centre if result.regions else middle_of(result.lungs)
    cuts = [Cut(axis, index) for axis, index in enumerate(centre)]
    return slices_picture(panels, cuts, frame_of(result.scan, result.lungs), bar)


def axial_picture(result: AnomalyMap) -> bytes:
    """Return axial slices evenly through the lungs, head to feet: scan, restored, score, density."""
    frame = frame_of(result.scan, result.lungs)
    hit = np.flatnonzero((result.lungs.data[0] > 0).any(axis=(1, 2)))
    span = int(hit[0]), int(hit[-1]) + 1
    at = [int(span[0] + (span[1] - span[0]) * (SLICES - i - 0.5) / SLICES) for i in range(SLICES)]
    cuts = [Cut(0, index) for index in dict.fromkeys(at)]
    return slices_picture(_panels(result, baseline=True), cuts, frame, score_bar(result), panels_below=True)


def score_bar(result: AnomalyMap) -> Bar:
    """Return the scale of the score: probabilities whole, others up to what nearly all of the lungs stay below."""
    unit = _unit(result)
    if unit == "probability":
        return Bar(1.0, result.threshold, "score: probability of opacity")
    inside = result.score.data[result.lungs.data > 0]
    top = max(2 * result.threshold, float(np.percentile(inside, 99.5)))
    return Bar(top, result.threshold, f"score in {unit}" if unit else "score")


def frame_of(scan: Volume, lungs: Volume) -> Frame:
    """Return what to show of a scan: the lungs with a margin, in a lung window for HU."""
    spacing = scan.geometry.spacing
    inside = lungs.data[0] > 0
    reach = tuple(int(np.ceil(MARGIN / step)) for step in spacing)
    box = bounds(inside, reach)
    inner = tuple(slice(part.start, min(part.stop, n)) for part, n in zip(box, scan.geometry.shape, strict=True))
    low, high = CHEST
    if scan.unit != "HU":
        low, high = (float(v) for v in np.nanpercentile(scan.data[0][inside], (0.5, 99.5)))
    return Frame((inner[0], inner[1], inner[2]), spacing, low, max(high, low + 1e-6))


def middle_of(lungs: Volume) -> tuple[int, int, int]:
    """Return the voxel in the middle of the lungs' box."""
    d, h, w = ((part.start + min(part.stop, n)) // 2
               for part, n in zip(bounds(lungs.data[0] > 0), lungs.geometry.shape, strict=True))  # fmt: skip
    return d, h, w


def _panels(result: AnomalyMap, baseline: bool = False) -> list[Panel]:
    scan = result.scan.data[0]
    lungs = Outline(result.lungs.data[0], LUNGS, 0.5)
    found = Outline(result.labels.data[0], FLAGGED)
    panels = [Panel("scan", scan, outlines=(lungs,))]
    if result.restored is not None:
        panels.append(Panel("restored", result.restored.data[0]))
    panels.append(Panel("score, regions outlined", scan, result.score.data[0], (found,)))
    if baseline and result.baseline is not None:
        usual = Hounsfield().fixed_threshold(result.scene)
        dense = Outline(result.baseline.data[0] >= usual, DENSITY)
        panels.append(Panel("density alone, outlined", scan, outlines=(dense,)))
    return panels


def _unit(result: AnomalyMap) -> str:
    return "probability" if result.recipe.unit == "probability" else result.scan.unit or ""
