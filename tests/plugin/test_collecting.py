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
