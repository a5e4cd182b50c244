"""Ctrl+C, SIGTERM and SIGUSR1 as a question that the work asks."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.events import Control, Order

__all__ = ["stopped_by_signals"]


@contextmanager
def stopped_by_signals() -> Iterator[Control]:
    """Within it SIGTERM, SIGUSR1 and the first Ctrl+C ask the work to stop and save; gives the control that says so."""
    order: list[Order] = ["run"]

    def stop(number: int, _frame: object) -> None:
        order[0] = "stop"
        if number == signal.SIGINT:  # a second one ends at once; what was saved stays
            signal.signal(signal.SIGINT, signal.default_int_handler)

    # Slurm is asked to announce the end of a job by SIGUSR1.
    names = ("SIGTERM", "SIGINT", "SIGBREAK", "SIGUSR1")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = [(number, signal.signal(number, stop)) for number in numbers]
    try:
        yield lambda: order[0]
    finally:
        for number, handler in before:
            signal.signal(number, handler)
