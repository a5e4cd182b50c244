"""Dice, IoU and their like: hand-counted masks, empty masks, thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.errors import GeometryError
from genesis3d.evaluation.overlap import THRESHOLDS, iou_over_thresholds, overlap


def mask(*on: int, size: int = 10) -> np.ndarray:
    found = np.zeros((1, 1, size), bool)
    found[0, 0, list(on)] = True
    return found


def test_figures_of_a_hand_counted_pair() -> None:
    counts = overlap(mask(0, 1, 2, 3), mask(2, 3, 4, 5, 6, 7))
    assert (counts.both, counts.predicted_only, counts.reference_only, counts.neither) == (2, 2, 4, 2)
    assert counts.dice == pytest.approx(4 / 10)
    assert counts.iou == pytest.approx(2 / 8)
    assert counts.sensitivity == pytest.approx(2 / 6)
    assert counts.precision == pytest.approx(2 / 4)
    assert counts.specificity == pytest.approx(2 / 4)
    assert counts.volume_error_percent == pytest.approx(100 * (4 - 6) / 6)


def test_uncounted_voxels_count_nowhere() -> None:
    counts = overlap(mask(0, 1, 2, 3), mask(2, 3, 4), ~mask(3, 4, 9))
    assert (counts.both, counts.predicted_only, counts.reference_only, counts.neither) == (1, 2, 0, 4)


def test_two_empty_masks_say_nothing_and_one_empty_mask_is_zero() -> None:
    assert math.isnan(overlap(mask(), mask()).dice)
    assert math.isnan(overlap(mask(), mask()).iou)
    missed = overlap(mask(), mask(1, 2))
    assert (missed.dice, missed.iou, missed.sensitivity, missed.volume_error_percent) == (0, 0, 0, -100)
    assert math.isnan(missed.precision)
    invented = overlap(mask(1, 2), mask())
    assert (invented.dice, invented.precision) == (0, 0)
    assert math.isnan(invented.sensitivity)
    assert math.isnan(invented.volume_error_percent)


def test_thresholds_are_those_of_the_keras_code() -> None:
    assert THRESHOLDS == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_iou_over_thresholds_by_hand_and_of_a_mask() -> None:
    reference = mask(0, 1)
    probability = np.zeros((1, 1, 10))
    probability[0, 0, :3] = 0.97, 0.72, 0.52
    # above .5: both and one more (2/3); above .55 to .7: both (1); above .75 to .95: the first alone (1/2)
    expected = (2 / 3 + 4 * 1.0 + 5 * 0.5) / 10
    assert iou_over_thresholds(probability, reference) == pytest.approx(expected)
    assert iou_over_thresholds(mask(1, 2).astype(float), reference) == pytest.approx(1 / 3)
    assert math.isnan(iou_over_thresholds(np.zeros((1, 1, 10)), mask()))


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(GeometryError, match="expected the reference's shape"):
        overlap(mask(1), mask(1, size=9))
