"""The files and the process of a run, seen from outside: spawn, tail, control, kill."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from genesis3d.events import Event, read_event

__all__ = ["RunTail", "child_is_alive", "kill_child", "log_tail", "read_status", "spawn_training", "training_threads",
           "write_control"]  # fmt: skip

_CHILDREN: list[subprocess.Popen[bytes]] = []  # a child may outlive the dock that started it, and is reaped here
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

    def post_mortem(self) -> str:
        """Return the sentence for a process that is gone without a last event."""
        message = "the training process ended unexpectedly; its checkpoints are kept and the run can be resumed"
        last = log_tail(self._run, lines=3)
        return f"{message}; the last lines of its log: {last}" if last else message


def log_tail(run_dir: Path, lines: int = 200) -> str:
    """Return the last ``lines`` lines of ``RUN/training.log`` that are not events."""
    try:
        with (run_dir / "training.log").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 64_000))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip() and not line.startswith("{")][-lines:])


def read_status(run_dir: Path) -> dict[str, Any]:
    """Return ``RUN/status.json``, empty when it is not there."""
    try:
        values = json.loads((run_dir / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _process(run_dir: Path) -> psutil.Process | None:
    """Return the run's process on this machine; a recycled pid is told apart by its start time."""
    import socket

    status = read_status(run_dir)
    pid, started = status.get("pid"), status.get("created")
    if not isinstance(pid, int) or status.get("host", socket.gethostname()) != socket.gethostname():
        return None
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if isinstance(started, int | float) and abs(process.create_time() - started) > 2:
            return None
    except psutil.Error:
        return None
    return process


def child_is_alive(run_dir: Path) -> bool:
    """Whether the process that wrote ``RUN/status.json`` still runs on this machine."""
    return _process(run_dir) is not None


def kill_child(run_dir: Path, pid: int | None = None) -> bool:
    """Kill the run's process (``pid`` when it is our own child) and those it started; False when there is none."""
    try:
        process = psutil.Process(pid) if pid is not None else _process(run_dir)
    except psutil.NoSuchProcess:
        process = None
    if process is None:
        return False
    for each in [*process.children(recursive=True), process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    return True


def write_control(run_dir: Path, order: str) -> None:
    """Write ``run``, ``pause`` or ``stop`` to ``RUN/control`` in one piece."""
    temporary = run_dir / ".control.part"
    temporary.write_text(order, encoding="utf-8")
    os.replace(temporary, run_dir / "control")


def training_threads() -> int:
    """Return the cores a training gets: all but the one the window needs."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def spawn_training(run_dir: Path, resume: bool, command: list[str] | None = None) -> subprocess.Popen[bytes]:
    """Start the command-line training of ``run_dir``: own session, low priority, output to ``RUN/training.log``."""
    if command is None:
        command = [sys.executable, "-m", "genesis3d", "pretrain", "--config", str(run_dir / "config.json"),
                   "--run-dir", str(run_dir), "--json", *(["--resume"] if resume else [])]  # fmt: skip
    threads = str(training_threads())
    # OpenMP that spins while waiting takes the window's core; it can be told so only before torch is loaded.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    own: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        own = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.BELOW_NORMAL_PRIORITY_CLASS}
    with (run_dir / "training.log").open("ab") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, **own
        )
    if sys.platform != "win32":
        with contextlib.suppress(psutil.Error):
            psutil.Process(child.pid).nice(LOWER_PRIORITY)
    _CHILDREN[:] = [each for each in _CHILDREN if each.poll() is None] + [child]
    return child
