"""More budget for a run that has used its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genesis3d.training.rundir import RunDir
from napari_genesis.run_files import write_config

__all__ = ["extend_finished", "extended"]


def extended(config: Any, more: Any) -> Any:
    """Return ``config`` with the budget of ``more`` on top of its own (its own again where the units differ)."""
    if config.steps is not None:
        return config.replaced(steps=config.steps + (more.steps or config.steps))
    return config.replaced(minutes=(config.minutes or 0) + (more.minutes or config.minutes or 0))


def extend_finished(run: Path, more: Any) -> None:
    """Put the budget of ``more`` on top of that of a run that used its own; any other run stays as it is.

    Raises
    ------
    GenesisError, OSError
        When the run's configuration cannot be read or written.
    """
    directory = RunDir(run)
    if directory.state() == "finished":
        write_config(run, extended(type(more).parse(directory.config(), run.name), more))
