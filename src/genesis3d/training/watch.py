"""Noticing that one of several processes failed, died or lost its machine, and ending the others in time.

A process that waits for a lost one in a collective operation cannot be woken from Python; so a thread of each watches a
small store that all share, and ends its process when the work cannot go on.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["Watch"]

# Exit status of a process that the watch ended.
_STATUS = 2


class Watch:
    """Beats for this process, listens for the others, and carries the sentence of whichever failed first.

    Parameters
    ----------
    store : torch's TCPStore (or like it), shared by all processes, by a connection of its own
    rank, world : which process this is; the first listens to all, the others to the first
    seconds : between two beats
    lost : seconds without a beat after which a process is taken for lost
    grace : seconds that a failed training has to end by itself before the process is ended
    """

    def __init__(
        self, store: Any, rank: int, world: int, *, seconds: float = 2.0, lost: float = 120.0, grace: float = 20.0
    ) -> None:
        self._store = store
        self._rank = rank
        self._others = range(1, world) if rank == 0 else range(1)
        self._seconds, self._lost, self._grace = seconds, lost, grace
        self._over = threading.Event()
        self._heard = dict.fromkeys(self._others, (-1, time.monotonic()))
        self._thread = threading.Thread(target=self._watch, name="genesis-watch", daemon=True)
        # What to do before the process is ended, with the sentence that says why.
        self.last_words: Callable[[str], None] = lambda sentence: None

    def start(self) -> None:
        """Begin to beat and to listen."""
        self._thread.start()

    def stop(self) -> None:
        """End the watch: the training ended well."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(self._seconds + 5)

    def fail(self, sentence: str) -> None:
        """Tell all processes why the training failed; the first sentence stays."""
        with suppress(RuntimeError):
            if self._store.add("failures", 1) == 1:
                self._store.set("why", sentence)

    def why(self, wait: float = 0.0) -> str | None:
        """Return the sentence of the process that failed first, waiting up to ``wait`` seconds for one."""
        end = time.monotonic() + wait
        while True:
            try:
                if self._store.check(["why"]):
                    return str(self._store.get("why").decode())
            except RuntimeError:
                return None
            if time.monotonic() >= end:
                return None
            time.sleep(0.05)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            sentence = self._look()
            if sentence is not None:
                if not self._over.wait(self._grace):
                    self.last_words(sentence)
                    os._exit(_STATUS)
                return

    def _look(self) -> str | None:
        """Beat once; return a sentence when the training cannot go on."""
        try:
            self._store.add(f"beat{self._rank}", 1)
            for other in self._others:
                beats, since = self._store.add(f"beat{other}", 0), time.monotonic()
                if beats != self._heard[other][0]:
                    self._heard[other] = (beats, since)
                elif since - self._heard[other][1] > self._lost:
                    self.fail(f"process {other} has not been heard of for {self._lost:.0f} seconds")
        except RuntimeError:
            return "the process that keeps the others together is gone"
        return self.why()
