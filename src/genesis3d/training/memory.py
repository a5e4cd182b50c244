"""Work that goes on in smaller portions when memory does not suffice, and remembers the size that fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from genesis3d.errors import RunError
from genesis3d.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Portions", "out_of_memory", "shares"]

T = TypeVar("T")
# How torch's allocators, cuDNN and the operating system say it where they have no exception of their own for it.
_SENTENCES = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory did not suffice, on the processor or on a GPU."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sentence in str(error).lower() for sentence in _SENTENCES)


def shares(size: int, *batches: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield ``size`` (or at last fewer) cases at a time of ``batches`` that run in parallel, (B, ...)."""
    for start in range(0, len(batches[0]), size):
        yield tuple(batch[start : start + size] for batch in batches)


class Portions:
    """The number of sub-volumes that are computed at once, halved as often as memory does not suffice.

    Parameters
    ----------
    name : of the work; ``remembered`` keeps its size under it
    largest : what is tried first
    remembered : sizes by name, as a resume file keeps them; changed in place
    lower : what a user can lower when not even one sub-volume fits
    processes : those that do the same work, and halve together

    Attributes
    ----------
    said : sentences to be told to the user, and removed by whoever tells them
    """

    def __init__(
        self, name: str, largest: int, remembered: dict[str, int], lower: str, processes: Processes = ALONE
    ) -> None:
        self.name = name
        self.largest = largest
        self.remembered = remembered
        self.lower = lower
        self.processes = processes
        self.said: list[str] = []

    @property
    def size(self) -> int:
        """Sub-volumes at once."""
        return min(self.largest, self.remembered.get(self.name, self.largest))

    def fit(self, work: Callable[[int], T]) -> T:
        """Return ``work(size)``, done again with half the size while memory does not suffice.

        Raises
        ------
        RunError
            One sentence, when a single sub-volume does not fit.
        """
        while True:
            short = False
            try:
                result = work(self.size)
            except Exception as error:
                if not out_of_memory(error) or self.processes.lockstep:
                    raise
                short = True
            if not self.processes.any(short):
                return result
            # Only here, where the exception no longer holds what the failed work had allocated.
            self._halve()

    def _halve(self) -> None:
        if self.size == 1:
            raise RunError(
                f"{self.name}: expected memory for one sub-volume at a time, got out of memory; lower {self.lower}"
            )
        self.remembered[self.name] = (self.size + 1) // 2
        self.said[:] = [
            f"memory did not suffice: {self.name} goes on with {self.size} sub-volume(s) at a time in place of more; "
            "a step still sees as many as before"
        ]
        _release()


def _release() -> None:
    """Give cached blocks of a GPU back, so that smaller ones of another size fit."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
