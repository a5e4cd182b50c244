"""Summaries, t-tests and bootstrap intervals: against formulas, scipy, and the interval's own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.errors import ConfigError
from genesis3d.evaluation.statistics import bootstrap, paired_bootstrap, summary, t_test, wilcoxon


def test_summary_by_hand_leaves_out_what_is_no_number() -> None:
    found = summary([1.0, 2.0, float("nan"), 6.0])
    assert (found.n, found.mean, found.median, found.left_out) == (3, 3.0, 2.0, 1)
    assert found.sd == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert found.high - found.mean == pytest.approx(4.302653 * found.sd / np.sqrt(3))  # t of 2 degrees, 97.5 %
    assert math.isnan(summary([]).mean)
    assert math.isnan(summary([1.0]).sd)


def test_t_test_is_the_pooled_formula() -> None:
    a, b = [0.81, 0.84, 0.79, 0.85], [0.80, 0.76, 0.78]
    found = t_test(a, b)
    pooled = (3 * np.var(a, ddof=1) + 2 * np.var(b, ddof=1)) / 5
    assert found.t == pytest.approx((np.mean(a) - np.mean(b)) / np.sqrt(pooled * (1 / 4 + 1 / 3)))
    assert found.freedom == 5
    assert 0.05 < found.p < 0.15
    assert t_test(b, a).difference == pytest.approx(-found.difference)
    assert t_test(a, b, welch=True).freedom < 5


def test_t_test_of_too_little_says_nothing() -> None:
    assert math.isnan(t_test([1.0], [2.0, 3.0]).p)
    assert math.isnan(t_test([1.0, 1.0], [2.0, 2.0]).p)
    assert t_test([1.0, 1.0], [2.0, 2.0]).difference == -1.0


def test_bootstrap_of_a_mean_is_close_to_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(5, 2, 100)
    found = bootstrap(lambda chosen: float(values[chosen].mean()), 100, resamples=2000)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.1)


def test_paired_bootstrap_of_one_row_is_the_plain_one_and_repeats() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.03, 40)
    found = paired_bootstrap(differences)
    assert found == paired_bootstrap(differences)
    assert found.estimate == pytest.approx(differences.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * differences.std() / np.sqrt(40), rel=0.1)
    assert found.excludes_zero


def test_paired_bootstrap_over_seeds_and_cases_is_wider_where_seeds_differ() -> None:
    rng = np.random.default_rng(2)
    by_seed = rng.normal(0, 0.05, (5, 1)) + rng.normal(0, 0.01, (5, 30))
    both = paired_bootstrap(by_seed)
    pooled = paired_bootstrap(by_seed.ravel())
    assert both.high - both.low > 2 * (pooled.high - pooled.low)


def test_paired_bootstrap_with_missing_pairs_and_nothing() -> None:
    table = np.array([[0.1, np.nan, 0.3], [np.nan, 0.2, 0.2]])
    found = paired_bootstrap(table, resamples=500)
    assert found.estimate == pytest.approx(0.2)
    assert 0.1 <= found.low <= found.high <= 0.3
    with pytest.raises(ConfigError, match="expected numbers"):
        paired_bootstrap([[np.nan, np.nan]])


def test_wilcoxon_is_exact() -> None:
    from scipy.stats import wilcoxon as theirs

    differences = np.random.default_rng(0).standard_normal(9) + 0.4
    assert wilcoxon(differences) == pytest.approx(theirs(differences, method="exact").pvalue)
    assert wilcoxon([1.0, 2.0, 3.0, 4.0]) == pytest.approx(0.125)
    assert wilcoxon([1.0, 1.0, 1.0, -1.0]) == pytest.approx(10 / 16)  # ties: one of four against, or worse
    assert np.isnan(wilcoxon([0.0, np.nan]))
