from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.data.cases import Case, case_of
from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Failed, Finished, Order, Sampled, Saved, Started, Stepped, Validated
from genesis3d.networks.model_file import read_card, read_model
from genesis3d.training import loop, statistics, stepping
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]


def after(steps: int, order: Order = "stop") -> Control:
    """Answer ``run`` so many times, then ``order``: the question is asked once before each step, and per scan."""
    asked = [0]

    def control() -> Order:
        asked[0] += 1
        return "run" if asked[0] <= steps else order

    return control


def curve(run: RunDir) -> list[tuple[str, int, dict[str, float]]]:
    """What a run said with numbers, without what depends on the clock."""
    events = list(run.events())
    return [(event.kind, event.step, event.metrics) for event in events if isinstance(event, Stepped | Validated)]


def weights(run: RunDir) -> dict[str, torch.Tensor]:
    return dict(read_state(run.resume_path)["weights"])


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(autouse=True, scope="module")
def _save_after_every_step() -> Iterator[None]:
    """Not by the clock, so that a test knows what was saved; and measure little."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "due", lambda self: True)
        patch.setattr(statistics, "WINDOWS", 2)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Make, balls: list[Case]) -> tuple[RunDir, list[Event]]:
    """A run of six steps that was never stopped."""
    run = RunDir(tmp_path_factory.mktemp("whole") / "run")
    return run, list(pretrain(tiny(), run.path, cases=balls))


def test_a_run_tells_its_story_in_order_and_keeps_it(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    assert isinstance(events[0], Started)
    assert (events[0].total, events[0].device, events[0].precision) == (6, "cpu", "32")
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events if isinstance(event, Validated)] == [0, 3, 6]
    assert [event.path for event in events if isinstance(event, Sampled)] == [
        f"samples/step-{step:06d}.npz" for step in (0, 3, 6)
    ]
    assert isinstance(events[-1], Finished)
    assert not events[-1].cancelled
    assert list(run.events()) == events
    assert run.state() == "finished"
    assert run.status()["saved_step"] == 6
    assert run.metrics.curve("loss")[0] == [1, 2, 3, 4, 5, 6]
    assert run.metrics.curve("validation_ratio")[0] == [0, 3, 6]
    for event in events:
        if isinstance(event, Saved | Sampled):
            assert (run.path / event.path).is_file() or event.step == 2  # pruned: two stay


def test_checkpoints_are_models_that_know_where_they_come_from(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    names = sorted(path.name for path in run.checkpoints.iterdir())
    assert names == [
        "best.safetensors",
        "good.resume.pt",
        "last.resume.pt",
        "last.safetensors",
        "step-000004.safetensors",
        "step-000006.safetensors",
    ]
    card = read_card(run.checkpoints / "last.safetensors")
    assert (card.step, card.patch, card.spacing) == (6, (16, 16, 16), (2.0, 1.0, 1.0))
    assert card.modality == "CT"
    assert len(card.data["training"]) == 2
    assert len(card.data["held_out"]) == 1
    assert card.metrics["measured_at_step"] == 6
    text = json.dumps(card.to_dict())
    assert "ball" not in text
    assert str(run.path) not in text
    best = read_card(run.path)
    figures = {event.step: event.metrics for event in events if isinstance(event, Validated)}
    assert best.step in (3, 6)
    assert best.metrics["loss"] == min(figures[3]["loss"], figures[6]["loss"])


def test_the_model_file_restores_as_the_samples_show(whole: tuple[RunDir, list[Event]]) -> None:
    run, _ = whole
    samples = np.load(run.samples / "step-000006.npz")
    assert samples["input"].shape == samples["restored"].shape == samples["target"].shape == (2, 1, 16, 16, 16)
    assert samples["input"].dtype == np.float16
    assert samples["starts"].shape == (2, 3)
    assert len(samples["outcomes"]) == len(samples["cases"]) == 2
    module = read_model(run.checkpoints / "last.safetensors").module
    with torch.no_grad():
        logits = module(torch.from_numpy(samples["input"].astype(np.float32)))
    assert read_card(run.path).activation == "sigmoid"
    assert torch.allclose(logits.sigmoid(), torch.from_numpy(samples["restored"]).float(), atol=5e-3)


def test_samples_say_where_they_lie(whole: tuple[RunDir, list[Event]], balls: list[Case]) -> None:
    run, _ = whole
    samples = np.load(run.samples / "step-000006.npz")
    volumes = {case.name: case.load() for case in balls}
    for target, name, (d, h, w) in zip(samples["target"], samples["cases"], samples["starts"], strict=True):
        hu = volumes[str(name)].data[:, d : d + 16, h : h + 16, w : w + 16]
        unit = np.clip((hu + 1000.0) / 2000.0, 0, 1)
        turned = [np.flip(unit, axes) for axes in [(), (1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]]
        assert min(float(np.abs(t - target).max()) for t in turned) < 1e-3


def test_the_report_names_the_error_beside_what_costs_nothing(whole: tuple[RunDir, list[Event]]) -> None:
    report = json.loads(whole[0].report_path.read_text())
    for chain in ("chain", "official", "gentle"):
        figures = report[chain]
        assert {"mse_input", "mse_constant", "mse_median", "mse_network", "ratio"} <= set(figures)
        assert figures["ratio"] == pytest.approx(figures["mse_network"] / figures["mse_constant"])
    assert report["step"] == 6
    assert report["held_out"].startswith("1 of 3 scans")


@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_stopped_and_resumed_run_equals_one_that_never_stopped(
    whole: tuple[RunDir, list[Event]], tmp_path: Path, tiny: Make, balls: list[Case], stop_after: int
) -> None:
    run = RunDir(tmp_path / "run")
    first = list(pretrain(tiny(), run.path, cases=balls, control=after(len(balls) + stop_after)))
    assert isinstance(first[-1], Finished)
    assert first[-1].cancelled
    assert first[-1].result["step"] == stop_after
    assert run.state() == "stopped"
    second = list(pretrain(None, run.path, resume=True, cases=balls))
    assert isinstance(second[0], Started)
    assert second[0].detail["resumed_from"] == stop_after
    assert isinstance(second[-1], Finished)
    assert curve(run) == curve(whole[0])
    assert same(weights(run), weights(whole[0]))
    assert run.metrics.curve("loss") == whole[0].metrics.curve("loss")
    for name in ("best", "last", "step-000004", "step-000006"):
        mine, theirs = (read_model(r.checkpoints / f"{name}.safetensors") for r in (run, whole[0]))
        assert same(mine.module.state_dict(), theirs.module.state_dict())


@pytest.mark.parametrize("crash_at", [1, 2, 3, 4, 5, 6, 7, 8])
def test_a_crash_at_any_point_of_saving_is_resumed_exactly(
    whole: tuple[RunDir, list[Event]],
    tmp_path: Path,
    tiny: Make,
    balls: list[Case],
    monkeypatch: pytest.MonkeyPatch,
    crash_at: int,
) -> None:
    """The process dies before the n-th file of checkpoints/ is renamed to its place: nothing after it is written."""

    class Killed(BaseException):
        pass

    replaced = [0]
    replace = os.replace

    def die(source: Any, target: Any) -> None:
        if Path(target).parent.name == "checkpoints":
            replaced[0] += 1
            if replaced[0] == 2 + crash_at:  # the first two are the save before the first step
                raise Killed
        if replaced[0] < 2 + crash_at:
            replace(source, target)

    run = RunDir(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die)
        with pytest.raises(Killed):
            list(pretrain(tiny(), run.path, cases=balls))
    list(pretrain(None, run.path, resume=True, cases=balls))
    assert curve(run) == curve(whole[0])
    assert same(weights(run), weights(whole[0]))
    best, other = (read_card(r.path) for r in (run, whole[0]))
    assert (best.step, best.metrics) == (other.step, other.metrics)


def test_an_abandoned_iterator_leaves_a_run_to_resume_and_no_thread(
    whole: tuple[RunDir, list[Event]], tmp_path: Path, tiny: Make, balls: list[Case]
) -> None:
    run = RunDir(tmp_path / "run")
    events = pretrain(tiny(keep={"seconds": 3600, "every": 2}), run.path, cases=balls)
    for event in events:
        if isinstance(event, Stepped) and event.step == 2:
            break
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert run.state() == "stopped"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("genesis-")]
    list(pretrain(None, run.path, resume=True, cases=balls))
    assert same(weights(run), weights(whole[0]))


def test_pausing_waits_without_working_and_goes_on(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    states: list[str] = []

    def watch() -> None:
        while run.state() != "paused":
            time.sleep(0.01)
        before = time.process_time()
        time.sleep(0.5)
        states.append(f"paused, busy {time.process_time() - before < 0.25}, saved {run.status()['saved_step']}")
        run.order("run")

    watcher = threading.Thread(target=watch)
    events = pretrain(tiny(), run.path, cases=balls)
    for event in events:
        if isinstance(event, Stepped) and event.step == 2:
            run.order("pause")
            watcher.start()
            break
    rest = list(events)
    watcher.join()
    assert states == ["paused, busy True, saved 2"]
    assert isinstance(rest[-1], Finished)
    assert not rest[-1].cancelled


def test_an_order_in_the_folder_stops_and_is_used_up(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    seen = []
    for event in pretrain(tiny(), run.path, cases=balls):
        seen.append(event)
        if isinstance(event, Stepped):
            run.order("stop")
    assert [event.step for event in seen if isinstance(event, Stepped)] == [1]
    assert isinstance(seen[-1], Finished)
    assert seen[-1].cancelled
    assert run.control() == "run"


def test_stopping_while_scans_are_read(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    events = list(pretrain(tiny(), tmp_path / "run", cases=balls, control=after(1)))
    assert [event.kind for event in events] == ["started", "finished"]
    assert RunDir(tmp_path / "run").state() == "stopped"
    resumed = list(pretrain(None, tmp_path / "run", resume=True, cases=balls))
    assert isinstance(resumed[-1], Finished)
    assert not resumed[-1].cancelled


def test_a_finished_run_can_be_prolonged(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    list(pretrain(tiny(steps=2), run.path, cases=balls))
    events = list(pretrain(tiny(steps=4), run.path, resume=True, cases=balls))
    assert [event.step for event in events if isinstance(event, Stepped)] == [3, 4]
    assert run.config()["steps"] == 4
    again = list(pretrain(None, run.path, resume=True, cases=balls))
    assert [event.kind for event in again] == ["started", "finished"]


def test_minutes_become_steps_and_stay_so(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genesis3d.training.progress.MEASURED_STEPS", 6)
    run = RunDir(tmp_path / "run")
    config = tiny(steps=None, minutes=5, validation={"windows": 1, "every": 100})
    totals = []
    for event in pretrain(config, run.path, cases=balls):
        if isinstance(event, Stepped):
            totals.append(event.total)
            if event.step == 8:
                run.order("stop")
    assert totals[:5] == [None] * 5
    assert len(set(totals[6:])) == 1
    assert totals[7] is not None
    resumed = list(pretrain(None, run.path, resume=True, cases=balls, control=after(len(balls) + 1)))
    assert isinstance(resumed[0], Started)
    assert resumed[0].total == totals[7]


# ---- what goes wrong is one event, one sentence, and nothing is lost


def failed(events: Iterator[Event]) -> Failed:
    last = list(events)[-1]
    assert isinstance(last, Failed)
    return last


def test_refusals_touch_nothing(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    message = failed(pretrain(tiny(), tmp_path / "run", resume=True, cases=balls)).message
    assert message == f"{tmp_path / 'run'}: expected a run to resume, found none"
    assert not (tmp_path / "run").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "holds thesis.txt" in failed(pretrain(tiny(), tmp_path / "mine", cases=balls)).message
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert "expected a configuration" in failed(pretrain(None, tmp_path / "run")).message


def test_a_run_in_work_is_not_trained_twice(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    events = pretrain(tiny(), tmp_path / "run", cases=balls)
    next(events)
    other = failed(pretrain(None, tmp_path / "run", resume=True, cases=balls))
    assert "another process trains in it" in other.message
    assert other.expected
    assert isinstance(list(events)[-1], Finished)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "cases: expected at least one scan, got none"),
        ({"cases": ("nowhere/scan.nii",)}, "scan.nii"),
        ({"sampling": {"patch": (16, 16, 20)}}, "unet3d: expected sizes"),
    ],
)
def test_settings_that_cannot_work_are_one_sentence(
    tmp_path: Path, tiny: Make, changes: dict[str, Any], message: str
) -> None:
    event = failed(pretrain(tiny(**changes), tmp_path / "run"))
    assert event.expected
    assert message in event.message
    assert "nowhere/" not in event.message
    run = RunDir(tmp_path / "run")
    assert run.state() == "failed"
    assert list(run.events())[-1] == event


def test_a_scan_that_cannot_be_read_is_left_out_and_said(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    class Broken(Case):
        def load(self) -> Any:
            raise ScanError("broken.nii: expected a scan, got nonsense")

    events = list(pretrain(tiny(steps=1), tmp_path / "run", cases=[*balls, Broken("broken", "0" * 16)]))
    said = [event.message for event in events if event.kind == "warned"]
    assert said == ["broken is left out: broken.nii: expected a scan, got nonsense"]
    assert isinstance(events[-1], Finished)


def test_what_many_scans_share_is_said_once(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    noted = [
        case_of(replace(case.load(), notes=(f"taken as CT as its values run from {i} to 5{i}", f"note {case.name}")))
        for i, case in enumerate(balls)
    ]
    events = list(pretrain(tiny(steps=1), tmp_path / "run", cases=noted))
    assert [event.message for event in events if event.kind == "warned"] == [
        "3 scans, such as ball-0: taken as CT as its values run from 0 to 50",
        "3 scans, such as ball-0: note ball-0",
    ]


def test_a_single_small_scan_trains_and_says_what_it_cannot_hold_out(
    tmp_path: Path, tiny: Make, balls: list[Case]
) -> None:
    small = case_of(balls[0].load().crop((0, 0, 0), (16, 24, 24)))
    events = list(pretrain(tiny(steps=1), tmp_path / "run", cases=[small]))
    assert any("nothing is held out" in event.message for event in events if event.kind == "warned")
    assert isinstance(events[-1], Finished)


def test_a_full_disk_ends_the_run_with_one_sentence_and_whole_files(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that a state can hold: the average of the weights, the plateau of the held-out loss."""
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    plateau = {"schedule": "plateau", "plateau_patience": 1, "plateau_delta": 1.0}
    config = tiny(averaging={"decay": 0.9}, optimiser=plateau, validation={"windows": 1, "every": 1})
    list(pretrain(config, whole.path, cases=balls))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    events: list[Event] = []
    with monkeypatch.context() as patch:
        for event in pretrain(config, run.path, cases=balls):
            events.append(event)
            if isinstance(event, Stepped) and event.step == 3:
                patch.setattr(os, "fsync", full)
    assert isinstance(events[-1], Failed)
    assert events[-1].expected
    assert "\n" not in events[-1].message
    state = read_state(run.resume_path)
    assert state["progress"]["step"] == 2
    assert state["progress"]["plateau_factor"] < 1
    assert read_card(run.checkpoints / "last.safetensors").step == 2
    assert not list(run.path.rglob("*.part"))
    resumed = list(pretrain(None, run.path, resume=True, cases=balls))
    assert isinstance(resumed[-1], Finished)
    assert curve(run) == curve(whole)
    mine, theirs = read_state(run.resume_path), read_state(whole.resume_path)
    assert same(mine["weights"], theirs["weights"])
    assert same(mine["averaged"], theirs["averaged"])


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 torn"])
def test_a_damaged_resume_file_is_said(tmp_path: Path, tiny: Make, balls: list[Case], damage: bytes) -> None:
    run = RunDir(tmp_path / "run")
    list(pretrain(tiny(steps=1), run.path, cases=balls))
    whole = run.resume_path.read_bytes()
    run.resume_path.write_bytes(damage or whole[: len(whole) // 2])
    event = failed(pretrain(None, run.path, resume=True, cases=balls))
    assert event.expected
    assert "expected a whole resume file, got a damaged one" in event.message


def test_altered_weights_are_noticed(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    list(pretrain(tiny(steps=1), run.path, cases=balls))
    state = read_state(run.resume_path)
    next(iter(state["weights"].values())).add_(1e-3)
    torch.save(state, run.resume_path)
    assert "expected weights of the SHA-256" in failed(pretrain(None, run.path, resume=True, cases=balls)).message


def test_a_state_of_another_network_is_refused(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    run = RunDir(tmp_path / "run")
    list(pretrain(tiny(steps=1), run.path, cases=balls))
    wider = tiny(network={"name": "unet3d", "width": 6})
    event = failed(pretrain(wider, run.path, resume=True, cases=balls))
    assert "expected the state of this run's network" in event.message


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"), "fit in memory"),
        (MemoryError(), "fit in memory"),
        (RuntimeError("something broke"), "RuntimeError: something broke"),
    ],
)
def test_every_exception_becomes_an_event(
    tmp_path: Path,
    tiny: Make,
    balls: list[Case],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    message: str,
) -> None:
    def break_down(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(loop.CollapseGuard, "check", break_down)
    event = failed(pretrain(tiny(), tmp_path / "run", cases=balls))
    assert message in event.message
    assert event.expected == ("memory" in message)
    assert bool(event.trace) != event.expected
    assert RunDir(tmp_path / "run").state() == "failed"


Gradient = Callable[..., dict[str, float]]


def poison(monkeypatch: pytest.MonkeyPatch, at: Callable[[stepping.Stepper, bool], bool], **values: float) -> None:
    """Let the numbers of a gradient be ``values`` wherever ``at(stepper, exact)`` says so."""
    gradient: Gradient = stepping.Stepper._fitting

    def poisoned(self: stepping.Stepper, batch: Any, exact: bool = False) -> dict[str, float]:
        found = gradient(self, batch, exact)
        return found | values if at(self, exact) else found

    monkeypatch.setattr(stepping.Stepper, "_fitting", poisoned)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    poison(monkeypatch, lambda *_: next(calls) >= 3, loss=float("nan"))
    event = failed(pretrain(tiny(recovery={"tries": 0}), tmp_path / "run", cases=balls))
    assert event.expected
    assert "stopped at step 4: expected a finite loss" in event.message
    state = read_state(RunDir(tmp_path / "run").resume_path)
    assert state["progress"]["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["weights"].values())


def test_wrong_bfloat16_gradients_are_repeated_in_32_bits(
    tmp_path: Path, tiny: Make, balls: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    poison(monkeypatch, lambda self, exact: self.half and not exact and next(calls) == 3, gradient_norm=float("inf"))
    monkeypatch.setattr(stepping, "autocast", lambda device, half: nullcontext())  # some processors are truly wrong
    run = RunDir(tmp_path / "run")
    events = list(pretrain(tiny(precision="bf16"), run.path, cases=balls))
    said = [event.message for event in events if event.kind == "warned"]
    assert len(said) == 1
    assert "bfloat16 gave a wrong gradient at step 4" in said[0]
    assert isinstance(events[-1], Finished)
    assert read_state(run.resume_path)["hardware"]["precision"] == "32"


def test_patience_ends_a_run_that_no_longer_gets_better(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    config = tiny(
        steps=50,
        optimiser={"lr": 1e-12, "warmup": 0},
        network={"name": "unet3d", "width": 4, "norm": "group"},
        validation={"windows": 1, "every": 1, "patience": 2},
    )
    events = list(pretrain(config, tmp_path / "run", cases=balls))
    assert isinstance(events[-1], Finished)
    assert not events[-1].cancelled
    assert events[-1].result["step"] < 50


def test_the_same_voxels_whether_previewed_or_trained(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    from genesis3d.data.cases import load_cases
    from genesis3d.workflows.pretrain_setup import training_pairs

    config = tiny(steps=2)
    preview, _ = training_pairs(config, load_cases(balls))
    trained = []
    original = loop.Training._step

    def spy(self: loop.Training, pairs: Any) -> dict[str, float]:
        trained.append(pairs)
        return original(self, pairs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Training, "_step", spy)
        list(pretrain(config, tmp_path / "run", cases=balls))
    for step, pairs in enumerate(trained):
        for slot in range(config.batch):
            shown = preview.pair(step, slot)
            assert torch.equal(shown.input[0], pairs.input[slot])
            assert torch.equal(shown.target[0], pairs.target[slot])
