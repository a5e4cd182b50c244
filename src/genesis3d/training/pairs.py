"""Pairs of transformed and original sub-volumes by address: what the trainer sees, and what the preview shows.

``pairs(step)`` is a pure function of seed, step and slot; so neither prefetching, nor the size of the batch, nor
resuming changes a pair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis3d.rng import Address

if TYPE_CHECKING:
    import torch

    from genesis3d.data.sampling import Location, Sampler
    from genesis3d.transforms import Chain, Params

__all__ = ["PairMaker", "Pairs", "Prefetch"]


@dataclass(frozen=True)
class Pairs:
    """A batch: ``input`` (transformed) and ``target``, (B, C, D, H, W) float32 in [0, 1], and how they came about.

    ``locations`` say case and start (d, h, w), ``params`` what the chain drew, ``outcomes`` the same in words.
    """

    input: torch.Tensor
    target: torch.Tensor
    locations: tuple[Location, ...]
    params: Params
    outcomes: tuple[str, ...]


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
    ) -> None:
        self.sampler = sampler
        self.chain = chain
        self.seed = seed
        self.batch = batch
        self.stream = stream
        self.device = device

    def of_stream(self, stream: str) -> PairMaker:
        """Return a maker of other draws from the same scans."""
        return PairMaker(self.sampler, self.chain, self.seed, self.batch, stream=stream, device=self.device)

    def address(self, step: int, slot: int) -> Address:
        """Return the address of one slot; ``step`` counts from 0."""
        return Address(self.seed, step, slot, self.stream)

    def pairs(self, step: int) -> Pairs:
        """Return the whole batch of ``step``."""
        return self._make(step, range(self.batch))

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
        if self.device is not None:
            x = x.to(self.device)
        with torch.no_grad():
            input, target = self.chain.pair(x, params)
        outcomes = tuple(self.chain.outcome(params, i) for i in range(len(slots)))
        return Pairs(input, target, locations, params, outcomes)


class Prefetch:
    """Makes the pairs of the coming steps ahead, in one thread, at most ``depth`` steps; a context manager.

    Leaving it waits for the pairs in the making, so that no thread outlives it.
    """

    def __init__(self, make: Callable[[int], Pairs], first: int, depth: int = 2) -> None:
        self._make = make
        self._next = first
        self._depth = depth
        self._ahead: deque[Future[Pairs]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Prefetch:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="genesis-pairs")
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def take(self) -> Pairs:
        """Return the pairs of the next step, waiting if they are not ready; raises what making them raised."""
        self._fill()
        pairs = self._ahead.popleft().result()
        self._fill()
        return pairs

    def _fill(self) -> None:
        if self._pool is None:
            raise RuntimeError("Prefetch: expected to be entered (with ...) before take()")
        while len(self._ahead) < self._depth:
            self._ahead.append(self._pool.submit(self._make, self._next))
            self._next += 1
