"""The cases of an evaluation, one after another: a predicted and a reference segmentation on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.evaluation.segmentation import TOLERANCE, foreign_values, segmentation_figures
from genesis3d.labels import BACKGROUND, LabelClass, named
from genesis3d.workflows.evaluate_pairs import LabelPair

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["Evaluated", "collected", "evaluated_pair", "present_classes"]

Figures = dict[str, float]
Labelled = tuple["Volume", tuple[LabelClass, ...]]


@dataclass
class Evaluated:
    """Figures of one case by class name; which classes its reference holds; sentences to be said."""

    name: str
    figures: dict[str, Figures]
    present: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def evaluated_pair(
    pair: LabelPair, classes: Sequence[LabelClass], ignore: int | None, *, resample: bool, distances: bool
) -> Evaluated:
    """Read a pair and return its figures for ``classes``, or without any for every value that one of the two holds.

    Raises
    ------
    ScanError
        For a file that is no segmentation.
    GeometryError
        When the grids differ and ``resample`` is not set.
    """
    from genesis3d.io.itk_filters.relabel import labels_onto

    (truth, said), (found, also) = _read(pair)
    truth, found = truth.canonical(), found.canonical()
    warnings = [f"{pair.name}: {note}" for note in (*truth.notes, *found.notes)]
    if resample and not found.geometry.matches(truth.geometry, TOLERANCE):
        found = labels_onto(found, truth.geometry, BACKGROUND)
        warnings.append(f"{pair.name}: the prediction lies on another grid and was put onto the reference's")
    wanted = list(classes) or _classes(truth, found, (*said, *also), ignore)
    strange = foreign_values(found, wanted, ignore)
    if strange:
        warnings.append(f"{pair.name}: the values {', '.join(map(str, strange[:5]))} are none of the classes")
    figures = segmentation_figures(found, truth, wanted, ignore=ignore, distances=distances)
    return Evaluated(pair.name, figures, present_classes(truth, wanted), warnings)


def _read(pair: LabelPair) -> tuple[Labelled, Labelled]:
    """Return reference and prediction: contours, and segments that leave out empty slices, take the other's grid."""
    from genesis3d.io import read_segmentation
    from genesis3d.io.segmentation import is_segmentation

    if is_segmentation(Path(pair.reference)) and not is_segmentation(Path(pair.prediction)):
        found = read_segmentation(pair.prediction)
        return read_segmentation(pair.reference, found[0]), found
    truth = read_segmentation(pair.reference)
    return truth, read_segmentation(pair.prediction, truth[0])


def present_classes(truth: Volume, classes: Sequence[LabelClass]) -> set[str]:
    """Return the names of the classes, but the background, that ``truth`` holds a voxel of."""
    values = set(np.unique(truth.data).tolist()) - {BACKGROUND}
    return {one.name for one in classes if one.value in values}


def collected(
    cases: Sequence[Evaluated], declared: Sequence[LabelClass]
) -> tuple[dict[str, dict[str, Figures]], list[str]]:
    """Return figures by case and class, every case with every class (nan where it has none), and what is left out.

    Without ``declared`` classes those are taken that some reference holds: a value that only predictions have is an
    error of theirs, but no class.
    """
    names = [one.name for one in declared if one.value != BACKGROUND]
    if not names:
        names = sorted({label for case in cases for label in case.present}, key=_numbered)
    nothing = {figure: float("nan") for case in cases for one in case.figures.values() for figure in one}
    table = {case.name: {label: case.figures.get(label, dict(nothing)) for label in names} for case in cases}
    extra = sorted({label for case in cases for label in case.figures} - set(names), key=_numbered)
    said = [f"{label}: no reference holds it, so it is no class; predictions do" for label in extra]
    return table, said


def _numbered(label: str) -> tuple[str, int, str]:
    head, _, number = label.rpartition(" ")
    return (head, int(number), "") if number.isdigit() else (label, 0, "")


def _classes(truth: Volume, found: Volume, said: Sequence[LabelClass], ignore: int | None) -> list[LabelClass]:
    values = np.union1d(np.unique(truth.data), np.unique(found.data)).tolist()
    known = {one.value: one for one in reversed(said)}
    return [known.get(value, named(value)) for value in map(int, values) if value not in (BACKGROUND, ignore)]
