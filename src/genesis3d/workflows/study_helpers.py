"""Further processes that work on a study at the same time; they share its folder and nothing else."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.workflows.study_config import StudyConfig

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event as Flag
    from types import TracebackType

    from genesis3d.events import Order

__all__ = ["Helpers"]

_GRACE = 60.0


class Helpers:
    """``count`` processes at a study, ended when the block is left; a context manager.

    Each takes the runs that nobody is at.  They end by themselves when the process that started them is gone.
    """

    def __init__(self, config: StudyConfig, out: Path, count: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop: Flag = context.Event()
        values = config.to_dict()
        self._processes = [
            context.Process(target=_help, args=(values, str(out), self._stop), daemon=True, name=f"study-{number}")
            for number in range(count)
        ]

    def __enter__(self) -> Helpers:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(_GRACE)
            if process.is_alive():
                process.terminate()


def _help(values: dict[str, Any], out: str, stop: Flag) -> None:
    """Work on the study in ``out`` until nothing is left, ``stop`` is set or the parent is gone."""
    from genesis3d.workflows.study import helped

    parent = multiprocessing.parent_process()

    def control() -> Order:
        return "stop" if stop.is_set() or (parent is not None and not parent.is_alive()) else "run"

    helped(StudyConfig.parse(values), Path(out), control)
