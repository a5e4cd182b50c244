"""Jobs: folding events, threads that fail or are left, child processes followed, stopped, killed and re-attached."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from genesis3d.errors import ScanError
from genesis3d.events import Failed, Finished, Sampled, Started, Stepped, Validated, Warned
from napari_genesis.jobs import JobState, RunFollower, ThreadJob, fold, fold_all
from napari_genesis.run_files import child_is_alive

CHILD = """
import json, os, socket, sys, time
import psutil
from pathlib import Path
run, mode = Path(sys.argv[1]), sys.argv[2]
(run / "config.json").write_text("{}")
(run / "status.json").write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "state": "running",
    "process_start": psutil.Process().create_time()}))
events = (run / "events.jsonl").open("a")
def say(**event):
    events.write(json.dumps(event) + "\\n"); events.flush()
say(kind="started", what="pretrain", total=1000, device="cpu", detail={"wait": os.environ.get("OMP_WAIT_POLICY")})
for step in range(1, 1001):
    say(kind="stepped", step=step, total=1000, metrics={"loss": 1.0 / step}, rate=50.0, seconds_left=2.0)
    if (run / "control").exists() and (run / "control").read_text() == "stop":
        say(kind="finished", cancelled=True, result={"steps": step}); break
    if mode == "die" and step == 3:
        print("Traceback: out of cheese"); sys.stdout.flush(); os._exit(9)
    if mode == "short" and step == 5:
        say(kind="finished", result={"steps": step}); break
    time.sleep(0.01 if mode == "short" else 0.05)
"""


def child(run: Path, mode: str) -> list[str]:
    script = run / "child.py"
    script.write_text(CHILD)
    return [sys.executable, str(script), str(run), mode]


def test_fold_is_pure_and_knows_every_event() -> None:
    before = JobState()
    state = fold_all(
        before,
        [
            Started(what="pretrain", total=10, device="cuda:0", precision="bf16"),
            Stepped(step=1, metrics={"loss": 0.5}, rate=2.0, seconds_left=4.5, memory_bytes=7),
            Stepped(step=2, metrics={"loss": 0.4}),
            Validated(step=2, metrics={"loss": 0.6}, best=True),
            Sampled(step=2, path="s.npz"),
            Warned(message="careful"),
        ],
    )
    assert before == JobState()
    assert (state.state, state.step, state.total, state.device, state.memory) == ("running", 2, 10, "cuda:0", 7)
    assert state.curves == {"loss": ([1, 2], [0.5, 0.4]), "validation loss": ([2], [0.6])}
    assert (state.best, state.samples, state.warnings) == (2, "s.npz", ("careful",))
    assert fold(state, Finished(cancelled=True)).state == "cancelled"
    assert fold(state, Finished(result={"a": 1})).result == {"a": 1}
    failed = fold(state, Failed(message="no", expected=False, trace="t"))
    assert (failed.state, failed.message, failed.trace) == ("failed", "no", "t")
    assert state.curves["loss"][0] == [1, 2]


def test_fold_drops_the_steps_a_resumed_run_repeats() -> None:
    state = fold_all(JobState(), [Stepped(step=s, metrics={"loss": s}) for s in (1, 2, 3, 2)])
    assert state.curves["loss"][0] == [1, 2]


def test_state_tells_which_field_changed() -> None:
    state, told = JobState(), []
    state.events.step.connect(told.append)
    state.become(JobState(step=5))
    state.become(JobState(step=5))
    assert told == [5]


def test_thread_job_tells_events_and_survives_a_flood(qtbot) -> None:
    def work(control):
        yield Started(what="count", total=20000)
        for step in range(1, 20001):
            yield Stepped(step=step, metrics={"loss": float(step)})
        yield Finished(result={"n": 20000})

    job, told = ThreadJob(work, name="count"), []
    job.event.connect(told.append)
    with qtbot.waitSignal(job.ended, timeout=20000) as ended:
        job.start()
    assert ended.args[0].state == "finished"
    assert len(job.state.curves["loss"][0]) == 20000
    assert len(told) < 200
    assert isinstance(told[-1], Finished)
    assert job.wait_closed(1000)
    assert not job.running


@pytest.mark.parametrize(
    ("error", "text", "expected"),
    [
        (RuntimeError("CUDA out of memory"), "CUDA out of memory", False),
        (ScanError("x.nii: expected a scan, got nothing"), "x.nii: expected a scan, got nothing", True),
        (MemoryError(), "not enough memory", True),
    ],
)
def test_thread_job_turns_every_exception_into_an_event(qtbot, error: Exception, text: str, expected: bool) -> None:
    def work(control):
        yield Started(what="x")
        raise error

    job = ThreadJob(work)
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start()
    assert job.state.state == "failed"
    assert text in job.state.message
    assert job.state.expected is expected


def test_thread_job_stops_and_closes_its_generator(qtbot) -> None:
    closed = []

    def work(control):
        try:
            yield Started(what="x")
            while control() == "run":
                time.sleep(0.005)
                yield Stepped(step=1)
        finally:
            closed.append(True)

    job = ThreadJob(work)
    job.start()
    with pytest.raises(RuntimeError, match="not running"):
        job.start()
    qtbot.waitUntil(lambda: job.state.step == 1)
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.stop()
        assert job.state.state == "cancelling"
    assert job.state.state == "cancelled"
    assert closed == [True]


def test_a_job_left_behind_ends_silently(qtbot) -> None:
    def work(control):
        while control() == "run":
            time.sleep(0.005)
            yield Stepped(step=1)

    job, told = ThreadJob(work), []
    job.ended.connect(told.append)
    job.start()
    qtbot.waitUntil(lambda: job.state.step == 1)
    job.close()
    assert job.wait_closed(2000)
    qtbot.wait(100)
    assert told == []


def test_follower_follows_its_child_to_the_end(qtbot, tmp_path: Path) -> None:
    job = RunFollower(tmp_path, command=child(tmp_path, "short"))
    with qtbot.waitSignal(job.ended, timeout=20000):
        job.start()
    assert job.state.state == "finished"
    assert job.state.result == {"steps": 5}
    assert job.state.detail == {"wait": "passive"}
    again = RunFollower(tmp_path)
    with qtbot.waitSignal(again.ended, timeout=5000):
        again.attach()
    assert again.state.curves == job.state.curves
    assert again.state.state == "finished"


def test_follower_stops_resumes_and_is_replaced(qtbot, tmp_path: Path) -> None:
    first = RunFollower(tmp_path, command=child(tmp_path, "long"))
    first.start()
    qtbot.waitUntil(lambda: first.state.step > 2, timeout=10000)
    first.detach()  # napari goes away, the training stays
    assert first.wait_closed(2000)
    second = RunFollower(tmp_path, command=child(tmp_path, "short"))
    second.attach()
    qtbot.waitUntil(lambda: second.state.step > 6, timeout=10000)
    assert second.state.active
    with qtbot.waitSignal(second.ended, timeout=10000):
        second.stop()
    assert second.state.state == "cancelled"
    with qtbot.waitSignal(second.ended, timeout=20000):
        second.start(resume=True)
    assert second.state.state == "finished"
    assert second.state.step == 5


def test_follower_names_the_last_words_of_a_dead_child(qtbot, tmp_path: Path) -> None:
    job = RunFollower(tmp_path, command=child(tmp_path, "die"))
    with qtbot.waitSignal(job.ended, timeout=20000):
        job.start()
    assert job.state.state == "failed"
    assert "ended unexpectedly" in job.state.message
    assert "out of cheese" in job.state.message


def test_follower_kills(qtbot, tmp_path: Path) -> None:
    job = RunFollower(tmp_path, command=child(tmp_path, "long"))
    job.start()
    qtbot.waitUntil(lambda: job.state.step > 2, timeout=10000)
    with qtbot.waitSignal(job.ended, timeout=10000):
        assert job.kill()
    assert job.state.state == "cancelled"
    assert not RunFollower(tmp_path).kill()


def test_stopping_works_on_a_full_disk(qtbot, tmp_path: Path, monkeypatch) -> None:
    def full(self, order: str) -> None:
        raise OSError(28, "No space left on device")

    job = RunFollower(tmp_path, command=child(tmp_path, "long"))
    job.start()
    qtbot.waitUntil(lambda: job.state.step > 2, timeout=10000)
    monkeypatch.setattr("genesis3d.training.rundir.RunDir.order", full)
    with qtbot.waitSignal(job.ended, timeout=10000):
        job.stop()
    assert not child_is_alive(tmp_path)


def test_closing_a_follower_stops_the_training_unless_told_to_leave_it(qtbot, tmp_path: Path) -> None:
    job = RunFollower(tmp_path, command=child(tmp_path, "long"))
    job.start()
    qtbot.waitUntil(lambda: job.state.step > 2, timeout=10000)
    job.leave_running = True
    job.close()
    assert job.wait_closed(2000)
    assert (tmp_path / "control").read_text() == "run"
    again = RunFollower(tmp_path)
    again.attach()
    qtbot.waitUntil(lambda: again.state.active and again.state.step > 3, timeout=10000)
    again.close()
    assert (tmp_path / "control").read_text() == "stop"
    qtbot.waitUntil(lambda: not child_is_alive(tmp_path), timeout=10000)


def test_follower_ignores_a_torn_line_and_starts_anew_when_the_file_is_rewritten(qtbot, tmp_path: Path) -> None:
    from napari_genesis.run_files import RunTail

    path = tmp_path / "events.jsonl"
    path.write_text(Stepped(step=1).to_json() + "\n" + '{"kind": "stepp')
    tail = RunTail(tmp_path)
    assert [event.step for event in tail.read()] == [1]
    with path.open("a") as file:
        file.write('ed", "step": 2}\n')
    assert [event.step for event in tail.read()] == [2]
    other = tmp_path / "new"
    other.write_text(json.dumps({"kind": "stepped", "step": 7}) + "\n")
    other.replace(path)
    assert [event.step for event in tail.read()] == [7]
    assert tail.restarted


@pytest.mark.skipif(sys.platform == "win32", reason="classes of priority there")
def test_a_training_lets_the_window_go_first(tmp_path: Path) -> None:
    from napari_genesis.run_files import LOWER_PRIORITY, spawn_training

    child = spawn_training(tmp_path, False, [sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert psutil.Process(child.pid).nice() == LOWER_PRIORITY
        group = Path(f"/proc/{child.pid}/autogroup")
        if group.exists():  # sessions share the processor before processes do
            assert group.read_text().split()[-1] == str(LOWER_PRIORITY)
    finally:
        child.kill()
        child.wait(10)
