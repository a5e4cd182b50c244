"""Cases prepared one after the other in this process, or several at a time in processes that never load torch."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from genesis3d.data.channels import Group
from genesis3d.data.preparation import Outcome, PreparationSettings, prepare_case
from genesis3d.data.storage import storage_at
from genesis3d.events import Control

__all__ = ["prepare_all"]

WAIT = 0.2  # seconds between two looks at the control


def prepare_all(
    groups: Sequence[Group], settings: PreparationSettings, url: str, jobs: int, control: Control
) -> Iterator[Outcome | None]:
    """Yield what became of each case as it is done, and None now and then so that the caller can look around.

    Told to stop, or after a fatal outcome, the cases in flight are finished and no other is begun.  A case whose
    process dies (killed for want of memory, say) is tried once more alone, and left out when that dies too; with
    ``jobs`` 1 all is done in this process, which nothing guards.
    """
    waiting = deque(groups)
    if jobs == 1:
        yield from _here(waiting, settings, url, control)
        return
    while waiting:
        suspects: list[Group] = []
        yield from _together(waiting, settings, url, jobs, control, suspects)
        for group in suspects:
            if control() == "stop":
                return
            again: list[Group] = []
            yield from _together(deque([group]), settings, url, 1, control, again)
            if again:
                yield Outcome(group.name, problem="its process died while preparing it, perhaps for want of memory")
        if not suspects:
            return


def _here(waiting: deque[Group], settings: PreparationSettings, url: str, control: Control) -> Iterator[Outcome]:
    storage = storage_at(url)
    while waiting and control() != "stop":
        outcome = prepare_case(waiting.popleft(), settings, storage)
        yield outcome
        if outcome.fatal:
            return


def _together(
    waiting: deque[Group], settings: PreparationSettings, url: str, jobs: int, control: Control, died: list[Group]
) -> Iterator[Outcome | None]:
    """Prepare ``waiting`` in ``jobs`` processes; after the death of one, ``died`` holds the cases in flight then."""
    from multiprocessing import get_context

    flying: dict[Future[Outcome], Group] = {}
    pool = ProcessPoolExecutor(min(jobs, len(waiting)), mp_context=get_context("spawn"), initializer=_begin)
    ended = False
    try:
        while flying or (waiting and not ended):
            ended = ended or control() == "stop"
            while waiting and not ended and len(flying) < jobs + 1:
                with _interrupts_held():
                    flying[pool.submit(_prepare, waiting[0], settings, url)] = waiting[0]
                waiting.popleft()
            if ended:
                _recall(flying)
            for future in wait(list(flying), WAIT, FIRST_COMPLETED).done:
                outcome = future.result()
                del flying[future]
                ended = ended or outcome.fatal
                yield outcome
            yield None
    except BrokenProcessPool:
        died.extend(flying.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _recall(flying: dict[Future[Outcome], Group]) -> None:
    """Take back the cases that no process has begun."""
    for future in list(flying):
        if future.cancel():
            del flying[future]


def _prepare(group: Group, settings: PreparationSettings, url: str) -> Outcome:
    return prepare_case(group, settings, storage_at(url))


def _begin() -> None:
    """Set up a worker: interrupts are its parent's affair, it ends when its parent does, and it takes one core."""
    from multiprocessing import parent_process

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # before SimpleITK is imported
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    from multiprocessing.connection import wait as wait_for

    wait_for([sentinel])
    os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Keep Ctrl+C, which a terminal sends to all processes, from one that is only just starting."""
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
