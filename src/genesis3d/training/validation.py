"""Figures on fixed, held-out sub-volumes: what the curve of a run means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from genesis3d.files import write_atomic
from genesis3d.tasks.figures import restoration_figures
from genesis3d.training.half import autocast
from genesis3d.training.memory import shares
from genesis3d.training.pairs import PairMaker, Pairs

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from genesis3d.data.sampling import Sampler
    from genesis3d.training.holdout import Part
    from genesis3d.transforms import Chain

__all__ = ["SAMPLE_SLOTS", "FixedWindows", "HeldOut", "prefixed", "write_samples"]

SAMPLE_SLOTS = 3


class HeldOut(Protocol):
    """What a training is measured on: fixed sub-volumes that it is not trained on."""

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return figures by name, ``loss`` among them; at most ``size`` sub-volumes are computed at once."""

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return some pairs and what the network makes of them, on the CPU."""

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write what :meth:`shown` returned as a file for people to look at."""


class FixedWindows:
    """``count`` sub-volumes of ``sampler`` under ``chain``, the same at every measurement, kept in memory.

    Attributes
    ----------
    batches : the pairs, in batches of ``batch``
    baseline : errors of the transformed input, the best constant per sub-volume and a 3x3x3 median
    """

    def __init__(self, sampler: Sampler, chain: Chain, seed: int, count: int, batch: int, stream: str) -> None:
        batch = min(batch, count)
        maker = PairMaker(sampler, chain, seed, batch, stream=stream)
        steps = -(-count // batch)
        self.batches: list[Pairs] = [maker.pairs(step) for step in range(steps)]
        self.baseline = _mean([restoration_figures(pairs.input, pairs.target) for pairs in self.batches])

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return the task's loss, the network's mean squared error, its ratio to the best constant, and baselines.

        At most ``size`` sub-volumes are computed at once (None: a batch).
        """
        import torch

        found = []
        for pairs in self.batches:
            loss, output = _apply(task, pairs, device, half, size)
            error = float((output - pairs.target).square().mean(dtype=torch.float64))
            found.append({"loss": loss, "mse_network": error})
        figures = self.baseline | _mean(found)
        return figures | {"ratio": figures["mse_network"] / max(figures["mse_constant"], 1e-12)}

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return the first batch and its restoration by the network, (B, C, D, H, W) in [0, 1] on the CPU."""
        pairs = self.batches[0]
        return pairs, _apply(task, pairs, device, half, size)[1]

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write them by :func:`write_samples`."""
        write_samples(path, step, pairs, output, part)


def _apply(task: nn.Module, pairs: Pairs, device: torch.device, half: bool, size: int | None) -> tuple[float, Tensor]:
    """Return loss and output, float32 on the CPU, of ``task`` in evaluation."""
    import torch

    training, whole = task.training, len(pairs.input)
    size = min(size or whole, whole)
    loss, outputs = 0.0, []
    task.eval()
    try:
        with torch.no_grad(), autocast(device, half):
            for input, target in shares(size, pairs.input, pairs.target):
                result = task(input.to(device), target.to(device))
                loss += float(result["loss"]) * (len(input) / whole)
                outputs.append(result["output"].float().cpu())
    finally:
        task.train(training)
    return loss, torch.cat(outputs)


def write_samples(path: Path, step: int, pairs: Pairs, output: Tensor, part: Part, **others: Tensor) -> None:
    """Write the first slots as ``path`` (.npz): input, restored and target, (n, C, D, H, W) float16 in [0, 1].

    Beside them: ``outcomes`` (what the chain did, in words), ``cases`` (names), ``starts`` (n, 3) first voxel (D, H,
    W) in the canonical scan, ``step``, and ``others`` by their names, like the first three.
    """
    n = min(SAMPLE_SLOTS, len(pairs.outcomes))
    places = [np.add(location.start, part.offset) for location in pairs.locations[:n]]

    halves: dict[str, Any] = {name: tensor[:n].numpy().astype(np.float16) for name, tensor in others.items()}

    def write(file: IO[bytes]) -> None:
        np.savez(
            file,
            input=pairs.input[:n].numpy().astype(np.float16),
            restored=output[:n].numpy().astype(np.float16),
            target=pairs.target[:n].numpy().astype(np.float16),
            outcomes=np.array(pairs.outcomes[:n]),
            cases=np.array([part.names[location.case] for location in pairs.locations[:n]]),
            starts=np.array(places),
            step=np.array(step),
            **halves,
        )

    write_atomic(path, write, durable=False)


def _mean(figures: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([item[name] for item in figures])) for name in figures[0]}


def prefixed(figures: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Return the figures with ``prefix`` before each name."""
    return {f"{prefix}{name}": value for name, value in figures.items()}
