"""Chains: twelve outcomes, probabilities, presets, files, and settings that leave the rest as it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch

from genesis3d.config import Config, override
from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import (
    CHAIN_PRESETS,
    TRANSFORMS,
    Chain,
    Choice,
    Flip,
    Identity,
    Inpainting,
    LocalShuffling,
    NonLinear,
    Outpainting,
    Params,
    Shape,
    Step,
    Transform,
    chain_preset,
)

SHAPE = (1, 16, 20, 20)


def _draw(chain: Chain, n: int, shape: Shape = SHAPE) -> Params:
    return chain.draw(shape, [Address(21, 0, i) for i in range(n)])


def _kinds(chain: Chain, params: Params, n: int) -> Counter[str]:
    """Outcomes without their shares, relative."""
    words = (chain.outcome(params, i) for i in range(n))
    counts = Counter(" + ".join(part.split(" (")[0] for part in text.split(" + ")) for text in words)
    return Counter({key: value / n for key, value in counts.items()})


def test_the_official_chain_reaches_the_twelve_outcomes_with_their_probabilities() -> None:
    n = 3000
    chain = chain_preset("official")
    kinds = _kinds(chain, _draw(chain, n), n)
    shuffled = {True: 0.5, False: 0.5}
    curved = {True: 0.9, False: 0.1}
    painted = {"in-painting": 0.18, "out-painting": 0.72, "": 0.10}
    for a, p in shuffled.items():
        for b, q in curved.items():
            for word, r in painted.items():
                names = ["local shuffling"] * a + ["non-linear"] * b + [word] * bool(word)
                expected = p * q * r
                spread = 4.5 * np.sqrt(expected * (1 - expected) / n)
                assert kinds[" + ".join(names) or "identity"] == pytest.approx(expected, abs=spread)
    assert len(kinds) == 12
    inner = sum(value for key, value in kinds.items() if "in-painting" in key)
    assert inner == pytest.approx(0.18, abs=0.03)


def test_the_gentle_chain_has_its_probabilities() -> None:
    n = 2000
    chain = chain_preset("gentle")
    params = _draw(chain, n)
    kinds = _kinds(chain, params, n)
    assert sum(v for k, v in kinds.items() if "non-linear" in k) == pytest.approx(0.5, abs=0.05)
    assert sum(v for k, v in kinds.items() if "in-painting" in k) == pytest.approx(0.4, abs=0.05)
    assert sum(v for k, v in kinds.items() if "out-painting" in k) == pytest.approx(0.2, abs=0.04)
    assert not any("shuffling" in k for k in kinds)
    assert chain.part(params, 1)["decreasing"].mean() == pytest.approx(0.2, abs=0.04)


def test_the_target_is_flipped_and_otherwise_untouched() -> None:
    chain = chain_preset("default")
    x = torch.rand((12, *SHAPE), generator=torch.Generator().manual_seed(0))
    params = _draw(chain, 12)
    moved, target = chain.pair(x, params)
    flips = chain.part(params, 0)["flips"]
    assert flips.any()
    for i in range(12):
        axes = [axis + 1 for axis in range(3) if flips[i, axis]]
        assert torch.equal(target[i], x[i].flip(axes) if axes else x[i])
    assert torch.equal(chain.apply(x, params), moved)
    assert [torch.equal(moved[i], target[i]) for i in range(12)] == [chain.outcome(params, i) == "identity"
                                                                     for i in range(12)]  # fmt: skip


def test_noise_is_written_after_the_curve() -> None:
    chain = Chain(steps=(Step(transform=NonLinear(control_points=(0, 0, 0, 0), direction="increasing")),
                         Step(transform=Outpainting())))  # fmt: skip
    x = torch.full((1, *SHAPE), 0.5)
    params = _draw(chain, 1)
    painted = Outpainting().apply(x, chain.part(params, 1))
    noise = painted != 0.5
    assert torch.equal(chain.apply(x, params)[noise], painted[noise])


def test_masked_fraction_is_that_of_the_applied_painting() -> None:
    chain = chain_preset("official")
    params = _draw(chain, 60)
    hidden = chain.masked_fraction(params)
    for i in range(60):
        choice = params["3/choice"][i]
        if choice < 0:
            assert hidden[i] == 0
        else:
            own = chain.part(params, 3, int(choice))
            painting = (Inpainting(), Outpainting())[choice]
            assert hidden[i] == painting.masked_fraction(own)[i]
            assert f"{100 * hidden[i]:.0f} % hidden" in chain.outcome(params, i)


def test_turning_a_step_off_leaves_the_others_as_they_were() -> None:
    chain = chain_preset("default")
    steps = list(chain.steps)
    steps[1] = steps[1].replaced(enabled=False)
    other = chain.replaced(steps=tuple(steps))
    before, after = _draw(chain, 20), _draw(other, 20)
    assert (after["1/choice"] == -1).all()
    assert all(np.array_equal(before[key], after[key]) for key in before if key != "1/choice")


def test_a_higher_probability_keeps_what_was_applied() -> None:
    low, high = (Chain(steps=(Step(transform=Identity(), p=p),)) for p in (0.3, 0.6))
    a, b = _draw(low, 500)["0/choice"], _draw(high, 500)["0/choice"]
    assert (b[a == 0] == 0).all()
    assert (b == 0).sum() > (a == 0).sum()


def test_options_exclude_each_other_by_weight() -> None:
    choice = Choice(options=(Identity(), NonLinear(), Inpainting()), weights=(1, 2, 1), p=0.8)
    drawn = _draw(Chain(steps=(choice,)), 2000)["0/choice"]
    shares = [np.mean(drawn == j) for j in (-1, 0, 1, 2)]
    assert shares == pytest.approx([0.2, 0.2, 0.4, 0.2], abs=0.04)


@pytest.mark.parametrize("name", CHAIN_PRESETS)
def test_a_chain_saved_as_yaml_reads_back(name: str, tmp_path: Path) -> None:
    chain = chain_preset(name)
    file = tmp_path / "chain.yaml"
    file.write_text(chain.to_yaml(), encoding="utf-8")
    assert Chain.from_yaml(file) == chain
    params, again = _draw(chain, 3), _draw(Chain.from_yaml(file), 3)
    assert all(np.array_equal(params[key], again[key]) for key in params)


def test_a_configuration_holds_a_chain_by_value_or_by_name() -> None:
    class Training(Config):
        chain: Chain = chain_preset("default")
        transform: Annotated[Transform, *TRANSFORMS.field()] = Flip()

    assert Training.parse({"chain": "official"}).chain == chain_preset("official")
    assert Training.parse({"chain": chain_preset("paper").to_dict()}).chain == chain_preset("paper")
    assert Training.parse(Training().to_dict()) == Training()
    changed = override(Training().to_dict(), ["chain.steps.1.p=0.25", "chain.steps.3.options.1.fill=mean"])
    chain = Training.parse(changed).chain
    assert chain.steps[1].p == 0.25
    assert chain.steps[3].options[1] == Outpainting(fill="mean")
    with pytest.raises(ConfigError, match="expected one of default, official"):
        chain_preset("hard")
    with pytest.raises(ConfigError, match="expected one of default, official"):
        Training.parse({"chain": "hard"})


def test_impossible_chains_are_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="a weight for each of 2 options"):
        Choice.parse({"options": ["identity", "flip"], "weights": [1]})
    with pytest.raises(ConfigError, match="not all 0"):
        Choice.parse({"options": ["identity"], "weights": [0]})
    with pytest.raises(ConfigError, match="expected one of"):
        Chain.parse({"steps": [{"transform": "rotate"}]})
    with pytest.raises(ConfigError, match=r"steps\.0\.step\.p"):
        Chain.parse({"steps": [{"transform": "flip", "p": 1.5}]})


def test_a_chain_inside_a_chain_and_a_chain_of_nothing() -> None:
    inner = Chain(steps=(Step(transform=Flip(p=1, repeats=1)), Step(transform=LocalShuffling(windows=30))))
    outer = Chain(steps=(Step(transform=inner, p=0.5), Step(transform=NonLinear())))
    x = torch.rand((8, *SHAPE), generator=torch.Generator().manual_seed(3))
    params = _draw(outer, 8)
    target = outer.pair(x, params)[1]
    used = params["0/choice"] == 0
    assert 0 < used.sum() < 8
    part = {key: array[used] for key, array in outer.part(params, 0).items()}
    expected = inner.pair(x[torch.from_numpy(used)], part)[1]
    assert torch.equal(target[torch.from_numpy(used)], expected)
    assert torch.equal(target[torch.from_numpy(~used)], x[torch.from_numpy(~used)])
    nothing = Chain(steps=())
    assert torch.equal(nothing.apply(x, _draw(nothing, 8)), x)


def test_a_user_s_own_transformation_joins_in() -> None:
    class Darker(Transform):
        """Halve every intensity."""

        label = "darker"

        def sample(self, shape: Shape, address: Address) -> Params:
            return {}

        def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
            return x / 2

    chain = Chain(steps=(Step(transform=Darker(), p=0.5),))
    x = torch.ones((10, *SHAPE))
    params = _draw(chain, 10)
    out = chain.apply(x, params)
    assert {chain.outcome(params, i) for i in range(10)} == {"darker", "identity"}
    assert [float(case.mean()) for case in out] == [0.5 if c == 0 else 1.0 for c in params["0/choice"]]
    assert chain.masked_fraction(params).tolist() == [0.0] * 10


def test_paper_presets_hide_at_most_a_quarter_and_keep_the_histogram() -> None:
    chain = chain_preset("paper")
    params = _draw(chain, 200, (1, 32, 64, 64))
    hidden = chain.masked_fraction(params)
    assert hidden.max() <= 0.25
    assert np.median(hidden[params["2/choice"] == 1]) > 0.22
    shuffling = chain.steps[0].options[0]
    assert isinstance(shuffling, LocalShuffling)
    x = torch.rand((1, *SHAPE))
    out = shuffling.apply(x, shuffling.draw(SHAPE, [Address(0)]))
    assert torch.equal(out.flatten().sort().values, x.flatten().sort().values)
    assert not torch.equal(out, x)
