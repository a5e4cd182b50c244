"""The files and the process of a run, seen from outside: spawn, tail, control, kill."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil

from genesis3d.config import Config
from genesis3d.events import Event, read_event
from genesis3d.files import write_atomic
from genesis3d.training.rundir import RunDir

__all__ = [
    "RunTail",
    "child_is_alive",
    "kill_child",
    "log_tail",
    "order_stop",
    "run_kind",
    "spawn_training",
    "training_threads",
    "write_config",
]

_CHILDREN: list[subprocess.Popen[bytes]] = []  # a child may outlive the dock that started it, and is reaped here
REFUSAL = "genesis3d: "  # how the command line begins the sentence of an error
LOWER_PRIORITY = 10  # POSIX niceness: the window goes first


class RunTail:
    """Reads what was added to ``RUN/events.jsonl`` since the last look; a torn last line waits for its rest."""

    def __init__(self, run_dir: Path) -> None:
        self._run = run_dir
        self._path = run_dir / "events.jsonl"
        self._offset = 0
        self._file_id: tuple[int, int] | None = None
        self.restarted = False

    def read(self) -> list[Event]:
        """Return the new events; :attr:`restarted` says that the file was rewritten and they are the whole story."""
        self.restarted = False
        try:
            with self._path.open("rb") as file:
                stat = os.fstat(file.fileno())
                identity = (stat.st_dev, stat.st_ino)
                if self._file_id not in (None, identity) or stat.st_size < self._offset:
                    self._offset, self.restarted = 0, True
                self._file_id = identity
                file.seek(self._offset)
                block = file.read()
        except FileNotFoundError:
            return []
        whole = block[: block.rfind(b"\n") + 1]
        self._offset += len(whole)
        events = (read_event(line) for line in whole.decode("utf-8", "replace").splitlines())
        return [event for event in events if event is not None]

    def post_mortem(self) -> tuple[str, bool]:
        """Return the sentence for a process that is gone without a last event, and whether it is the user's to mend."""
        refusal = log_tail(self._run, lines=1)
        if refusal.startswith(REFUSAL):
            return refusal.removeprefix(REFUSAL), True
        message = "the training process ended unexpectedly; its checkpoints are kept and the run can be resumed"
        last = log_tail(self._run, lines=3)
        return (f"{message}; the last lines of its log: {last}" if last else message), False


def run_kind(run_dir: Path) -> str:
    """Return the command that trains ``run_dir``: ``finetune`` where its configuration has targets, else pretrain."""
    path = run_dir / "config.json"
    try:
        return _kind_of(path, path.stat().st_mtime_ns)
    except OSError:
        return "pretrain"


@lru_cache(maxsize=4096)
def _kind_of(path: Path, _changed: int) -> str:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "pretrain"
    return "finetune" if isinstance(values, dict) and "data" in values else "pretrain"


def log_tail(run_dir: Path, lines: int = 200) -> str:
    """Return the last ``lines`` lines of ``RUN/log.txt`` that are not events."""
    try:
        with (run_dir / "log.txt").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 64_000))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip() and not line.startswith("{")][-lines:])


def child_is_alive(run_dir: Path) -> bool:
    """Whether somebody trains in ``run_dir`` or is on the way out; a process of another machine is believed."""
    run = RunDir(run_dir)
    if run.state() in ("running", "paused"):
        return True
    status = run.status()
    try:
        process = psutil.Process(int(status["pid"]))
        same = abs(process.create_time() - float(status["process_start"])) < 1.5
        return same and status["host"] == socket.gethostname() and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _process(run_dir: Path, pid: int | None) -> psutil.Process | None:
    """Return the run's process: ``pid`` when it is our own child, else the one that signed the run's status."""
    try:
        return psutil.Process(pid) if pid is not None else RunDir(run_dir).process()
    except psutil.NoSuchProcess:
        return None


def order_stop(run_dir: Path, pid: int | None = None) -> None:
    """Ask the training to save and end: by its control file, or by a signal where the disk takes no file."""
    try:
        RunDir(run_dir).order("stop")
    except OSError:
        process = _process(run_dir, pid)
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()


def kill_child(run_dir: Path, pid: int | None = None) -> bool:
    """Kill the run's process (``pid`` when it is our own child) and those it started; False when there is none."""
    process = _process(run_dir, pid)
    if process is None:
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [*process.children(recursive=True), process]:
            each.kill()
    return True


def write_config(run_dir: Path, config: Config) -> None:
    """Make the folder of a new run with its ``config.json``, written in one piece."""
    run_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(run_dir / "config.json", json.dumps(config.to_dict(), indent=1).encode())


def training_threads() -> int:
    """Return the cores a training gets: all but the one the window needs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def _lower(pid: int) -> None:
    """Let everything else go first."""
    with contextlib.suppress(psutil.Error):
        psutil.Process(pid).nice(LOWER_PRIORITY)
    # Linux may share the processor among sessions first: there niceness counts only inside the child's own one
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(LOWER_PRIORITY))


def spawn_training(run_dir: Path, resume: bool, command: list[str] | None = None) -> subprocess.Popen[bytes]:
    """Start the command-line training of ``run_dir``: own session, low priority, output to ``RUN/log.txt``."""
    if command is None:
        command = [sys.executable, "-m", "genesis3d", run_kind(run_dir), "--config", str(run_dir / "config.json"),
                   "--run-dir", str(run_dir), *(["--resume"] if resume else [])]  # fmt: skip
    threads = str(training_threads())
    # OpenMP that spins while waiting takes the window's core; it can be told so only before torch is loaded.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    own: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    with (run_dir / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, **own
        )
    if sys.platform != "win32":
        _lower(child.pid)
    _CHILDREN[:] = [each for each in _CHILDREN if each.poll() is None] + [child]
    return child
