"""What one process of several does in a test; run by path, with ``JOB`` as a global.

JOB: rank, run (path), config (plain values or None), resume, environment, and ``fault``: what goes wrong in a rank.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from genesis3d.events import Failed, Stepped
from genesis3d.training import joining, memory, stepping
from genesis3d.training.watch import Watch
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

JOB: dict[str, Any] = globals()["JOB"]


def fail_in_gradient(error: BaseException, at: int) -> None:
    """Let the ``at``-th gradient of this process end in ``error``."""
    gradient, calls = stepping.Stepper._gradient, [0]

    def failing(self: stepping.Stepper, *arguments: Any) -> dict[str, float]:
        calls[0] += 1
        if calls[0] == at:
            raise error
        return gradient(self, *arguments)

    stepping.Stepper._gradient = failing  # type: ignore[method-assign]


def hang_at(step: int) -> None:
    """Let this process wait for ever, as in a collective operation that nobody joins, once it fails elsewhere."""

    def stuck(self: stepping.Stepper, *arguments: Any) -> dict[str, float]:
        signal.pause()
        raise AssertionError

    stepping.Stepper._gradient = stuck  # type: ignore[method-assign]


def prepare(fault: str | None, rank: int) -> None:
    joining.Watch = lambda *arguments: Watch(*arguments, seconds=0.2, lost=60.0, grace=1.0)  # type: ignore[misc, assignment]
    memory._release = lambda: None
    if fault == "exception" and rank == 1:
        fail_in_gradient(ValueError("a defect"), 2)
    if fault == "memory" and rank == 1:
        fail_in_gradient(MemoryError("out of memory"), 2)
    if fault == "death" and rank == 1:
        stepping.Stepper._gradient = lambda *_: os._exit(9)  # type: ignore[method-assign, assignment, return-value]
    if fault == "hang":
        if rank == 1:
            fail_in_gradient(ValueError("a defect"), 1)
        else:
            hang_at(1)


def main() -> None:
    os.environ.update(JOB["environment"])
    rank = JOB["rank"]
    prepare(JOB["fault"], rank)
    config = None if JOB["config"] is None else PretrainConfig.parse(JOB["config"])
    last = None
    for last in pretrain(config, JOB["run"], resume=JOB["resume"]):
        if rank > 0 and not isinstance(last, Failed):
            sys.exit("a further process spoke")
        if JOB["fault"] == "stop" and isinstance(last, Stepped) and last.step == 2:
            with open(os.path.join(JOB["run"], "control"), "w") as file:
                file.write("stop")
    sys.exit(2 if isinstance(last, Failed) else 0)


main()
