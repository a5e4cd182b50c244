"""Flips: frequencies of the published code, and input and target together."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import Flip

SHAPE = (1, 4, 5, 6)


def _frequencies(flip: Flip, n: int = 12_000) -> Counter[tuple[bool, ...]]:
    drawn = flip.draw(SHAPE, [Address(1, 0, i) for i in range(n)])["flips"]
    counts = Counter(tuple(row.tolist()) for row in drawn)
    return Counter({key: value / n for key, value in counts.items()})


def test_the_published_flips_have_the_measured_frequencies() -> None:
    share = _frequencies(Flip(axes=("channel", "H", "W")))
    assert share[False, False, False] == pytest.approx(0.729, abs=0.015)
    assert share[False, True, False] == pytest.approx(0.118, abs=0.012)
    assert share[False, False, True] == pytest.approx(0.118, abs=0.012)
    assert share[False, True, True] == pytest.approx(0.035, abs=0.008)
    assert not any(flips[0] for flips in share), "the slice axis is never flipped"


def test_by_default_the_three_axes_are_alike() -> None:
    share = _frequencies(Flip())
    single = [sum(value for flips, value in share.items() if flips[axis]) for axis in range(3)]
    assert max(single) - min(single) < 0.02
    assert min(single) > 0.12


def test_each_axis_is_mirrored_in_input_and_target() -> None:
    x = torch.rand(3, *SHAPE)
    params = {"flips": np.array([[True, False, False], [False, False, False], [True, False, True]])}
    moved, target = Flip().pair(x, params)
    assert torch.equal(moved, target)
    assert torch.equal(moved[0], x[0].flip(1))
    assert torch.equal(moved[1], x[1])
    assert torch.equal(moved[2], x[2].flip((1, 3)))


def test_always_and_never() -> None:
    assert _frequencies(Flip(p=0), 50) == {(False, False, False): 1.0}
    always = Flip(p=1, repeats=1, axes=("D",))
    assert _frequencies(always, 50) == {(True, False, False): 1.0}
    with pytest.raises(ConfigError, match="axes"):
        Flip.parse({"axes": ["X"]})
