"""Figures of a classification on held-out cases, each by the sub-volume in its middle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from genesis3d.files import write_atomic
from genesis3d.training.pairs import Pairs
from genesis3d.training.target_windows import applied
from genesis3d.training.validation import SAMPLE_SLOTS

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from genesis3d.data.classified_sampling import ClassifiedSampler
    from genesis3d.training.holdout import Part

    # Figures by name of probabilities (N, K) for class indices (N,).
    Judge = Callable[[NDArray[Any], NDArray[Any]], dict[str, float]]

__all__ = ["FixedClasses"]


class FixedClasses:
    """At most ``count`` held-out cases, the same at every measurement.

    Parameters
    ----------
    sampler : of the held-out cases
    names : of the classes by index
    judge : figures by name of probabilities (N, K) and class indices (N,)
    """

    def __init__(self, sampler: ClassifiedSampler, names: Sequence[str], count: int, batch: int, judge: Judge) -> None:
        self.names = list(names)
        self.judge = judge
        chosen = _spread(len(sampler.volumes), count)
        self.batches = [_pairs(sampler, chosen[i : i + batch]) for i in range(0, len(chosen), batch)]

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return ``loss`` and the figures of the judge; at most ``size`` cases are computed at once."""
        losses, weights, scores = [], [], []
        for pairs in self.batches:
            for result, n in applied(task, pairs, device, half, size):
                losses.append(float(result["loss"]))
                weights.append(n)
                scores.append(result["output"].float().cpu().numpy())
        targets = np.concatenate([pairs.target.numpy() for pairs in self.batches])
        figures = self.judge(np.concatenate(scores), targets)
        return {"loss": float(np.average(losses, weights=weights))} | figures

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return the first batch and the probabilities (B, K) of its classes, on the CPU."""
        import torch

        pairs = self.batches[0]
        return pairs, torch.cat([r["output"].float().cpu() for r, _ in applied(task, pairs, device, half, size)])

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write the first slots as ``path`` (.npz): input (n, C, D, H, W) float16, prediction (n, K), labels (n,).

        Beside them ``cases`` (names), ``starts`` (n, 3), ``classes`` (names by index) and ``step``.
        """
        n = min(SAMPLE_SLOTS, len(pairs.locations))

        def save(file: IO[bytes]) -> None:
            np.savez(
                file,
                input=pairs.input[:n].numpy().astype(np.float16),
                prediction=output[:n].numpy(),
                labels=pairs.target[:n].numpy(),
                cases=np.array([part.names[location.case] for location in pairs.locations[:n]]),
                starts=np.array([location.start for location in pairs.locations[:n]]),
                classes=np.array(self.names),
                step=np.array(step),
            )

        write_atomic(path, save, durable=False)


def _pairs(sampler: ClassifiedSampler, cases: Sequence[int]) -> Pairs:
    import torch

    places = [sampler.middle(case) for case in cases]
    input = torch.from_numpy(np.stack([sampler.cut(place)[0] for place in places]))
    target = torch.tensor([sampler.targets[case] for case in cases])
    return Pairs(input, target, tuple(places), {}, tuple("as it is" for _ in places))


def _spread(cases: int, count: int) -> list[int]:
    """Return at most ``count`` of so many cases, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, cases - 1, min(cases, count)).tolist()})
