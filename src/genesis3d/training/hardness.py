"""Finding what is hard: places on the training scans that the network, as it is now, gets wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis3d.data.augmenting import Augmentation
from genesis3d.data.hard import Place, errors_of, with_places
from genesis3d.training.half import autocast
from genesis3d.training.memory import shares
from genesis3d.training.target_pairs import TargetMaker

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesis3d.data.labelled import LabelledSampler
    from genesis3d.training.progress import Progress

__all__ = ["Hardness"]


class Hardness:
    """Looks at some training sub-volumes, as they are, after each measurement.

    Parameters
    ----------
    sampler : of the training scans
    seed : the run's seed
    count : sub-volumes looked at
    batch : how many of them at once
    """

    def __init__(self, sampler: LabelledSampler, seed: int, count: int = 16, batch: int = 4) -> None:
        self.maker = TargetMaker(sampler, Augmentation(), seed, min(batch, count), stream="hard")
        self.rounds = -(-count // self.maker.batch)

    def find(
        self, task: nn.Module, progress: Progress, device: torch.device, half: bool, size: int
    ) -> list[dict[str, Any]]:
        """Return ``progress.hard`` with what ``task`` gets wrong now: a function of weights, seed and step alone."""
        import torch

        places: list[Place] = []
        training = task.training
        task.eval()
        try:
            with torch.no_grad(), autocast(device, half):
                for i in range(self.rounds):
                    places += self._errors(task, progress.step * self.rounds + i, device, size)
        finally:
            task.train(training)
        return with_places(progress.hard, progress.step, places)

    def _errors(self, task: nn.Module, step: int, device: torch.device, size: int) -> list[Place]:
        import torch

        from genesis3d.rng import Address

        pairs = self.maker.pairs(step)
        found = [
            task(input.to(device), target.to(device))["output"].argmax(dim=1).cpu()
            for input, target in shares(size, pairs.input, pairs.target)
        ]
        predicted, draw = torch.cat(found).numpy(), Address(self.maker.seed, step, 0, "hard/voxels").generator()
        labels = pairs.target[:, 0].numpy()
        return [p for i, at in enumerate(pairs.locations) for p in errors_of(predicted[i], labels[i], at, draw)]
