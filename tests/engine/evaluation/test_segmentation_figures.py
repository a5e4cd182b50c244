"""The figures of a segmented scan: classes, units, ignored voxels, grids that differ."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.errors import GeometryError
from genesis3d.evaluation.segmentation import FIGURES, foreign_values, mean_dice, segmentation_figures
from genesis3d.labels import LabelClass
from genesis3d.volume import Geometry, Volume

CLASSES = (LabelClass(value=0, name="background"), LabelClass(value=3, name="liver"), LabelClass(value=7, name="cyst"))
GRID = Geometry((6, 8, 10), (2.0, 1.0, 0.5))


def labels(**boxes: tuple[slice, slice, slice]) -> Volume:
    data = np.zeros((1, *GRID.shape), np.uint16)
    for name, box in boxes.items():
        data[(0, *box)] = {one.name: one.value for one in CLASSES}.get(name, 255)
    return Volume(data, GRID)


CUBE = (slice(1, 3), slice(1, 5), slice(1, 9))


def test_each_class_but_the_background_has_every_figure() -> None:
    found = segmentation_figures(labels(liver=CUBE), labels(liver=CUBE), CLASSES)
    assert set(found) == {"liver", "cyst"}
    assert set(found["liver"]) == set(FIGURES)
    liver = found["liver"]
    assert (liver["dice"], liver["iou"], liver["mean_iou"], liver["hd95_mm"], liver["assd_mm"]) == (1, 1, 1, 0, 0)
    assert liver["volume_ml"] == pytest.approx(2 * 4 * 8 * 1.0 / 1000)
    assert math.isnan(found["cyst"]["dice"])
    assert mean_dice(found) == 1.0


def test_volume_error_and_distances_are_in_millilitres_and_millimetres() -> None:
    shifted = (slice(2, 3), slice(1, 5), slice(1, 9))
    liver = segmentation_figures(labels(liver=shifted), labels(liver=CUBE), CLASSES)["liver"]
    assert liver["volume_error_ml"] == pytest.approx(-0.032)
    assert liver["volume_error_percent"] == pytest.approx(-50)
    assert liver["hd95_mm"] == pytest.approx(2.0)
    assert liver["dice"] == pytest.approx(2 / 3)


def test_ignored_voxels_belong_to_neither_mask() -> None:
    left = (slice(1, 3), slice(1, 5), slice(1, 5))
    right = (slice(1, 3), slice(1, 5), slice(5, 9))
    reference = labels(liver=left, unlabelled=right)
    liver = segmentation_figures(labels(liver=CUBE), reference, CLASSES)["liver"]
    assert (liver["dice"], liver["volume_error_ml"], liver["hd95_mm"]) == (1.0, 0.0, 0.0)
    counted = segmentation_figures(labels(liver=CUBE), reference, CLASSES, ignore=None)["liver"]
    assert counted["dice"] == pytest.approx(2 / 3)


def test_probabilities_give_the_mean_over_thresholds() -> None:
    probabilities = np.zeros((3, *GRID.shape), np.float32)
    probabilities[(1, *CUBE)] = 0.72
    found = segmentation_figures(
        labels(liver=CUBE), labels(liver=CUBE), CLASSES, probabilities=Volume(probabilities, GRID), distances=False
    )
    assert found["liver"]["mean_iou"] == pytest.approx(0.5)
    assert found["liver"]["iou"] == 1.0
    assert math.isnan(found["liver"]["hd95_mm"])


def test_another_grid_or_number_of_channels_is_refused() -> None:
    elsewhere = Volume(labels().data, Geometry(GRID.shape, GRID.spacing, (50.0, 0.0, 0.0)), name="moved")
    with pytest.raises(GeometryError, match="moved: expected the grid of its reference"):
        segmentation_figures(elsewhere, labels(), CLASSES)
    with pytest.raises(GeometryError, match="expected 3 channels"):
        segmentation_figures(labels(), labels(), CLASSES, probabilities=Volume(np.zeros((2, *GRID.shape)), GRID))


def test_values_that_are_no_class_are_named() -> None:
    strange = labels(liver=CUBE)
    strange.data[0, 0, 0, :2] = 5, 9
    assert foreign_values(strange, CLASSES) == [5, 9]
    assert foreign_values(labels(unlabelled=CUBE), CLASSES) == []
    assert foreign_values(labels(unlabelled=CUBE), CLASSES, ignore=None) == [255]
