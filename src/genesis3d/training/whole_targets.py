"""What a classification learns from and is measured on: sub-volumes of one class each."""

from __future__ import annotations

from dataclasses import replace
from typing import IO, TYPE_CHECKING

import numpy as np

from genesis3d.files import write_atomic
from genesis3d.labels import IGNORE
from genesis3d.training.target_pairs import TargetMaker
from genesis3d.training.target_windows import FixedTargets, applied
from genesis3d.training.validation import SAMPLE_SLOTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from genesis3d.data.labelled import LabelledSampler
    from genesis3d.training.holdout import Part
    from genesis3d.training.pairs import Pairs

__all__ = ["FixedClasses", "WholeMaker"]


class WholeMaker(TargetMaker):
    """A :class:`TargetMaker` whose targets are (B,), the one class of each sub-volume."""

    def pairs(self, step: int) -> Pairs:
        """Return the batch of ``step``, of it the slots made here: input float32, target int64."""
        return _of_one_class(super().pairs(step))


class FixedClasses(FixedTargets):
    """Sub-volumes that cover the held-out cases, all of them at every measurement."""

    def __init__(self, sampler: LabelledSampler, names: Sequence[str], count: int, batch: int) -> None:
        super().__init__(sampler, names, max(count, len(sampler.volumes)), batch)
        self.batches = [_of_one_class(pairs) for pairs in self.batches]

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return ``loss``, ``accuracy``, and ``sensitivity_NAME`` of each class that occurs."""
        losses, weights, sums = [], [], np.zeros((2, len(self.names)), np.int64)
        for pairs in self.batches:
            for result, n in applied(task, pairs, device, half, size):
                losses.append(float(result["loss"]))
                weights.append(n)
                sums += np.stack([result[name].cpu().numpy() for name in ("intersection", "reference")])
        right, all_of = sums
        figures = {"loss": float(np.average(losses, weights=weights)), "accuracy": float(right.sum() / all_of.sum())}
        known = [(name, right[k] / all_of[k]) for k, name in enumerate(self.names) if all_of[k]]
        return figures | {f"sensitivity_{name}": float(value) for name, value in known}

    def scores(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Return case (N,), probabilities (N, K) and target (N,) of each sub-volume, by the number of the case."""
        found = [
            result["output"].double().cpu().numpy()
            for pairs in self.batches
            for result, _ in applied(task, pairs, device, half, size)
        ]
        cases = np.array([place.case for pairs in self.batches for place in pairs.locations])
        targets = np.concatenate([pairs.target.numpy() for pairs in self.batches])
        order = np.argsort(cases, kind="stable")
        return cases[order], np.concatenate(found)[order], targets[order]

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return the first batch and its most probable classes, (B,) uint8 on the CPU."""
        import torch

        pairs = self.batches[0]
        found = [result["output"].argmax(dim=1) for result, _ in applied(task, pairs, device, half, size)]
        return pairs, torch.cat(found).to(torch.uint8).cpu()

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write the first slots as ``path`` (.npz): input (n, C, D, H, W) float16, prediction and labels (n,) uint8.

        Beside them ``cases`` (names), ``starts`` (n, 3), ``classes`` (names by index) and ``step``.
        """
        n = min(SAMPLE_SLOTS, len(pairs.locations))

        def save(file: IO[bytes]) -> None:
            np.savez(
                file,
                input=pairs.input[:n].numpy().astype(np.float16),
                prediction=output[:n].numpy(),
                labels=pairs.target[:n].numpy().astype(np.uint8),
                cases=np.array([part.names[location.case] for location in pairs.locations[:n]]),
                starts=np.array([np.add(location.start, part.offset) for location in pairs.locations[:n]]),
                classes=np.array(self.names),
                step=np.array(step),
            )

        write_atomic(path, save, durable=False)


def _of_one_class(pairs: Pairs) -> Pairs:
    """Return ``pairs`` with the class that labels each sub-volume, (B,) int64; beyond a scan nothing is labelled."""
    labels = pairs.target.flatten(1).long()
    return replace(pairs, target=labels.masked_fill(labels == IGNORE, -1).amax(dim=1))
