"""The figures of one segmented scan against its reference, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import GeometryError
from genesis3d.evaluation.overlap import iou_over_thresholds, overlap
from genesis3d.evaluation.surfaces import surface_distances
from genesis3d.labels import BACKGROUND, IGNORE, LabelClass

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["FIGURES", "foreground", "foreign_values", "mean_dice", "segmentation_figures"]

# Millimetres that two grids may differ by and still be one: files keep their geometry in 32 bits.
TOLERANCE = 0.01
FIGURES = {
    "dice": "Dice",
    "iou": "IoU",
    "mean_iou": "IoU, mean over thresholds .5 to .95",
    "hd95_mm": "HD95 (mm)",
    "assd_mm": "average symmetric surface distance (mm)",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "volume_ml": "volume (mL)",
    "reference_ml": "reference volume (mL)",
    "volume_error_ml": "volume error (mL)",
    "volume_error_percent": "volume error (%)",
}
Figures = dict[str, float]


def segmentation_figures(
    prediction: Volume,
    reference: Volume,
    classes: Sequence[LabelClass],
    *,
    probabilities: Volume | None = None,
    ignore: int | None = IGNORE,
    distances: bool = True,
) -> dict[str, Figures]:
    """Return the :data:`FIGURES` of each class but the background, by its name.

    Parameters
    ----------
    prediction, reference : (1, D, H, W) label volumes of class values, on one grid
    classes : what is looked for; of the background (value 0) nothing is said
    probabilities : (K, D, H, W) in [0, 1], channel i that of ``classes[i]``; without, ``mean_iou`` is the IoU
    ignore : reference value of voxels that nobody labelled, which count nowhere: they belong to neither mask
    distances : also between surfaces, the slower half of the work; without, they are nan

    Raises
    ------
    GeometryError
        When the grids differ, or ``probabilities`` have not a channel a class.
    """
    _check_grids(prediction, reference, probabilities, len(classes))
    truth = reference.data[0]
    counted = None if ignore is None or not (truth == ignore).any() else truth != ignore
    voxel_ml = float(np.prod(reference.geometry.spacing)) / 1000.0
    found = {}
    for index, one in enumerate(classes):
        if one.value == BACKGROUND:
            continue
        ours, theirs = prediction.data[0] == one.value, truth == one.value
        if counted is not None:
            ours &= counted
        figures = _figures(ours, theirs, counted, reference.geometry.spacing, voxel_ml, distances)
        if probabilities is not None:
            figures["mean_iou"] = iou_over_thresholds(probabilities.data[index], theirs, counted)
        found[one.name] = figures
    return found


def foreground(classes: Sequence[LabelClass]) -> list[LabelClass]:
    """Return the classes but the background."""
    return [one for one in classes if one.value != BACKGROUND]


def mean_dice(figures: dict[str, Figures]) -> float:
    """Return the mean Dice over the classes of one case, those without a value left out; nan when none has one."""
    known = [one["dice"] for one in figures.values() if not np.isnan(one["dice"])]
    return float(np.mean(known)) if known else float("nan")


def foreign_values(labels: Volume, classes: Sequence[LabelClass], ignore: int | None = IGNORE) -> list[int]:
    """Return the values of ``labels`` that are neither background, nor a class, nor ``ignore``."""
    known = {BACKGROUND, *(one.value for one in classes)} | ({ignore} if ignore is not None else set())
    return sorted({int(value) for value in np.unique(labels.data)} - known)


def _figures(
    ours: NDArray[np.bool_],
    theirs: NDArray[np.bool_],
    counted: NDArray[np.bool_] | None,
    spacing: tuple[float, float, float],
    voxel_ml: float,
    distances: bool,
) -> Figures:
    shared = overlap(ours, theirs, counted)
    apart = surface_distances(ours, theirs, spacing) if distances else None
    return {
        "dice": shared.dice,
        "iou": shared.iou,
        "mean_iou": shared.iou,
        "hd95_mm": apart.hd95 if apart else float("nan"),
        "assd_mm": apart.average if apart else float("nan"),
        "sensitivity": shared.sensitivity,
        "precision": shared.precision,
        "volume_ml": shared.predicted * voxel_ml,
        "reference_ml": shared.reference * voxel_ml,
        "volume_error_ml": (shared.predicted - shared.reference) * voxel_ml,
        "volume_error_percent": shared.volume_error_percent,
    }


def _check_grids(prediction: Volume, reference: Volume, probabilities: Volume | None, classes: int) -> None:
    for volume in (prediction, probabilities):
        if volume is not None and not volume.geometry.matches(reference.geometry, TOLERANCE):
            raise GeometryError(
                f"{volume.name}: expected the grid of its reference, {reference.geometry.describe()}, "
                f"got {volume.geometry.describe()} or another place"
            )
    if probabilities is not None and probabilities.channels != classes:
        raise GeometryError(f"probabilities: expected {classes} channels, one a class, got {probabilities.channels}")
