"""Labels and steps that a curve needs for a value."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.evaluation.savings import labels_needed, steps_needed


def column(*values: float) -> np.ndarray:
    return np.array(values)[:, None]


def test_steps_are_interpolated_linearly_between_measurements() -> None:
    curve = column(0.2, 0.6, 0.8)
    assert steps_needed([100, 200, 300], curve, np.array([0.7]))[0] == pytest.approx(250)
    assert steps_needed([100, 200, 300], curve, np.array([0.6]))[0] == pytest.approx(200)
    assert steps_needed([100, 200, 300], curve, np.array([0.1]))[0] == 100
    assert steps_needed([100, 200, 300], curve, np.array([0.9]))[0] == np.inf


def test_labels_are_interpolated_in_their_logarithm() -> None:
    assert labels_needed([1, 4, 16], column(0.4, 0.6, 0.8), np.array([0.7]))[0] == pytest.approx(8)
    assert labels_needed([1, 4, 16], column(0.4, 0.6, 0.8), np.array([0.9]))[0] == np.inf
    assert labels_needed([1, 4, 16], column(0.4, 0.6, 0.8), np.array([0.3]))[0] == pytest.approx(1)


def test_a_curve_that_falls_is_taken_by_its_best_so_far_and_draws_are_apart() -> None:
    curve = np.array([[0.5, 0.1], [0.4, 0.1], [0.7, 0.5]])
    assert steps_needed([1, 2, 3], curve, np.array([0.5, 0.3])).tolist() == pytest.approx([1, 2.5])
