"""Ranking figures against their definitions, computed threshold by threshold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from genesis3d.evaluation.classification import auc, average_precision, roc_curve
from genesis3d.evaluation.ranking import ranking


def drawn(seed: int, ties: bool) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    positive = generator.random(400) < 0.2
    scores = (generator.standard_normal(400) + positive).astype(np.float32)
    return (np.round(scores * 2).clip(0) if ties else scores), positive


def by_thresholds(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """Return average precision and the best Dice, a threshold at every score there is."""
    area, recall, best = 0.0, 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        hot = scores >= threshold
        both = float((hot & positive).sum())
        area += (both / positive.sum() - recall) * both / hot.sum()
        recall = both / positive.sum()
        best = max(best, 2 * both / (hot.sum() + positive.sum()))
    return area, best


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_areas_follow_their_definitions(seed: int, ties: bool) -> None:
    scores, positive = drawn(seed, ties)
    found = ranking(scores, positive)
    area, best = by_thresholds(scores, positive)
    ours, others = scores[positive][:, None], scores[~positive][None]
    chance = (ours > others).mean() + 0.5 * (ours == others).mean()
    assert found.average_precision == pytest.approx(area, abs=1e-12)
    assert found.auroc == pytest.approx(chance, abs=1e-12)
    assert found.oracle[0] == pytest.approx(best, abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision(scores, positive), abs=1e-12)
    assert found.auroc == pytest.approx(auc(scores, positive), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("most", [0.05, 0.3, 1.0])
def test_partial_area_is_that_of_the_roc_curve(ties: bool, most: float) -> None:
    scores, positive = drawn(2, ties)
    false, true = roc_curve(scores, positive)
    x = np.linspace(0, most, 200_001)
    area = float(np.trapezoid(np.interp(x, false, true), x)) / most
    assert ranking(scores, positive).partial_auroc(most) == pytest.approx(area, abs=2e-4)


def test_perfect_and_idle_scores() -> None:
    positive = np.array([True, True, False, False, False, False])
    perfect = ranking(np.array([3.0, 2.0, 1.0, 0.0, 0.0, 0.0]), positive)
    assert (perfect.auroc, perfect.average_precision, perfect.partial_auroc(0.3)) == (1.0, 1.0, pytest.approx(1.0))
    assert perfect.oracle == (1.0, 2.0)
    idle = ranking(np.zeros(6), positive)
    assert (idle.auroc, idle.average_precision) == (0.5, pytest.approx(1 / 3))
    assert idle.partial_auroc(0.3) == pytest.approx(0.15)


def test_one_kind_alone_says_nothing() -> None:
    found = ranking(np.ones(4), np.ones(4, bool))
    assert np.isnan([found.auroc, found.average_precision, found.partial_auroc(), *found.oracle]).all()
