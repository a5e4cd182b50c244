from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from genesis3d.data.cases import Case
from genesis3d.events import Finished, Stepped
from genesis3d.networks.model_file import read_model
from genesis3d.training.averaging import Averaging
from genesis3d.training.checkpoint import read_state
from genesis3d.training.rundir import RunDir
from genesis3d.training.settings import AveragingSettings
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]
pytestmark = pytest.mark.usefixtures("little_measuring")
AVERAGED = {"averaging": {"decay": 0.9, "start": 2}, "keep": {"seconds": 0, "every": 100, "samples_every": 100}}


def test_the_average_by_hand() -> None:
    task = nn.BatchNorm1d(1)
    averaging = Averaging(AveragingSettings(decay=0.6, start=2), task)
    found = []
    for step, weight in enumerate([1.0, 2.0, 3.0, 4.0, 5.0]):
        with torch.no_grad():
            task.weight.fill_(weight)
            task.running_mean.fill_(10 * weight)
        averaging.update(task, step)
        found.append(float(averaging.task.weight))
    third = 2.0 * 0.1 + 3.0 * 0.9
    fourth = third * 2 / 11 + 4.0 * 9 / 11
    fifth = fourth * 3 / 12 + 5.0 * 9 / 12
    assert found == pytest.approx([1.0, 2.0, third, fourth, fifth])
    assert float(averaging.task.running_mean) == 50.0
    assert not averaging.task.weight.requires_grad
    assert task.weight.requires_grad


def test_the_decay_ends_at_what_was_asked_for() -> None:
    task = nn.Linear(1, 1, bias=False)
    averaging = Averaging(AveragingSettings(decay=0.6), task)
    with torch.no_grad():
        averaging.task.weight.fill_(0.0)
        task.weight.fill_(1.0)
    averaging.update(task, 1000)
    assert float(averaging.task.weight) == pytest.approx(0.4)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_model_files_hold_the_average_and_the_resume_file_both(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    assert isinstance(list(pretrain(tiny(**AVERAGED), run.path, cases=balls))[-1], Finished)
    state = read_state(run.resume_path)
    averaged = {name.removeprefix("network."): value for name, value in state["averaged"].items()}
    written = read_model(run.checkpoints / "last.safetensors").module.state_dict()
    assert same(written, averaged)
    assert not same(state["weights"], state["averaged"])
    # nothing but the weights that are kept differs from a run without averaging
    plain = RunDir(tmp_path / "plain")
    list(pretrain(tiny(keep=AVERAGED["keep"]), plain.path, cases=balls))
    trained = [read_state(r.resume_path)["weights"] for r in (run, plain)]
    learnt = [
        {name: value for name, value in w.items() if "running" not in name and "num_batches" not in name}
        for w in trained
    ]
    assert same(*learnt)
    assert run.metrics.curve("loss") == plain.metrics.curve("loss")
    assert run.metrics.curve("validation_loss")[1][-1] != plain.metrics.curve("validation_loss")[1][-1]


def test_a_stopped_run_with_an_average_resumes_exactly(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    list(pretrain(tiny(**AVERAGED), whole.path, cases=balls))
    for event in pretrain(tiny(**AVERAGED), run.path, cases=balls):
        if isinstance(event, Stepped) and event.step == 4:
            run.order("stop")
    list(pretrain(None, run.path, resume=True, cases=balls))
    mine, theirs = read_state(run.resume_path), read_state(whole.resume_path)
    assert same(mine["weights"], theirs["weights"])
    assert same(mine["averaged"], theirs["averaged"])
    assert run.metrics.curve("validation_loss") == whole.metrics.curve("validation_loss")


def test_averaging_can_be_switched_on_and_off_in_a_run_that_began_otherwise(
    tmp_path: Path, tiny: Make, balls: list[Case]
) -> None:
    run = RunDir(tmp_path / "run")
    list(pretrain(tiny(steps=2), run.path, cases=balls))
    assert "averaged" not in read_state(run.resume_path)
    for step, averaging in ((4, {"decay": 0.9}), (6, {"decay": 0.0})):
        events = list(pretrain(tiny(steps=step, averaging=averaging), run.path, resume=True, cases=balls))
        assert isinstance(events[-1], Finished), events[-1]
        assert ("averaged" in read_state(run.resume_path)) == (step == 4)
