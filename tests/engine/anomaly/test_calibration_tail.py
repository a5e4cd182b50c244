"""The table of healthy shares: right, monotone, and read the same in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from genesis3d.anomaly.calibration_tail import Tail, pooled, significant

KINDS = ("normal", "zeros", "whole", "probability", "few")


def scores(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "normal":
        return rng.normal(3, 10, 20_000)
    if kind == "zeros":
        return np.maximum(rng.normal(-20, 30, 20_000), 0).astype(np.float32)
    if kind == "whole":
        return np.rint(np.abs(rng.normal(0, 40, 30_000)))
    if kind == "probability":
        return rng.beta(0.1, 5, 20_000).astype(np.float32)
    return rng.normal(0, 1, 7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_share_and_threshold_invert_each_other(kind: str, seed: int) -> None:
    values = scores(kind, seed)
    positive = values[values > 0]
    tail = Tail.of(positive, values.size)
    rng = np.random.default_rng(seed + 100)
    for share in np.exp(rng.uniform(np.log(tail.shares[-1]), np.log(tail.shares[0]), 50)):
        assert tail.share(tail.threshold(share)) == pytest.approx(share, rel=1e-6)
    for threshold in rng.uniform(tail.values[0], tail.values[-1], 50):
        assert tail.threshold(tail.share(threshold)) == pytest.approx(threshold, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_those_of_the_scores_and_fall(kind: str) -> None:
    values = scores(kind, 5)
    tail = Tail.of(values)
    for value, share in zip(tail.values, tail.shares, strict=True):
        assert share == pytest.approx((values >= value).mean(), rel=1e-5)
    grid = np.linspace(values.min() - 1, values.max() + 1, 300)
    assert (np.diff(tail.share_at(grid)) <= 0).all()
    assert tail.share(values.max() * 1.01 + 1) == 0
    assert tail.share(values.min() - 1) == 1
    middle = np.quantile(values, 0.97)
    if kind != "few":
        assert tail.share(middle) == pytest.approx((values >= middle).mean(), rel=0.15)


def test_a_share_smaller_than_any_seen_flags_nothing() -> None:
    tail = Tail.of(np.arange(1.0, 101.0))
    assert tail.threshold(1e-9) > 100
    assert tail.share(tail.threshold(1e-9)) == 0
    assert tail.smallest == pytest.approx(0.01)


def test_nothing_scored_flags_nothing() -> None:
    tail = Tail.of(np.empty(0), 1000)
    assert tail.share(0.001) == 0
    assert tail.threshold(0.01) == 0
    assert tail.smallest == 1


def test_pooled_is_the_mean_of_the_shares() -> None:
    first, second = (Tail.of(scores("zeros", seed)) for seed in (1, 2))
    third = Tail.of(scores("normal", 3))
    both = pooled([first, second, third], [1, 1, 2])
    for value in (1.0, 5.0, 20.0, 30.0):
        expected = (first.share(value) + second.share(value) + 2 * third.share(value)) / 4
        assert both.share(value) == pytest.approx(expected, rel=0.1)
    assert both.values[-1] == max(first.values[-1], second.values[-1], third.values[-1])


def test_rounding_keeps_significant_digits() -> None:
    assert significant(np.array([123456.0, 0.00123456, 0.0, -9.87654]), 3).tolist() == [123000, 0.00123, 0, -9.88]


def test_a_table_out_of_order_is_refused() -> None:
    with pytest.raises(ValidationError, match="rising values"):
        Tail(values=(1, 2), shares=(0.1, 0.2))
    with pytest.raises(ValidationError, match="rising values"):
        Tail(values=(1, 2), shares=(0.1,))
