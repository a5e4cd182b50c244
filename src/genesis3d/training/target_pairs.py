"""Pairs of labelled sub-volumes and their classes, by address: what a target task learns from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.training.pairs import Pairs

if TYPE_CHECKING:
    import torch

    from genesis3d.data.augmenting import Augmentation
    from genesis3d.data.labelled import LabelledSampler

__all__ = ["TargetMaker"]

Places = Sequence[Sequence[int]]


def _nowhere(step: int) -> Places:
    return ()


class TargetMaker:
    """Makes labelled pairs: a :class:`~genesis3d.training.pairs.PairMaker` whose targets are classes.

    Parameters
    ----------
    sampler : where sub-volumes and their labels come from
    augmentation : what happens to both
    seed, batch, stream, device, slots : as of a PairMaker; sub-volumes are made on the processor whatever ``device``
    hard : the voxels (case, d, h, w) known to be hard at a step
    """

    def __init__(
        self,
        sampler: LabelledSampler,
        augmentation: Augmentation,
        seed: int,
        batch: int,
        *,
        stream: str = "training",
        device: torch.device | None = None,
        slots: Sequence[int] | None = None,
        hard: Callable[[int], Places] = _nowhere,
    ) -> None:
        self.sampler = sampler
        self.augmentation = augmentation
        self.seed = seed
        self.batch = batch
        self.stream = stream
        self.device = device
        self.slots = range(batch) if slots is None else slots
        self.hard = hard

    def of_stream(self, stream: str) -> Self:
        """Return a maker of other draws from the same scans, with all slots and nothing known to be hard."""
        return type(self)(self.sampler, self.augmentation, self.seed, self.batch, stream=stream, device=self.device)

    def of_process(self, rank: int, world: int) -> Self:
        """Return a maker of the slots of process ``rank`` of ``world``; raises ConfigError for too few slots."""
        if self.batch < world:
            raise ConfigError(
                f"batch: expected at least one sub-volume for each of {world} processes, got {self.batch}"
            )
        return type(self)(
            self.sampler, self.augmentation, self.seed, self.batch, stream=self.stream, device=self.device,
            slots=range(rank, self.batch, world), hard=self.hard,
        )  # fmt: skip

    @property
    def share(self) -> float:
        """Share of the batch that is made here, of 1."""
        return len(self.slots) / self.batch

    @property
    def workers(self) -> int:
        """Threads that make pairs ahead: one beside a processor that trains, several to keep a GPU busy."""
        on_gpu = self.device is not None and self.device.type == "cuda"
        return max(1, min(8, (os.cpu_count() or 2) - 1)) if on_gpu else 1

    def pairs(self, step: int) -> Pairs:
        """Return the batch of ``step``, of it the slots made here: input float32, target integers."""
        return self._make([Address(self.seed, step, slot, self.stream) for slot in self.slots], self.hard(step))

    def _make(self, addresses: Sequence[Address], hard: Places) -> Pairs:
        import torch

        locations = tuple(self.sampler.locate(address / "location", hard) for address in addresses)
        inputs, targets, words = [], [], []
        for address, location in zip(addresses, locations, strict=True):
            spacing = self.sampler.volumes[location.case].geometry.spacing
            drawn = self.augmentation.draw(self.sampler.patch, spacing, address)
            input, labels = drawn.apply(*self.sampler.cut(location, drawn.size))
            inputs.append(input)
            targets.append(self.sampler.target(location, labels))
            words.append(drawn.words())
        return Pairs(torch.stack(inputs), torch.stack(targets), locations, {}, tuple(words))
