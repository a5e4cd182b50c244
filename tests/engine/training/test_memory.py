from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.data.cases import Case
from genesis3d.errors import ConfigError, RunError
from genesis3d.events import Event, Failed, Finished, Stepped
from genesis3d.tasks.restoration_module import RestorationModule
from genesis3d.training.checkpoint import read_state
from genesis3d.training.memory import Portions, out_of_memory
from genesis3d.training.pairs import PairMaker
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]
pytestmark = pytest.mark.usefixtures("little_measuring")
# Without batch normalisation a batch's gradient is the mean of its parts'; Adam would blow rounding errors up.
FOUR = {
    "batch": 4,
    "network": {"name": "unet3d", "width": 4, "norm": "group"},
    "optimiser": {"name": "sgd", "lr": 0.1},
    "steps": 4,
    "validation": {"windows": 2, "every": 4},
    "keep": {"seconds": 3600, "every": 100, "samples_every": 100},
}


@pytest.mark.parametrize(
    ("error", "is_so"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: not enough memory: you tried ..."),
            True,
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"),
            True,
        ),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("shapes do not match"), False),
        (RunError("the training was remembered"), False),
        (OSError(12, "Cannot allocate memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, is_so: bool) -> None:
    assert out_of_memory(error) == is_so


def test_what_numpy_and_torch_really_raise_is_recognised() -> None:
    for allocate in (lambda: np.empty(2**48), lambda: torch.empty(2**48)):
        with pytest.raises((MemoryError, RuntimeError)) as caught:
            allocate()
        assert out_of_memory(caught.value)


def test_portions_are_halved_until_they_fit_and_remembered() -> None:
    remembered: dict[str, int] = {}
    portions = Portions("training", 6, remembered, "network.width")
    tried = []

    def work(size: int) -> str:
        tried.append(size)
        if size > 1:
            raise MemoryError
        return "done"

    assert portions.fit(work) == "done"
    assert tried == [6, 3, 2, 1]
    assert remembered == {"training": 1}
    assert [text.partition(" in place")[0] for text in portions.said] == [
        "memory did not suffice: training goes on with 1 sub-volume(s) at a time"
    ]
    assert Portions("training", 6, remembered, "").size == 1
    assert Portions("measuring", 6, remembered, "").size == 6
    with pytest.raises(
        RunError, match=r"training: expected memory for one sub-volume at a time.*lower network\.width$"
    ):
        portions.fit(lambda size: torch.empty(2**48))


def room_for(monkeypatch: pytest.MonkeyPatch, training: int = 100, measuring: int = 100) -> None:
    """Let the network run out of memory on more sub-volumes than that."""
    forward = RestorationModule.forward

    def limited(self: RestorationModule, input: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(input) > (training if torch.is_grad_enabled() else measuring):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(self, input, target)

    monkeypatch.setattr(RestorationModule, "forward", limited)


def losses(events: list[Event]) -> list[float]:
    return [event.metrics["loss"] for event in events if isinstance(event, Stepped)]


def test_accumulated_parts_equal_one_batch(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    found = []
    for n in (1, 3):
        run = RunDir(tmp_path / f"{n}")
        events = list(pretrain(tiny(**FOUR, accumulate=n), run.path, cases=balls))
        found.append((losses(events), read_state(run.resume_path)["weights"]))
    (whole_losses, whole), (part_losses, parts) = found
    assert part_losses == pytest.approx(whole_losses, rel=1e-5)
    for name in whole:
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-4, atol=1e-6)


def test_more_parts_than_sub_volumes_are_refused(tiny: Make) -> None:
    with pytest.raises(ConfigError, match=r"accumulate: expected at most the batch \(2\)"):
        tiny(accumulate=3)


def test_a_step_that_does_not_fit_is_halved_and_the_run_goes_on_the_same(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = list(pretrain(tiny(**FOUR), tmp_path / "plain", cases=balls))
    room_for(monkeypatch, training=1, measuring=1)
    run = RunDir(tmp_path / "run")
    events = list(pretrain(tiny(**FOUR), run.path, cases=balls))
    assert isinstance(events[-1], Finished)
    said = [event.message for event in events if event.kind == "warned"]
    assert [message.partition(" goes on")[0] for message in said] == [
        "memory did not suffice: training",
        "memory did not suffice: measuring",
    ]
    assert losses(events) == pytest.approx(losses(plain), rel=1e-5)
    assert read_state(run.resume_path)["progress"]["portions"] == {"measuring": 1, "training": 1}
    resumed = list(pretrain(tiny(**FOUR | {"steps": 5}), run.path, resume=True, cases=balls))
    assert isinstance(resumed[-1], Finished)
    assert not [event for event in resumed if event.kind == "warned"]


def test_memory_that_ends_in_the_middle_is_no_end(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    for event in pretrain(tiny(**FOUR | {"steps": 6}), tmp_path / "run", cases=balls):
        events.append(event)
        if isinstance(event, Stepped) and event.step == 3:
            room_for(monkeypatch, training=2, measuring=1)
    assert isinstance(events[-1], Finished)
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert len([event for event in events if event.kind == "warned"]) == 2


def test_pairs_that_found_no_memory_are_made_again(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = list(pretrain(tiny(**FOUR), tmp_path / "plain", cases=balls))
    pairs, failed = PairMaker.pairs, []

    def limited(self: PairMaker, step: int) -> Any:
        if self.stream == "training" and step == 2 and not failed:
            failed.append(step)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return pairs(self, step)

    monkeypatch.setattr(PairMaker, "pairs", limited)
    events = list(pretrain(tiny(**FOUR), tmp_path / "run", cases=balls))
    assert failed == [2]
    assert losses(events) == losses(plain)


@pytest.mark.parametrize(
    ("room", "lower"), [({"training": 0}, "sampling.patch"), ({"measuring": 0}, "validation.patch")]
)
def test_one_sub_volume_that_does_not_fit_is_one_sentence(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch, room: dict[str, int], lower: str
) -> None:
    room_for(monkeypatch, **room)
    last = list(pretrain(tiny(**FOUR), tmp_path / "run", cases=balls))[-1]
    assert isinstance(last, Failed)
    assert last.expected
    assert "expected memory for one sub-volume at a time" in last.message
    assert last.message.endswith(f"lower network.width or {lower}, or take precision bf16")


def test_the_self_test_takes_a_smaller_batch_too(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    room_for(monkeypatch, training=2)
    events = list(pretrain(tiny(**FOUR | {"steps": 1, "precision": "auto"}), tmp_path / "run", cases=balls))
    assert isinstance(events[-1], Finished)
