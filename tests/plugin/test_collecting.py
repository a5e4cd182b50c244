"""Garbage made while a background thread runs is collected in the GUI thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from genesis3d.events import Control, Event, Finished
from napari_genesis.jobs import ThreadJob


class Trace:
    """Part of a cycle; notes the thread that destroys it."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen
        self.own = self

    def __del__(self) -> None:
        self.seen.append(threading.get_ident())


def test_a_background_thread_collects_nothing(qtbot: Any) -> None:
    seen: list[int] = []

    def work(control: Control) -> Iterator[Event]:
        for _ in range(3000):  # many times the threshold of the youngest generation
            Trace(seen)
        yield Finished()

    gc.collect()
    job = ThreadJob(work, name="garbage")
    job.start()
    qtbot.waitUntil(lambda: not job.running, timeout=10_000)
    qtbot.waitUntil(gc.isenabled, timeout=5_000)
    gc.collect()
    assert len(seen) == 3000
    assert set(seen) == {threading.main_thread().ident}


def test_someone_elses_choice_is_kept(qtbot: Any, request: pytest.FixtureRequest) -> None:
    gc.disable()
    request.addfinalizer(gc.enable)
    job = ThreadJob(lambda control: iter([Finished()]), name="short")
    job.start()
    qtbot.waitUntil(lambda: not job.running, timeout=10_000)
    qtbot.wait(250)
    assert not gc.isenabled()


def test_an_owner_in_a_garbage_cycle_ends_its_jobs(qtbot: Any) -> None:
    """A closed dock is often part of a cycle; whether Python or Qt lets go of it first, its jobs end once."""
    from qtpy.QtCore import QObject

    from napari_genesis.jobs import close_with

    class Owner(QObject):
        def __init__(self, parent: QObject) -> None:
            super().__init__(parent)
            self.own, self.jobs = self, []
            close_with(self, self.jobs)

    class Closing:
        closed = 0

        def close(self) -> None:
            Closing.closed += 1

    for collected_first in (True, False):
        parent = QObject()
        owner = Owner(parent)
        owner.jobs.append(Closing())
        if collected_first:
            del owner
            gc.collect()
        parent.deleteLater()
        qtbot.wait(20)
        gc.collect()
    assert Closing.closed == 2
