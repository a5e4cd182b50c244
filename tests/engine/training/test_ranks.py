from __future__ import annotations

import sys
import threading
import time

import pytest
import torch

from genesis3d.cli.launching import launch
from genesis3d.data.cases import Case, load_cases
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.errors import ConfigError
from genesis3d.training.pairs import PairMaker, Pairs, Prefetch
from genesis3d.training.precision import default_threads, find_device
from genesis3d.training.ranks import Place, own_place
from genesis3d.training.watch import Watch
from genesis3d.transforms import chain_preset

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "6", "SLURM_LOCALID": "2", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}


def test_places_are_read_from_what_started_the_processes() -> None:
    assert own_place({}) == Place()
    assert own_place(TORCHRUN) == Place(5, 8, 1, 4)
    assert own_place(TORCHRUN).nodes == 2
    assert own_place(SRUN) == Place(6, 8, 2, 4, slurm=True)
    # an allocation of eight tasks, but a command that srun did not start
    assert own_place({"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) == Place()
    # torchrun within srun: the inner one counts
    assert own_place(SRUN | TORCHRUN) == Place(5, 8, 1, 4)
    assert [place.main for place in (Place(), Place(1, 2))] == [True, False]


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK: expected a number"),
        (SRUN | {"SLURM_STEP_TASKS_PER_NODE": "4,3"}, "same number of tasks on each machine, got 4,3"),
        (SRUN | {"SLURM_LOCALID": "x"}, "SLURM_LOCALID: expected a number"),
    ],
)
def test_half_a_place_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        own_place(environment)


def test_processes_share_cores_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)), raising=False)
    assert [default_threads(), default_threads(Place()), default_threads(Place(0, 8, 0, 4))] == [11, 11, 3]
    assert default_threads(Place(0, 40, 0, 40)) == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "6")
    assert default_threads(Place(0, 8, 0, 4, slurm=True)) == 6
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert default_threads(Place(0, 8, 0, 4)) == 2


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [str(find_device("auto", Place(r, 8, r % 4, 4))) for r in (0, 3, 5)] == ["cuda:0", "cuda:3", "cuda:1"]
    assert str(find_device("cuda")) == "cuda:0"
    with pytest.raises(ConfigError, match="each of its own, got cuda:1"):
        find_device("cuda:1", Place(0, 2, 0, 2))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # the scheduler shows each its own alone
    assert str(find_device("auto", Place(3, 4, 3, 4))) == "cuda:0"


@pytest.fixture(scope="module")
def maker(balls: list[Case]) -> PairMaker:
    loaded = load_cases(balls)
    sampler = Sampler(SamplingConfig(patch=(16, 16, 16)), loaded.volumes, loaded.scales)
    return PairMaker(sampler, chain_preset("official"), seed=3, batch=5)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_the_slots_of_all_processes_are_the_batch_bit_for_bit(maker: PairMaker, world: int) -> None:
    whole = maker.pairs(7)
    parts = [maker.of_process(rank, world) for rank in range(world)]
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert sorted(slot for part in parts for slot in part.slots) == list(range(5))
    for part in parts:
        made = part.pairs(7)
        assert len(made.input) == round(5 * part.share)
        for i, slot in enumerate(part.slots):
            assert torch.equal(made.input[i], whole.input[slot])
            assert torch.equal(made.target[i], whole.target[slot])
            assert made.locations[i] == whole.locations[slot]


def test_more_processes_than_slots_are_refused_and_statistics_see_all(maker: PairMaker) -> None:
    with pytest.raises(ConfigError, match="at least one sub-volume for each of 6 processes, got 5"):
        maker.of_process(0, 6)
    assert len(maker.of_process(1, 2).of_stream("statistics").pairs(0).input) == 5


def test_several_workers_make_the_same_pairs_in_order(maker: PairMaker) -> None:
    with Prefetch(maker.pairs, 0, workers=3) as stream:
        taken = [stream.take() for _ in range(5)]
    for step, pairs in enumerate(taken):
        assert torch.equal(pairs.input, maker.pairs(step).input)
    assert stream.waited > 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genesis-pairs")]


def test_waiting_for_pairs_is_counted() -> None:
    def make(step: int) -> Pairs:
        time.sleep(0.05)
        return Pairs(torch.zeros(1), torch.zeros(1), (), {}, ())

    with Prefetch(make, 0) as stream:
        stream.take()
        assert 0.03 < stream.waited < 1


class Store:
    """What the watch asks of torch's store, in memory."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.texts: dict[str, bytes] = {}
        self.gone = False

    def add(self, key: str, amount: int) -> int:
        if self.gone:
            raise RuntimeError("connection reset")
        self.numbers[key] = self.numbers.get(key, 0) + amount
        return self.numbers[key]

    def set(self, key: str, value: str) -> None:
        self.texts[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.texts[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.texts for key in keys)


def test_the_first_sentence_of_a_failure_stays() -> None:
    store = Store()
    one, two = Watch(store, 0, 2), Watch(store, 1, 2)
    assert one.why() is None
    two.fail("process 1 of 2 failed: first")
    one.fail("process 0 of 2 failed: then")
    assert one.why() == two.why() == "process 1 of 2 failed: first"


def test_a_silent_process_and_a_lost_store_are_noticed() -> None:
    store = Store()
    first, second, third = (Watch(store, rank, 3, lost=0.0) for rank in range(3))
    assert first._look() is None  # everybody is new
    assert second._look() is None
    assert third._look() is None
    time.sleep(0.01)
    assert third._look() == "process 0 has not been heard of for 0 seconds"  # beats of 0 were heard once
    store.gone = True
    assert second._look() == "the process that keeps the others together is gone"


def child(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


def test_launched_processes_know_their_places_and_fail_together() -> None:
    places = "import os; assert os.environ['WORLD_SIZE'] == '3' and os.environ['MASTER_PORT'].isdigit()"
    assert launch(child(places), 3) == 0
    assert launch(child("import os, sys; sys.exit(3 * int(os.environ['RANK']))"), 2) == 3


def test_those_left_behind_are_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genesis3d.cli.launching._GRACE", 0.3)
    start = time.monotonic()
    assert launch(child("import os, sys, time; os.environ['RANK'] == '1' and sys.exit(2); time.sleep(60)"), 2) == 2
    assert time.monotonic() - start < 30
