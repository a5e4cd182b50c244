"""Pairs of transformed and original sub-volumes by address: what the trainer sees, and what the preview shows.

``pairs(step)`` is a pure function of seed, step and slot; so neither prefetching, nor the size of the batch, nor
resuming changes a pair.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from genesis3d.errors import ConfigError
from genesis3d.rng import Address

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from genesis3d.data.sampling import Location, Sampler
    from genesis3d.transforms import Chain, Params

__all__ = ["Maker", "PairMaker", "Pairs", "Prefetch"]


@dataclass(frozen=True)
class Pairs:
    """A batch: ``input`` (transformed) and ``target``, (B, C, D, H, W) float32 in [0, 1], and how they came about.

    The target of a target task are integers: class indices (B, 1, D, H, W), 255 where nobody labelled, or (B,).
    ``locations`` say case and start (d, h, w), ``params`` what the chain drew, ``outcomes`` the same in words.
    """

    input: torch.Tensor
    target: torch.Tensor
    locations: tuple[Location, ...]
    params: Params
    outcomes: tuple[str, ...]


class Maker(Protocol):
    """What makes the pairs of a run: a pure function of the step, in ``batch`` slots, by so many threads ahead."""

    batch: int

    @property
    def workers(self) -> int:
        """Threads that make pairs ahead."""

    def pairs(self, step: int) -> Pairs:
        """Return the batch of ``step``, of it what is made in this process."""


class PairMaker:
    """Makes the pairs of a run from a ``sampler`` of sub-volumes and a ``chain`` of transformations.

    Parameters
    ----------
    sampler : where sub-volumes come from
    chain : what happens to them
    seed : the run's seed
    batch : number of slots of a step
    stream : name of this stream of pairs; two streams of a seed never share a draw
    device : where the chain is applied (None: the CPU)
    slots : those of the batch that are made here (None: all); several processes share a batch by their slots
    """

    def __init__(
        self,
        sampler: Sampler,
        chain: Chain,
        seed: int,
        batch: int,
        *,
        stream: str = "training",
        device: torch.device | None = None,
        slots: Sequence[int] | None = None,
    ) -> None:
        self.sampler = sampler
        self.chain = chain
        self.seed = seed
        self.batch = batch
        self.stream = stream
        self.device = device
        self.slots = range(batch) if slots is None else slots
        self._side = _Side(device) if device is not None and device.type == "cuda" else None

    def of_stream(self, stream: str) -> PairMaker:
        """Return a maker of other draws from the same scans, with all slots."""
        return PairMaker(self.sampler, self.chain, self.seed, self.batch, stream=stream, device=self.device)

    def of_process(self, rank: int, world: int) -> PairMaker:
        """Return a maker of the slots of process ``rank`` of ``world``: those of all processes are the batch.

        Raises
        ------
        ConfigError
            When there are more processes than slots.
        """
        if self.batch < world:
            raise ConfigError(
                f"batch: expected at least one sub-volume for each of {world} processes, got {self.batch}"
            )
        return PairMaker(
            self.sampler, self.chain, self.seed, self.batch, stream=self.stream, device=self.device,
            slots=range(rank, self.batch, world),
        )  # fmt: skip

    @property
    def share(self) -> float:
        """Share of the batch that is made here, of 1."""
        return len(self.slots) / self.batch

    @property
    def workers(self) -> int:
        """Threads that make pairs ahead: one beside a processor that trains, several to keep a GPU busy."""
        return 1 if self._side is None else max(1, min(8, (os.cpu_count() or 2) - 1))

    def address(self, step: int, slot: int) -> Address:
        """Return the address of one slot; ``step`` counts from 0."""
        return Address(self.seed, step, slot, self.stream)

    def pairs(self, step: int) -> Pairs:
        """Return the batch of ``step``, of it the slots made here."""
        return self._make(step, self.slots)

    def pair(self, step: int, slot: int) -> Pairs:
        """Return the batch of one that holds ``slot`` of ``step``, bit for bit as in :meth:`pairs`."""
        return self._make(step, [slot])

    def _make(self, step: int, slots: Sequence[int]) -> Pairs:
        import numpy as np
        import torch

        addresses = [self.address(step, slot) for slot in slots]
        locations = tuple(self.sampler.locate(address / "location") for address in addresses)
        x = torch.from_numpy(np.stack([self.sampler.cut(location) for location in locations]))
        _, c, d, h, w = x.shape
        params = self.chain.draw((c, d, h, w), [address / "chain" for address in addresses])
        with torch.no_grad():
            if self._side is not None:
                input, target = self._side.run(x, lambda voxels: self.chain.pair(voxels, params))
            else:
                input, target = self.chain.pair(x if self.device is None else x.to(self.device), params)
        outcomes = tuple(self.chain.outcome(params, i) for i in range(len(slots)))
        return Pairs(input, target, locations, params, outcomes)


class _Side:
    """A stream of a GPU beside that of the training: copies and transformations there hide behind its steps."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._local = threading.local()

    def run(self, x: Tensor, work: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return what ``work`` makes of ``x``, ready on the device; only the calling thread waits for it."""
        import torch

        if not hasattr(self._local, "stream"):
            self._local.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream = self._local.stream
        with torch.cuda.stream(stream):
            made = work(x.pin_memory().to(self.device, non_blocking=True))
        for tensor in made:
            # Used by the training's stream: its memory must not be given away before that has passed.
            tensor.record_stream(torch.cuda.default_stream(self.device))
        stream.synchronize()
        return made


class Prefetch:
    """Makes the pairs of the coming steps ahead, at most ``depth`` steps, in ``workers`` threads; a context manager.

    Leaving it waits for the pairs in the making, so that no thread outlives it.  ``waited`` are the seconds that
    :meth:`take` has waited for pairs.
    """

    def __init__(self, make: Callable[[int], Pairs], first: int, depth: int = 2, workers: int = 1) -> None:
        self._make = make
        self._next = first
        self._depth = max(depth, workers)
        self._workers = workers
        self.waited = 0.0
        self._ahead: deque[Future[Pairs]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Prefetch:
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="genesis-pairs")
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def take(self) -> Pairs:
        """Return the pairs of the next step, waiting if they are not ready; raises what making them raised."""
        self._fill()
        start = time.perf_counter()
        pairs = self._ahead.popleft().result()
        self.waited += time.perf_counter() - start
        self._fill()
        return pairs

    def _fill(self) -> None:
        if self._pool is None:
            raise RuntimeError("Prefetch: expected to be entered (with ...) before take()")
        while len(self._ahead) < self._depth:
            self._ahead.append(self._pool.submit(self._make, self._next))
            self._next += 1
