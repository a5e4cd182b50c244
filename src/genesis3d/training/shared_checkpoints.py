"""The files of a run that several processes train: all gather what is split over them, the first one writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genesis3d.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.optim import Optimizer

    from genesis3d.networks.model_file import ModelCard
    from genesis3d.training.processes import Processes
    from genesis3d.training.progress import Progress
    from genesis3d.training.rundir import RunDir
    from genesis3d.training.settings import KeepSettings

__all__ = ["SharedCheckpoints"]


class SharedCheckpoints(Checkpoints):
    """As :class:`Checkpoints`, and every method is called by all ``processes`` together.

    The files are those of one process: a run goes on with any number of processes, sharded or not.  ``plain`` is a copy
    of the task from before it was sharded.
    """

    def __init__(
        self,
        run: RunDir,
        task: nn.Module,
        optimiser: Optimizer,
        card: Callable[[Progress], ModelCard],
        keep: KeepSettings,
        averaged: nn.Module | None,
        processes: Processes,
        plain: nn.Module | None,
    ) -> None:
        super().__init__(run, task, optimiser, card, keep, averaged)
        self.processes = processes
        self.plain = plain

    def due(self) -> bool:
        """Whether the first process finds it time to save."""
        return self.processes.any(self.processes.main and super().due())

    def save_last(self, progress: Progress, hardware: dict[str, Any]) -> None:
        """Save the state to go on from."""
        with self._whole():
            if self.processes.main:
                super().save_last(progress, hardware)
        self.saved_step = progress.step

    def mark_good(self) -> None:
        """Keep the state just saved as the one to go back to."""
        if self.processes.main:
            super().mark_good()
        self.processes.barrier()

    def save_model(self, name: str, progress: Progress) -> str:
        """Save a model file."""
        with self._whole():
            if self.processes.main:
                return super().save_model(name, progress)
        return f"checkpoints/{name}.safetensors"

    def save_step(self, progress: Progress) -> str:
        """Save a model file that stays for a while."""
        with self._whole():
            if self.processes.main:
                return super().save_step(progress)
        return ""

    def load(self, state: dict[str, Any]) -> Progress:
        """Put a state into the live objects, each process its part."""
        if self.processes.sharded:
            from genesis3d.training.sharding import parts_of

            state = parts_of(state, self.task, self.optimiser)
        return super().load(state)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """Let task and optimiser be whole ones meanwhile, in the first process; the others help to gather them."""
        live = self.task, self.optimiser
        if self.processes.sharded and self.task is not self.plain:
            from genesis3d.training.sharding import whole

            weights, optimiser = whole(self.task.state_dict()), whole(self.optimiser.state_dict())
            if self.processes.main and self.plain is not None:
                self.plain.load_state_dict(weights)
                self.task, self.optimiser = self.plain, _Gathered(optimiser)  # type: ignore[assignment]
        try:
            yield
        finally:
            self.task, self.optimiser = live


class _Gathered:
    """The state of an optimiser, as it will be saved."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> dict[str, Any]:
        return self._state
