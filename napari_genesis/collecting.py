"""Python's garbage collector, kept to the GUI thread while background threads run.

A collection runs in whatever thread happens to allocate.  In a background thread it would destroy Qt objects that lie
in garbage cycles (a closed viewer, a dock) outside the GUI thread, which ends the process.  So while a thread of ours
lives, automatic collection is off and a timer of the GUI thread collects at the same thresholds.
"""

from __future__ import annotations

import gc
import threading

from qtpy.QtCore import QTimer

__all__ = ["collect_here_during"]

TICK_MS = 100

_threads: list[threading.Thread] = []
_timer: QTimer | None = None


def collect_here_during(thread: threading.Thread) -> None:
    """Collect garbage in this (the GUI) thread alone until ``thread``, not started yet, has ended.

    Does nothing of its own accord where somebody else has turned automatic collection off.
    """
    global _timer
    if not _threads:
        if not gc.isenabled():
            return
        gc.disable()
        _timer = QTimer()
        _timer.timeout.connect(_tick)
        _timer.start(TICK_MS)
    _threads.append(thread)


def _tick() -> None:
    global _timer
    _collect()
    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    if not _threads and _timer is not None:
        _timer.stop()
        _timer = None
        gc.enable()


def _collect() -> None:
    """Do what the automatic collection would have done since the last tick."""
    for generation in (2, 1, 0):
        counts, thresholds = gc.get_count(), gc.get_threshold()
        if all(counts[g] > thresholds[g] > 0 for g in range(generation + 1)):
            gc.collect(generation)
            return
