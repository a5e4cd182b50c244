"""Figures of classifications: by hand, by counting pairs, with ties, several classes, one kind only."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.errors import ConfigError
from genesis3d.evaluation.classification import OVERALL, auc, average_precision, classification_figures, roc_curve

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2, 0.1])
POSITIVE = np.array([1, 1, 0, 1, 0, 1, 0, 0], bool)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(3)
    scores, positive = rng.integers(0, 6, 40) / 5, rng.random(40) > 0.6
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert auc(scores, positive) == pytest.approx(np.mean(pairs))
    assert auc(SCORES, POSITIVE) == pytest.approx(13 / 16)
    assert math.isnan(auc(SCORES, np.zeros(8, bool)))


def test_area_under_the_roc_curve_is_the_auc() -> None:
    rng = np.random.default_rng(4)
    scores, positive = rng.integers(0, 8, 60) / 7, rng.random(60) > 0.5
    false, true = roc_curve(scores, positive)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2) == pytest.approx(auc(scores, positive))


def test_average_precision_by_hand_and_with_all_scores_equal() -> None:
    expected = (1 / 1 + 2 / 2 + 3 / 4 + 4 / 6) / 4
    assert average_precision(SCORES, POSITIVE) == pytest.approx(expected)
    assert average_precision(np.ones(8), POSITIVE) == pytest.approx(0.5)
    assert math.isnan(average_precision(SCORES, np.ones(8, bool)))


def test_two_classes_by_hand() -> None:
    found = classification_figures(SCORES, POSITIVE.astype(int), ("healthy", "opacified"))
    assert set(found) == {OVERALL, "opacified"}
    figures = found["opacified"]
    assert figures["sensitivity"] == pytest.approx(3 / 4)
    assert figures["specificity"] == pytest.approx(2 / 4)
    assert figures["precision"] == pytest.approx(3 / 5)
    assert figures["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert found[OVERALL] == {"accuracy": pytest.approx(5 / 8), "n": 8}
    both = classification_figures(np.stack([1 - SCORES, SCORES], axis=1), POSITIVE.astype(int))
    assert both["1"] == figures


def test_three_classes_one_against_the_rest() -> None:
    scores = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]])
    found = classification_figures(scores, np.array([0, 1, 2, 1]), "abc")
    assert found[OVERALL]["accuracy"] == pytest.approx(3 / 4)
    assert found["a"]["specificity"] == pytest.approx(2 / 3)
    assert found["b"]["sensitivity"] == pytest.approx(1 / 2)
    assert found["c"]["auc"] == 1.0
    assert found[OVERALL]["sensitivity"] == pytest.approx((1 + 0.5 + 1) / 3)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="class indices 0 to 1"):
        classification_figures(SCORES, np.full(8, 2))
    with pytest.raises(ConfigError, match=r"\(N,\) or \(N, K\) for 3 cases"):
        classification_figures(SCORES, np.zeros(3, int))
    with pytest.raises(ConfigError, match="finite"):
        classification_figures(np.full(8, np.nan), POSITIVE.astype(int))
    with pytest.raises(ConfigError, match="2 different names"):
        classification_figures(SCORES, POSITIVE.astype(int), ("one",))
