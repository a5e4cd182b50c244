"""Resolves frames so that the window stays alive: the latest wish wins, slow ones are made in a thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

from qtpy.QtCore import QObject, QTimer, Signal

from genesis3d.errors import GenesisError
from genesis3d.events import Control, Event, Finished
from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with

if TYPE_CHECKING:
    from napari_genesis.widgets.preview.model import Shown

__all__ = ["Resolver"]

DELAY_MS = 1  # a drag sends several changes in one turn of the event loop: they become one
DIRECT_S = 0.030  # longer than this would be felt in the window


class Resolver(QObject):
    """Turns wishes (functions that return a :class:`Shown`) into answers.

    The first wish, and each whose ``voxels`` make it likely to take over 30 ms, is worked on in a thread; the others
    at once.  While one is in work only the latest of the further wishes is kept.
    """

    seconds_per_voxel: ClassVar[float | None] = None  # as last measured in this process; None before the first

    resolved = Signal(object)  # Shown
    failed = Signal(str)  # one sentence

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._wish: tuple[Callable[[], Shown], int] | None = None
        self._generation = 0  # answers to wishes of an earlier one are dropped
        self._job: ThreadJob | None = None
        self._ended: ThreadJob | None = None
        self._jobs: list[ThreadJob] = []
        close_with(self, self._jobs)
        self._answer: list[tuple[int, Shown]] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._work)

    @property
    def busy(self) -> bool:
        """Whether an answer is still to come."""
        return self._wish is not None or self._job is not None

    def ask(self, function: Callable[[], Shown], voxels: int) -> None:
        """Wish for the answer of ``function``; it replaces wishes that nobody has begun to work on."""
        self._wish = (function, voxels)
        if not self._timer.isActive():
            self._timer.start()

    def forget(self) -> None:
        """Drop all wishes, and the answers to those in work: the scan they are about is gone."""
        self._generation += 1
        self._wish = None
        self._timer.stop()

    def close(self) -> None:
        """Stop for good."""
        self.forget()
        close_jobs(self._jobs)
        self._job = None

    def _work(self) -> None:
        if self._wish is None or self._job is not None:
            return
        function, voxels = self._wish
        self._wish = None
        if self.seconds_per_voxel is None or self.seconds_per_voxel * voxels > DIRECT_S:
            self._start(function, voxels)
            return
        try:
            answer = self._timed(function, voxels)
        except GenesisError as error:
            self.failed.emit(str(error))
        else:
            self.resolved.emit(answer)

    def _timed(self, function: Callable[[], Shown], voxels: int) -> Shown:
        begun = time.perf_counter()
        answer = function()
        Resolver.seconds_per_voxel = (time.perf_counter() - begun) / max(voxels, 1)
        return answer

    def _start(self, function: Callable[[], Shown], voxels: int) -> None:
        answers, generation, first = self._answer, self._generation, self.seconds_per_voxel is None

        def work(control: Control) -> Iterator[Event]:
            function() if first else None  # libraries are loaded and kernels compiled by then: the second is measured
            answers.append((generation, self._timed(function, voxels)))
            yield Finished()

        self._job = ThreadJob(work, name="preview")
        self._jobs[:] = [self._job]
        self._job.ended.connect(self._on_ended)
        self._job.start()

    def _on_ended(self, state: JobState) -> None:
        self._ended, self._job = self._job, None  # it is still inside its own timer: not to be deleted here
        self._jobs.clear()
        answers, self._answer = self._answer, []
        for generation, answer in answers:
            if generation == self._generation:
                self.resolved.emit(answer)
        if state.state == "failed" and not answers:
            self.failed.emit(state.message)
        self._timer.start()
