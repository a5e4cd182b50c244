"""Start, follow, stop, kill and re-attach jobs: with ``run_files.py`` the only code that knows threads and processes.

Background threads never touch a Qt object: they fill a plain channel, and a timer of the GUI thread empties it.  So a
flood of events costs one update per tick, and a window closed under a job has nothing to be called back on.
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any
from weakref import finalize

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from genesis3d.errors import GenesisError
from genesis3d.events import Control, Event, Failed, Finished, Order, Stepped
from genesis3d.training.rundir import RunDir
from napari_genesis.collecting import collect_here_during
from napari_genesis.job_state import Curve, JobState, Phase, fold, fold_all
from napari_genesis.run_files import RunTail, child_is_alive, kill_child, order_stop, run_kind, spawn_training

__all__ = [
    "Curve",
    "Job",
    "JobState",
    "Phase",
    "RunFollower",
    "ThreadJob",
    "close_jobs",
    "close_with",
    "fold",
    "fold_all",
]

TICK_MS = 40
BATCH = 5000
POLL_S = 0.25


class Channel:
    """What a background thread and the GUI thread share: events one way, the wish to stop the other way."""

    def __init__(self) -> None:
        self.events: deque[Event | None] = deque()  # None: forget what was folded, the run's story starts anew
        self.stop = threading.Event()
        self.done = threading.Event()
        self.killed = False

    def control(self) -> Order:
        """Answer the engine's question."""
        return "stop" if self.stop.is_set() else "run"


class _Signals(QObject):
    told = Signal(object)
    changed = Signal(object)
    ended = Signal(object)


class Job:
    """Something that runs behind the window.

    Signals (Qt's; a QObject itself cannot have one called ``event``)
    -----------------------------------------------------------------
    event(object) : each event; of steps that arrive together only the newest (``state.curves`` has them all)
    changed(object) : the :class:`JobState`, at most every 40 ms
    ended(object) : the final :class:`JobState`, once
    """

    def __init__(self, name: str) -> None:
        self._signals = _Signals()
        self.event, self.changed, self.ended = self._signals.told, self._signals.changed, self._signals.ended
        self.state = JobState(what=name)
        self._name = name
        self._channel = Channel()
        self._thread: threading.Thread | None = None
        self._timer = QTimer(self._signals)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._drain)

    @property
    def running(self) -> bool:
        """Whether the background thread lives or its last events are not yet told."""
        return self._timer.isActive()

    def stop(self) -> None:
        """Ask the job to end its step, save and finish; returns at once."""
        if self.state.active:
            self.state.state = "cancelling"
            self.changed.emit(self.state)
        self._channel.stop.set()

    def close(self) -> None:
        """Ask the job to stop and listen no more: for docks and viewers going away."""
        self._channel.stop.set()
        if isalive(self._timer):  # at the very end Qt may be gone before Python
            self._timer.stop()

    def wait_closed(self, ms: int = 5000) -> bool:
        """Wait until the background thread has ended (without telling further events); False after ``ms``."""
        if self._thread is not None:
            self._thread.join(ms / 1000)
            return not self._thread.is_alive()
        return True

    def _launch(self, work: Callable[[Channel], None]) -> None:
        if self.running:
            raise RuntimeError(f"{self._name}: expected a job that is not running")
        self._channel = Channel()
        self._thread = threading.Thread(
            target=_guarded, args=(work, self._channel), name=f"genesis-{self._name}", daemon=False
        )
        self.state.become(JobState(state="running", what=self._name))
        self._timer.start()
        collect_here_during(self._thread)
        self._thread.start()
        self.changed.emit(self.state)

    def _drain(self) -> None:
        done = self._channel.done.is_set()  # asked first: what comes before it is in the channel already
        batch: list[Event] = []
        state = self.state
        while self._channel.events and len(batch) < BATCH:
            item = self._channel.events.popleft()
            if item is None:
                batch, state = [], JobState(state=self.state.state, what=self._name)
            else:
                batch.append(item)
        if batch or state is not self.state:
            self.state.become(fold_all(state, batch))
            for event, following in zip_longest(batch, batch[1:]):
                if not (isinstance(event, Stepped) and isinstance(following, Stepped)):
                    self.event.emit(event)
            self.changed.emit(self.state)
        if done and not self._channel.events and self._timer.isActive():
            self._timer.stop()
            # whoever listens may let go of the job: it must outlive the timeout that called this
            QTimer.singleShot(0, partial(_outlive, self))
            self.ended.emit(self.state)


def _outlive(_job: Job) -> None:
    """Do nothing: being scheduled is what keeps the job."""


def close_jobs(jobs: list[Any]) -> None:
    """Ask all ``jobs`` to stop, listen to them no more, and forget them."""
    for job in jobs:
        job.close()
    jobs.clear()


def close_with(owner: QObject, jobs: list[Any]) -> None:
    """Close ``jobs`` (a list that stays the same object) when ``owner`` goes, in Qt or in Python, whichever is first.

    A finalizer is no part of the owner's own garbage cycle: a plain partial there is emptied by the collector before
    Qt calls it, which ends the process.
    """
    finalizer = finalize(owner, close_jobs, jobs)
    finalizer.atexit = False
    owner.destroyed.connect(finalizer)


def _guarded(work: Callable[[Channel], None], channel: Channel) -> None:
    """Run ``work``; whatever it raises becomes an event, for nobody listens to a thread's traceback."""
    try:
        work(channel)
    except GenesisError as error:
        channel.events.append(Failed(message=str(error), trace=traceback.format_exc()))
    except MemoryError as error:
        message = f"not enough memory: {error}" if str(error) else "not enough memory for this job"
        channel.events.append(Failed(message=message, trace=traceback.format_exc()))
    except Exception as error:  # RuntimeError included: torch raises it when the device's memory is full
        message = f"{type(error).__name__}: {error}"
        channel.events.append(Failed(message=message, expected=False, trace=traceback.format_exc()))
    finally:
        channel.done.set()


class ThreadJob(Job):
    """Runs ``function(control)``, an iterator of events, in a thread of its own.

    >>> job = ThreadJob(lambda control: anomaly(config, control=control), name="anomaly map")
    >>> job.ended.connect(self._on_ended); job.start()
    """

    def __init__(self, function: Callable[[Control], Iterator[Event]], name: str = "job") -> None:
        super().__init__(name)
        self._function = function

    def start(self) -> None:
        """Start; raises RuntimeError when it runs already."""
        function = self._function
        self._launch(lambda channel: _run_iterator(function, channel))


def _run_iterator(function: Callable[[Control], Iterator[Event]], channel: Channel) -> None:
    last: Event | None = None
    iterator = function(channel.control)
    try:
        for last in iterator:
            channel.events.append(last)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    if not isinstance(last, Finished | Failed):
        channel.events.append(Finished(cancelled=channel.stop.is_set()))


class RunFollower(Job):
    """Starts, or attaches to, the training of a run directory, which is a process of its own.

    :meth:`stop` asks the training to save and end, :meth:`kill` ends it at once (the run loses what came after its
    last checkpoint), :meth:`detach` stops following and leaves it running, though napari may end.  :meth:`close`, for
    docks going away, stops it or, with ``leave_running``, detaches.
    """

    def __init__(self, run_dir: str | Path, command: list[str] | None = None) -> None:
        super().__init__(run_kind(Path(run_dir)))
        self.run_dir = Path(run_dir)
        self._command = command
        self._pid: int | None = None
        self.leave_running = False

    def start(self, resume: bool = False) -> None:
        """Start the training process and follow it; ``RUN/config.json`` must be there."""
        if self.running:
            raise RuntimeError(f"{self.run_dir.name}: expected a run that is not followed already")
        RunDir(self.run_dir).order("run")
        tail = RunTail(self.run_dir)
        history = tail.read()
        child = spawn_training(self.run_dir, resume, self._command)
        self._pid = child.pid
        self._launch(lambda channel: _follow(tail, history, channel, child.poll))

    def attach(self) -> None:
        """Follow a training that runs, or fold the story of one that ended."""
        tail = RunTail(self.run_dir)
        run_dir = self.run_dir
        self._pid = None
        self._launch(lambda channel: _follow(tail, None, channel, lambda: None if child_is_alive(run_dir) else 0))

    def stop(self) -> None:
        """Ask the training to save and end."""
        if self.running and self.state.active:
            self.state.state = "cancelling"
            self.changed.emit(self.state)
        order_stop(self.run_dir, self._pid)

    def close(self) -> None:
        """Stop the training unless ``leave_running``, and listen no more."""
        if self.running and self.state.active and not self.leave_running:
            self.stop()
        self.detach()

    def detach(self) -> None:
        """Listen no more; the training goes on."""
        super().close()

    def kill(self) -> bool:
        """End the training process now; False when there is none."""
        self._channel.killed = True
        return kill_child(self.run_dir, self._pid)


def _follow(tail: RunTail, history: list[Event] | None, channel: Channel, exit_code: Callable[[], int | None]) -> None:
    """Tail the run until its process is gone and everything it wrote is told, or nobody listens any more."""
    if history:
        channel.events.extend(event for event in history if not isinstance(event, Finished | Failed))
    ended, patience = False, 4
    while not channel.stop.is_set():
        code = exit_code()  # asked before reading: what a dead child wrote is complete
        events = tail.read()
        if tail.restarted:
            channel.events.append(None)
        channel.events.extend(events)
        for event in events:
            ended = isinstance(event, Finished | Failed)
        if code is not None and not ended and patience > 0:
            patience -= 1  # a status may say the end just before the last event does
        elif code is not None:
            if not ended and channel.killed:
                channel.events.append(Finished(cancelled=True, result={"killed": True}))
            elif not ended:
                message, expected = tail.post_mortem()
                channel.events.append(Failed(message=message, expected=expected))
            return
        channel.stop.wait(POLL_S)
