from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from genesis3d.errors import RunError
from genesis3d.events import Finished, Saved, Started, Stepped, Validated, Warned
from genesis3d.training.rundir import RunDir, list_runs


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir(tmp_path / "run")
    run.create({"seed": 1})
    return run


def test_a_new_run_has_its_configuration_and_folders(run: RunDir) -> None:
    assert run.config() == {"seed": 1}
    assert run.checkpoints.is_dir()
    assert run.samples.is_dir()
    assert run.state() == "new"


def test_what_a_dock_prepared_is_welcome_other_files_are_not(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    (prepared / "inputs").mkdir(parents=True)
    (prepared / "config.json").write_text("{}")
    (prepared / "log.txt").write_text("")
    RunDir(prepared).create({"seed": 2})
    assert RunDir(prepared).config() == {"seed": 2}
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(RunError, match=r"empty run directory, but it holds .*"):
        RunDir(tmp_path).create({})


def test_a_run_killed_before_it_began_is_begun_again(run: RunDir) -> None:
    run.create({"seed": 3})
    assert run.config() == {"seed": 3}
    (run.checkpoints / "last.safetensors").write_bytes(b"weights")
    with pytest.raises(RunError, match="holds checkpoints"):
        run.create({})


def test_a_begun_run_is_not_begun_again(run: RunDir) -> None:
    run.set_status("finished")
    with pytest.raises(RunError, match="it holds a run: resume it or name another"):
        run.create({})


def test_an_unreadable_configuration_is_one_sentence(run: RunDir, tmp_path: Path) -> None:
    run.config_path.write_text("[1")
    with pytest.raises(RunError, match=r"readable config\.json"):
        run.config()
    run.config_path.write_text("[1]")
    with pytest.raises(RunError, match="expected a JSON object, got list"):
        run.config()
    with pytest.raises(RunError, match=r"readable config\.json"):
        RunDir(tmp_path / "nowhere").config()


def test_the_state_is_killed_when_the_process_is_gone_or_another(run: RunDir) -> None:
    run.set_status("running", step=3)
    assert run.state() == "running"
    assert run.status()["step"] == 3
    assert run.process() == psutil.Process()
    status = run.status()
    run.status_path.write_text(json.dumps(status | {"process_start": status["process_start"] - 100}))
    assert run.state() == "killed"
    assert run.process() is None
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    run.status_path.write_text(json.dumps(status | {"pid": child.pid}))
    assert run.state() == "killed"
    run.status_path.write_text(json.dumps(status | {"host": "elsewhere", "pid": child.pid}))
    assert run.state() == "running"
    run.status_path.write_text("{torn")
    assert run.state() == "new"


def test_orders_are_followed_nonsense_is_not(run: RunDir) -> None:
    assert run.control() == "run"
    for order in ("pause", "stop", "run"):
        run.order(order)  # type: ignore[arg-type]
        assert run.control() == order
    run.control_path.write_bytes(b"\xff\x00 dance")
    assert run.control() == "run"


def test_an_order_to_an_earlier_process_is_forgotten(run: RunDir) -> None:
    run.order("stop")
    run.forget_old_order()
    assert run.control() == "stop"
    before = psutil.Process().create_time() - 60
    os.utime(run.control_path, (before, before))
    run.forget_old_order()
    assert run.control() == "run"


def test_a_torn_last_line_is_no_event(run: RunDir) -> None:
    run.append(Started(what="pretrain"))
    run.append(Stepped(step=1, metrics={"loss": float("inf")}))
    with run.events_path.open("ab") as file:
        file.write(b'{"kind":"stepped","st')
    events = list(run.events())
    assert [event.kind for event in events] == ["started", "stepped"]
    assert events[1].metrics["loss"] == float("inf")  # type: ignore[union-attr]


def test_rewinding_leaves_neither_hole_nor_double(run: RunDir) -> None:
    run.append(Started(what="pretrain", total=4))
    run.append(Validated(step=0, metrics={"loss": 9}))
    for step in (1, 2, 3):
        run.append(Stepped(step=step, metrics={"loss": step}))
        run.metrics.append(step, {"loss": step})
        if step == 2:
            run.append(Saved(path="checkpoints/step-000002.safetensors", step=2))
            run.append(Warned(message="said at step 2"))
    run.append(Finished(cancelled=True))
    for step in (2, 3):
        (run.samples / f"step-{step:06d}.npz").write_bytes(b"")
        (run.checkpoints / f"step-{step:06d}.safetensors").write_bytes(b"")
    run.rewind(2)
    assert [event.kind for event in run.events()] == ["started", "validated", "stepped", "stepped", "saved", "warned"]
    assert run.metrics.curve("loss") == ([1, 2], [1, 2])
    assert [path.name for path in run.samples.iterdir()] == ["step-000002.npz"]
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000002.safetensors"]


def test_endings_before_the_step_are_dropped_too(run: RunDir) -> None:
    for event in (Started(what="pretrain"), Stepped(step=1), Finished(cancelled=True)):
        run.append(event)
    run.rewind(1)
    assert [event.kind for event in run.events()] == ["started", "stepped"]


def test_two_trainings_cannot_share_a_folder(run: RunDir) -> None:
    with run.lock(), pytest.raises(RunError, match="another process trains in it"), run.lock():
        pass
    with run.lock():
        pass


def test_a_lock_dies_with_its_process(run: RunDir) -> None:
    code = (
        "import sys, time; from genesis3d.training.rundir import RunDir\n"
        "with RunDir(sys.argv[1]).lock(): print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(run.path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"
        with pytest.raises(RunError), run.lock():
            pass
        child.kill()
        child.wait()
    with run.lock():
        pass


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        run = RunDir(tmp_path / name)
        run.create({})
        run.set_status("finished")
        then = time.time() - 1000 * age
        os.utime(run.status_path, (then, then))
    (tmp_path / "no run").mkdir()
    assert [run.path.name for run in list_runs(tmp_path)] == ["new", "old"]
    assert [run.path.name for run in list_runs(tmp_path / "old")] == ["old"]
    assert list_runs(tmp_path / "nowhere") == []
