"""A training that dies goes back to its last good state at a lower rate, and its curve has neither hole nor double."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genesis3d.data.cases import Case
from genesis3d.events import Event, Failed, Finished, Stepped, Validated, Warned
from genesis3d.training import recovery, stepping
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]
pytestmark = pytest.mark.usefixtures("little_measuring")

# The published rate, and ten times it, on a network that they blow up for certain.
RARE = {"seconds": 3600, "every": 1000, "samples_every": 1000}
BLOWN_UP = {
    "network": {"name": "unet3d", "width": 4, "norm": "none"},
    "task": {"name": "restoration", "output": "linear"},
    "optimiser": {"name": "sgd", "lr": 10.0, "clip": None, "warmup": 0, "schedule": "constant", "weight_decay": 0},
    "recovery": {"tries": 3, "factor": 0.02},
    "keep": RARE,
    "steps": 8,
}


def said(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Warned)]


def told(run: RunDir) -> list[tuple[str, int]]:
    return [(event.kind, event.step) for event in run.events() if isinstance(event, Stepped | Validated)]


def nan_at(monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Let the loss of the n-th gradients ever computed be no number."""
    gradient, calls = stepping.Stepper._gradient, iter(range(1, 10_000))

    def poisoned(self: stepping.Stepper, *args: Any, **options: Any) -> dict[str, float]:
        found = gradient(self, *args, **options)
        return found | {"loss": float("nan")} if next(calls) in steps else found

    monkeypatch.setattr(stepping.Stepper, "_gradient", poisoned)


def test_a_rate_that_blows_up_is_lowered_and_the_run_ends_well(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    events = list(pretrain(tiny(**BLOWN_UP), run.path, cases=balls))
    assert isinstance(events[-1], Finished), events[-1]
    assert 1 <= len(said(events)) <= 3
    assert "the training goes on from step 0 at 0.02 times the learning rate" in said(events)[0]
    steps = [step for kind, step in told(run) if kind == "stepped"]
    assert steps == run.metrics.curve("loss")[0] == list(range(1, 9))
    assert said(list(run.events())) == said(events)
    progress = read_state(run.resume_path)["progress"]
    assert progress["recoveries"] == len(said(events))
    assert run.metrics.curve("lr")[1] == pytest.approx([10.0 * 0.02 ** progress["recoveries"]] * 8)
    assert all(torch.isfinite(value).all() for value in read_state(run.resume_path)["weights"].values())


def test_a_dying_relu_network_is_noticed_within_60_steps(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    """The trap that users of the published code report: a rate far too high, and the output becomes a constant."""
    config = tiny(
        **BLOWN_UP
        | {"optimiser": {"name": "adam", "lr": 1.0, "clip": None, "warmup": 0, "weight_decay": 0}, "steps": 100}
        | {"task": {"name": "restoration", "output": "sigmoid"}, "recovery": {"tries": 0}}
        | {"validation": {"windows": 1, "every": 50}}
    )
    last = list(pretrain(config, tmp_path / "run", cases=balls))[-1]
    assert isinstance(last, Failed), last
    assert last.expected
    assert "constant for 60 steps; lower the learning rate and resume" in last.message


def test_it_goes_back_to_the_last_measured_good_state_not_further(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = RunDir(tmp_path / "whole")
    list(pretrain(tiny(keep=RARE, recovery={"factor": 0.999999999}), whole.path, cases=balls))
    nan_at(monkeypatch, 5)
    run = RunDir(tmp_path / "run")
    events = list(pretrain(tiny(keep=RARE, recovery={"factor": 0.999999999}), run.path, cases=balls))
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 4, 5, 6]
    assert len(said(events)) == 1
    assert said(events)[0].startswith("step 5: expected a finite loss and gradient, got nan")
    assert "from step 3" in said(events)[0]
    assert told(run) == told(whole)
    losses, expected = (r.metrics.curve("loss")[1] for r in (run, whole))
    assert losses[:4] == expected[:4]  # the steps repeated are the same steps
    assert losses == pytest.approx(expected, rel=1e-4)


def test_a_run_that_dies_again_and_again_stops_with_one_sentence_and_resumes_from_the_good_state(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    config = tiny(recovery={"tries": 2}, keep=RARE | {"seconds": 0})
    with monkeypatch.context() as patch:
        nan_at(patch, *range(5, 1000))
        events = list(pretrain(config, run.path, cases=balls))
    assert isinstance(events[-1], Failed)
    assert events[-1].expected
    assert events[-1].message == (
        "the training stopped at step 4: expected a finite loss and gradient, got nan and "
        f"{events[-1].message.partition('nan and ')[2].partition(',')[0]}, and so 2 times at lower rates; lower the "
        "learning rate and resume (the last good state, of step 3, is kept)"
    )
    assert len(said(events)) == 2
    state = read_state(run.resume_path)["progress"]
    assert (state["step"], state["recoveries"]) == (3, 0)
    resumed = list(pretrain(None, run.path, resume=True, cases=balls))
    assert isinstance(resumed[-1], Finished)
    assert [step for kind, step in told(run) if kind == "stepped"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("when", ["before saving", "after saving"])
def test_a_process_killed_while_it_goes_back_resumes_to_the_same(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    list(pretrain(tiny(**BLOWN_UP), whole.path, cases=balls))

    class Killed(BaseException):
        pass

    save = Checkpoints.save_last

    def die(self: Checkpoints, *args: Any) -> None:
        if when == "after saving":
            save(self, *args)
        raise Killed

    go_back = recovery.go_back

    def dying(*args: Any) -> str:
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save_last", die)
            return go_back(*args)

    with monkeypatch.context() as patch:
        patch.setattr("genesis3d.training.loop.go_back", dying)
        with pytest.raises(Killed):
            list(pretrain(tiny(**BLOWN_UP), run.path, cases=balls))
    list(pretrain(None, run.path, resume=True, cases=balls))
    assert told(run) == told(whole)
    assert run.metrics.curve("loss") == whole.metrics.curve("loss")
    mine, theirs = (read_state(r.resume_path)["weights"] for r in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"chain": "identity"},
        {"chain": "identity", "task": {"name": "restoration", "output": "residual"}},
        {"network": {"name": "unet3d", "width": 4, "norm": "none"}, "optimiser": {"name": "sgd", "lr": 1e-4}},
    ],
)
def test_healthy_trainings_are_left_alone(
    tmp_path: Path, tiny: Make, balls: list[Case], changes: dict[str, Any]
) -> None:
    config = tiny(steps=65, keep=RARE, validation={"windows": 1, "every": 65}, batch=1, **changes)
    events = list(pretrain(config, tmp_path / "run", cases=balls))
    assert isinstance(events[-1], Finished), events[-1]
    assert said(events) == []


def test_a_state_is_marked_good_where_links_do_not_exist(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr("os.link", no_links)
    nan_at(monkeypatch, 5)
    run = RunDir(tmp_path / "run")
    events = list(pretrain(tiny(keep=RARE), run.path, cases=balls))
    assert isinstance(events[-1], Finished)
    assert "from step 3" in said(events)[0]
    assert read_state(run.checkpoints / "good.resume.pt")["progress"]["step"] == 6
