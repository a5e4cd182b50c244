"""The twelve outcomes: what each does and does not, and that they share their draws."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import CHAIN_PRESETS, Choice
from genesis3d.transforms.outcomes import chosen_outcomes, outcome_label, twelve_outcomes

ADDRESS = Address(5, 3, 1, "gallery/chain")
SHAPE = (1, 16, 24, 24)


def transformed(name: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, str]:
    chain = twelve_outcomes()[name]
    params = chain.draw(SHAPE, [ADDRESS])
    return *chain.pair(x, params), chain.outcome(params, 0)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((1, *SHAPE), np.float32))


def test_they_are_the_product_of_the_three_decisions() -> None:
    parts = {frozenset(name.split("+")) for name in twelve_outcomes()}
    expected = {
        frozenset({*first, *second, *third} or {"identity"})
        for first in ((), ("nonlinear",))
        for second in ((), ("shuffling",))
        for third in ((), ("inpainting",), ("outpainting",))
    }
    assert len(twelve_outcomes()) == 12
    assert parts == expected


def test_each_is_certain_and_does_what_its_name_says(x: torch.Tensor) -> None:
    for name in twelve_outcomes():
        for seed in range(4):
            params = twelve_outcomes()[name].draw(SHAPE, [Address(seed)])
            said = twelve_outcomes()[name].outcome(params, 0).partition(" (")[0]
            assert said == outcome_label(name)
        _, target, _ = transformed(name, x)
        assert torch.equal(target, x)


def test_they_share_windows_curve_and_boxes(x: torch.Tensor) -> None:
    curve, _, _ = transformed("nonlinear", x)
    shuffled, _, _ = transformed("shuffling", x)
    both, _, _ = transformed("shuffling+nonlinear", x)
    in_curve, _, _ = transformed("nonlinear+inpainting", x)
    in_plain, _, _ = transformed("inpainting", x)
    hidden = in_plain != x
    assert hidden.any()
    assert torch.equal(in_curve[~hidden], curve[~hidden])
    assert torch.equal(in_curve[hidden], in_plain[hidden])  # noise comes after the curve
    order = torch.argsort(shuffled.flatten())  # the curve is one function of intensity, before and after shuffling
    values = both.flatten()[order].diff()
    assert bool((values >= -1e-6).all()) or bool((values <= 1e-6).all())


def test_parameters_are_those_of_the_official_chain() -> None:
    chain = twelve_outcomes()["shuffling+nonlinear+outpainting"]
    official = CHAIN_PRESETS["official"]
    for ours, theirs in zip(chain.steps, official.steps[1:], strict=True):
        assert ours.options == theirs.options
        assert ours.p == 1
    painting = chain.steps[-1]
    assert isinstance(painting, Choice)
    assert painting.shares == (0.0, 1.0)


def test_some_are_chosen_in_any_spelling_and_others_refused() -> None:
    assert list(chosen_outcomes(("outpainting+shuffling", "identity"))) == ["shuffling+outpainting", "identity"]
    assert chosen_outcomes(()) == twelve_outcomes()
    with pytest.raises(ConfigError, match=r"expected one of identity, nonlinear.*got 'blur'"):
        chosen_outcomes(("blur",))
    assert outcome_label("chain") == "chain"
