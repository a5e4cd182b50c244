"""Several processes that train one network: what they share, and what they decide together.

Each process makes the pairs of its own slots; gradients are summed, so that the step is that of one process with the
whole batch.  Whatever depends on a clock, a file or a person is asked in one process and obeyed by all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from genesis3d.errors import ConfigError, GenesisError, RunError
from genesis3d.events import Control, Order
from genesis3d.training.ranks import Place

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import nn

    from genesis3d.training.watch import Watch

__all__ = ["ALONE", "Processes"]

T = TypeVar("T")
_ORDERS: tuple[Order, ...] = ("run", "pause", "stop")
_JOINING_SECONDS = 5.0


class Processes:
    """The processes that train together; of one process alone every method is what its name says, at no cost.

    Attributes
    ----------
    place : which one this is
    sharded : whether weights and optimiser are split over the processes (FSDP) rather than held by each (DDP)
    fabric : what started them and holds the device; None for one process
    lockstep : whether forward and backward are collective operations, which none can repeat alone
    """

    def __init__(
        self, place: Place, fabric: Fabric | None = None, watch: Watch | None = None, *, sharded: bool = False
    ) -> None:
        self.place = place
        self.fabric = fabric
        self.sharded = sharded
        self.lockstep = sharded
        self.watch = watch

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.place.rank

    @property
    def world(self) -> int:
        """How many processes train together."""
        return self.place.world

    @property
    def main(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.place.main

    # ---- deciding together

    def first(self, make: Callable[[], T]) -> T:
        """Return what the first process makes (plain JSON values), in all of them; an error there is one everywhere."""
        if self.world == 1:
            return make()
        error: Exception | None = None
        said: dict[str, Any] = {}
        if self.main:
            try:
                said = {"value": make()}
            except Exception as caught:
                error, said = caught, {"error": str(caught)}
        heard = json.loads(self._broadcast(json.dumps(said).encode()))
        if error is not None:
            raise error
        if "error" in heard:
            raise RunError(heard["error"])
        return said["value"] if self.main else heard["value"]  # type: ignore[no-any-return]  # what make returns

    def any(self, flag: bool) -> bool:
        """Return whether ``flag`` holds in any process."""
        return flag if self.world == 1 else bool(self._summed([float(flag)])[0] > 0)

    def order(self, control: Control) -> Order:
        """Ask ``control`` in every process; the strongest order holds for all."""
        mine = control()
        if self.world == 1:
            return mine
        counts = self._summed([float(mine == order) for order in _ORDERS])
        return next(order for order, count in reversed(list(zip(_ORDERS, counts, strict=True))) if count > 0)

    def mean(self, values: dict[str, float], share: float | None = None) -> dict[str, float]:
        """Return the mean of each value over the processes, weighted by the ``share`` of each (default: equal)."""
        if self.world == 1:
            return values
        weight = 1 / self.world if share is None else share
        return dict(zip(values, self._summed([weight * value for value in values.values()]), strict=True))

    def barrier(self) -> None:
        """Wait for the others."""
        self.any(False)

    def same(self, what: str, value: str) -> None:
        """Raise ConfigError in all processes unless ``value`` is that of the first in each; ``what`` names it."""
        if self.any(self.first(lambda: value) != value):
            raise ConfigError(f"{what}: expected the same in all {self.world} processes (a shared folder), got others")

    # ---- one network

    def loss_factor(self, share: float) -> float:
        """Return what the mean loss over this process's ``share`` of the batch is multiplied by before backward."""
        return share * self.world if self.sharded else share

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its sum over the processes (sharded ones are summed in backward already)."""
        if self.world == 1 or self.sharded:
            return
        import torch

        gradients = [p.grad for p in parameters if p.grad is not None]
        whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
        with _lost():
            torch.distributed.all_reduce(whole)
        parts = torch.split(whole, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def clip(self, parameters: Iterable[nn.Parameter], limit: float) -> float:
        """Shorten the summed gradient to the norm ``limit``; return the norm before."""
        from torch.nn.utils import clip_grad_norm_

        norm = clip_grad_norm_(parameters, limit)
        return float(norm.full_tensor() if self.sharded else norm)  # type: ignore[attr-defined]  # a DTensor

    def equalise(self, module: nn.Module, *, weights: bool = False) -> None:
        """Give all processes the first one's buffers (statistics), and ``weights`` too."""
        if self.world == 1:
            return
        import torch

        tensors = list(module.buffers())
        if weights and not self.sharded:
            tensors += [p.detach() for p in module.parameters()]
        for tensor in tensors:
            plain = tensor.contiguous()
            with _lost():
                torch.distributed.broadcast(plain, 0)
            tensor.copy_(plain)

    # ---- failing and ending

    def explain(self, error: Exception) -> Exception:
        """Tell the others of ``error``; return it, or if another process failed before, an error that says so."""
        if self.watch is None:
            return error
        secondary = isinstance(error, _LostError)
        before = self.watch.why(_JOINING_SECONDS if secondary else 0.0)
        if before is not None and (secondary or not isinstance(error, GenesisError)):
            return RunError(before)
        if secondary:
            sentence = f"expected {self.world} processes until the end, but one of them was lost"
            self.watch.fail(sentence)
            return RunError(sentence)
        self.watch.fail(f"process {self.rank} of {self.world} failed: {_sentence(error)}")
        return error

    def close(self) -> None:
        """Part from the others after all of them ended well."""
        if self.world == 1:
            return
        import torch

        with _lost():
            self.barrier()
        if self.watch is not None:
            self.watch.stop()
        torch.distributed.destroy_process_group()

    # ---- messages between processors; small, whatever device computes

    def _summed(self, values: Sequence[float]) -> list[float]:
        import torch

        tensor = torch.tensor(values, dtype=torch.float64)
        with _lost():
            torch.distributed.all_reduce(tensor)
        return [float(value) for value in tensor]

    def _broadcast(self, text: bytes) -> bytes:
        import torch

        length = int(self._summed([len(text) if self.main else 0])[0])
        tensor = torch.empty(length, dtype=torch.uint8)
        if self.main:
            tensor.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        with _lost():
            torch.distributed.broadcast(tensor, 0)
        return tensor.numpy().tobytes()


ALONE = Processes(Place())


class _LostError(RunError):
    """A collective operation failed: another process is gone."""


@contextmanager
def _lost() -> Iterator[None]:
    """Turn what torch raises when a peer is gone into one error."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, GenesisError) or "out of memory" in str(error):
            raise
        raise _LostError("another process of this training is gone") from error


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, GenesisError) else f"{type(error).__name__}: {text}"
