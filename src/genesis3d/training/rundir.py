"""A run directory: all that a run is, on disk, to be watched, stopped and resumed from any process.

``config.json`` says what was asked, ``status.json`` who works on it and how far it is, ``control`` what it shall do
next, ``events.jsonl`` all it said, ``metrics.csv`` its curves; checkpoints and samples have their own folders.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from genesis3d.errors import RunError
from genesis3d.events import Event, Order, read_event
from genesis3d.files import write_atomic
from genesis3d.training.lock import DirectoryLock
from genesis3d.training.metrics import MetricsTable

__all__ = ["RunDir", "RunState", "WatchedRun", "list_runs"]

RunState = Literal["new", "running", "paused", "stopped", "finished", "failed", "killed"]
_LIVE = ("running", "paused")
_ENDINGS = ("failed", "finished")
# What whoever starts a run may put into its folder before.
_ALLOWED_BEFORE = {"config.json", "control", "inputs", "live", "lock", "log.txt"}


class RunDir:
    """The run in the folder ``path``; nothing is read or made until asked for."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.status_path = self.path / "status.json"
        self.control_path = self.path / "control"
        self.events_path = self.path / "events.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.resume_path = self.checkpoints / "last.resume.pt"
        self.samples = self.path / "samples"
        self.inputs = self.path / "inputs"
        self.report_path = self.path / "report.json"

    @cached_property
    def metrics(self) -> MetricsTable:
        """The curves, ``metrics.csv``."""
        return MetricsTable(self.path / "metrics.csv")

    def begun(self) -> bool:
        """Whether a run was begun here: with a configuration alone it is still to be started."""
        return self.status_path.is_file() or self.resume_path.is_file()

    def create(self, config: dict[str, Any]) -> None:
        """Make the folder and write ``config`` (plain JSON values).

        Raises
        ------
        RunError
            When the folder holds a begun run or other files (a dock's config.json, inputs/ and log.txt may be there).
        """
        if self.begun():
            raise RunError(f"{self.path}: expected a new run directory, but it holds a run: resume it or name another")
        if self.path.exists():
            self._refuse_foreign_files()
        for folder in (self.path, self.checkpoints, self.samples):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.config_path, json.dumps(config, indent=1).encode())

    def config(self) -> dict[str, Any]:
        """Return the configuration as plain values; raises RunError if there is none to read."""
        try:
            values = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.path}: expected a run directory with a readable config.json") from error
        if not isinstance(values, dict):
            raise RunError(f"{self.config_path}: expected a JSON object, got {type(values).__name__}")
        return values

    def lock(self) -> DirectoryLock:
        """Return the lock that a training holds while it works here (a context manager)."""
        return DirectoryLock(self.path)

    # ---- who works on it, and how far it is

    def status(self) -> dict[str, Any]:
        """Return ``status.json`` as written (state, pid, process_start, host, step, total, ...), {} if none."""
        try:
            values = json.loads(self.status_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def set_status(self, state: RunState, *, durable: bool = False, **fields: Any) -> None:
        """Write ``state`` and ``fields`` over the present status, signed by this process."""
        me = psutil.Process()
        signature = {
            "pid": me.pid,
            "process_start": me.create_time(),
            "host": socket.gethostname(),
            "time": time.time(),
        }
        values = self.status() | fields | {"state": state} | signature
        write_atomic(self.status_path, json.dumps(values).encode(), durable=durable)

    def state(self) -> RunState:
        """Return the state, ``killed`` when the process that wrote ``running`` or ``paused`` is no more.

        A run of another host is believed: its processes cannot be seen from here.
        """
        values = self.status()
        state: RunState = "new"
        if values.get("state") in get_args(RunState):
            state = values["state"]
        if state in _LIVE and values.get("host") == socket.gethostname() and not _alive(values):
            return "killed"
        return state

    def process(self) -> psutil.Process | None:
        """Return the process that trains here, if it runs on this host."""
        values = self.status()
        if values.get("state") not in _LIVE or values.get("host") != socket.gethostname() or not _alive(values):
            return None
        return psutil.Process(int(values["pid"]))

    # ---- what it shall do next

    def control(self) -> Order:
        """Return the order in the file ``control``; anything unreadable is ``run``."""
        try:
            order = self.control_path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return "run"
        return order if order in ("pause", "stop") else "run"  # type: ignore[return-value]

    def order(self, order: Order) -> None:
        """Tell whoever trains here to ``run``, ``pause`` or ``stop`` (and save) after the step in flight."""
        write_atomic(self.control_path, order.encode(), durable=False)

    def forget_old_order(self) -> None:
        """Go back to ``run`` if the order was given before this process began: it was meant for another."""
        try:
            old = self.control_path.stat().st_mtime < psutil.Process().create_time()
        except OSError:
            return
        if old:
            self.order("run")

    # ---- what it said

    def append(self, event: Event) -> None:
        """Append one event to ``events.jsonl``; it is there for other processes at once."""
        with open(self.events_path, "ab") as file:
            start = file.tell()
            try:
                file.write(event.to_json().encode() + b"\n")
                file.flush()
            except OSError:
                os.truncate(self.events_path, start)
                raise

    def events(self) -> Iterator[Event]:
        """Yield all events; a torn last line and lines of other origin are passed over."""
        for line in _lines(self.events_path):
            event = read_event(line)
            if event is not None:
                yield event

    def rewind(self, step: int) -> None:
        """Forget what was said and drawn after ``step``, so that a resumed run's curve has neither hole nor double.

        -1 forgets everything.
        """
        kept = []
        for event in self.events():
            if (getattr(event, "step", None) or 0) > step:
                break
            if event.kind not in _ENDINGS:
                kept.append(event.to_json().encode() + b"\n")
        write_atomic(self.events_path, b"".join(kept))
        self.metrics.rewind(step)
        for folder, pattern in ((self.checkpoints, "step-*.safetensors"), (self.samples, "step-*.npz")):
            for path in folder.glob(pattern):
                if (step_of(path) or 0) > step:
                    path.unlink(missing_ok=True)
            for path in folder.glob(".*.part"):  # what a process that was killed had begun to write
                path.unlink(missing_ok=True)

    def sync(self) -> None:
        """Wait until the disk has all events and metrics: called before a checkpoint, which must not be ahead."""
        for path in (self.events_path, self.metrics.path):
            if path.exists():
                with open(path, "rb+") as file:
                    os.fsync(file.fileno())

    def _just_made(self, path: Path) -> bool:
        """Whether ``path`` is an empty folder of a run whose process was killed before it began."""
        return path in (self.checkpoints, self.samples) and path.is_dir() and not any(path.iterdir())

    def _refuse_foreign_files(self) -> None:
        if not self.path.is_dir():
            raise RunError(f"{self.path}: expected a folder for the run, got a file")
        for path in sorted(self.path.iterdir()):
            if path.name not in _ALLOWED_BEFORE and not path.name.startswith(".") and not self._just_made(path):
                raise RunError(f"{self.path}: expected a new or empty run directory, but it holds {path.name}")


class WatchedRun(RunDir):
    """A run as the further processes of a training have it: they read it, and the first one alone writes."""

    def set_status(self, state: RunState, *, durable: bool = False, **fields: Any) -> None:
        """Leave the status to the first process."""

    def order(self, order: Order) -> None:
        """Leave orders to the first process."""

    def control(self) -> Order:
        """Return ``run``: the first process asks for all."""
        return "run"

    def forget_old_order(self) -> None:
        """Leave orders to the first process."""

    def append(self, event: Event) -> None:
        """Leave what is said to the first process."""

    def rewind(self, step: int) -> None:
        """Leave what was said to the first process."""

    def sync(self) -> None:
        """Wait for nothing: nothing was written."""


def list_runs(root: str | Path) -> list[RunDir]:
    """Return the runs that are folders of ``root`` (or ``root`` itself), the one touched last first."""
    root = Path(root)
    candidates = [root, *(path for path in root.iterdir() if path.is_dir())] if root.is_dir() else []
    runs = [run for run in map(RunDir, candidates) if run.config_path.is_file()]
    return sorted(runs, key=_touched, reverse=True)


def step_of(path: Path) -> int | None:
    """Return the step in a name like ``step-000100.safetensors``, or None."""
    digits = path.name.partition("step-")[2].partition(".")[0]
    return int(digits) if digits.isdigit() else None


def _touched(run: RunDir) -> float:
    path = run.status_path if run.status_path.exists() else run.config_path
    return path.stat().st_mtime


def _alive(status: dict[str, Any]) -> bool:
    try:
        process = psutil.Process(int(status["pid"]))
        # A process number is used again; its start time tells the two apart (to the clock's resolution).
        return (
            abs(process.create_time() - float(status["process_start"])) < 1.5
            and process.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            yield from file
    except FileNotFoundError:
        return
