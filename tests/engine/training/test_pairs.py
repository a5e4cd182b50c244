from __future__ import annotations

import threading
import time

import pytest
import torch

from genesis3d.data.cases import Case, load_cases
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.training.pairs import PairMaker, Pairs, Prefetch
from genesis3d.transforms import chain_preset


@pytest.fixture(scope="module")
def sampler(balls: list[Case]) -> Sampler:
    loaded = load_cases(balls)
    return Sampler(SamplingConfig(patch=(16, 16, 16)), loaded.volumes, loaded.scales)


def test_a_slot_alone_equals_the_slot_in_its_batch_bit_for_bit(sampler: Sampler) -> None:
    maker = PairMaker(sampler, chain_preset("official"), seed=3, batch=4)
    pairs = maker.pairs(5)
    assert pairs.input.shape == pairs.target.shape == (4, 1, 16, 16, 16)
    assert pairs.input.dtype == torch.float32
    for slot in range(4):
        alone = maker.pair(5, slot)
        assert torch.equal(alone.input[0], pairs.input[slot])
        assert torch.equal(alone.target[0], pairs.target[slot])
        assert alone.locations == pairs.locations[slot : slot + 1]
        assert alone.outcomes == pairs.outcomes[slot : slot + 1]


def test_batch_size_and_order_of_asking_do_not_matter(sampler: Sampler) -> None:
    small, large = (PairMaker(sampler, chain_preset("default"), seed=3, batch=n) for n in (2, 3))
    later = large.pairs(9)
    assert torch.equal(small.pairs(0).input, large.pairs(0).input[:2])
    assert torch.equal(small.pairs(9).input, later.input[:2])


def test_seeds_steps_and_streams_differ(sampler: Sampler) -> None:
    chain = chain_preset("identity")
    base = PairMaker(sampler, chain, 0, 4).pairs(0).locations
    assert PairMaker(sampler, chain, 1, 4).pairs(0).locations != base
    assert PairMaker(sampler, chain, 0, 4).pairs(1).locations != base
    assert PairMaker(sampler, chain, 0, 4, stream="validation").pairs(0).locations != base


def test_the_global_generator_is_untouched(sampler: Sampler) -> None:
    before = torch.random.get_rng_state()
    PairMaker(sampler, chain_preset("official"), 0, 2).pairs(0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_prefetching_keeps_order_and_stays_bounded() -> None:
    made: list[int] = []

    def make(step: int) -> Pairs:
        made.append(step)
        x = torch.full((1,), float(step))
        return Pairs(x, x, (), {}, ())

    with Prefetch(make, first=4, depth=2) as stream:
        assert [float(stream.take().input) for _ in range(3)] == [4, 5, 6]
        time.sleep(0.05)
        assert made == [4, 5, 6, 7, 8]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genesis-pairs")]


def test_what_making_raises_comes_out_and_no_thread_stays() -> None:
    def make(step: int) -> Pairs:
        raise MemoryError(f"step {step}")

    with pytest.raises(MemoryError, match="step 0"), Prefetch(make, first=0) as stream:
        stream.take()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genesis-pairs")]
    with pytest.raises(RuntimeError, match="expected to be entered"):
        stream.take()
