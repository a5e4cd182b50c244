"""Figures of a training against opacity on fixed, held-out sub-volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.tasks.figures import average_precision, restoration_figures
from genesis3d.tasks.opacity_module import parts_of
from genesis3d.training.pairs import Pairs
from genesis3d.training.target_windows import applied
from genesis3d.training.validation import write_samples

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from genesis3d.training.holdout import Part
    from genesis3d.training.opacity_pairs import OpacityMaker

__all__ = ["OpacityWindows"]


class OpacityWindows:
    """``count`` sub-volumes of ``maker``, the same at every measurement, kept in memory in batches of ``batch``."""

    def __init__(self, maker: OpacityMaker, count: int, batch: int, stream: str) -> None:
        batch = min(batch, count)
        own = maker.of_stream(stream)
        pairs = [own.pair(index // batch, index % batch) for index in range(count)]
        self.batches = [_together(pairs[first : first + batch]) for first in range(0, count, batch)]

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return ``loss``; of the restored scan ``mae`` in the lungs and squared errors; of the opacity two figures.

        ``dice`` of a probability above 0.5 and ``average_precision`` are of all lung voxels as one volume.
        """
        import torch

        losses, weights, outputs = [], [], []
        for pairs in self.batches:
            for result, n in applied(task, pairs, device, half, size):
                losses.append(float(result["loss"]))
                weights.append(n)
                outputs.append(result["output"].float().cpu())
        input, target = (
            torch.cat([getattr(pairs, name) for pairs in self.batches]).cpu() for name in ("input", "target")
        )
        output = torch.cat(outputs)
        clean, lungs, opacity = parts_of(target)
        inside = lungs > 0
        found, there = output[:, -1:][inside], (opacity > 0.5)[inside]
        both = float((2 * ((found > 0.5) & there).sum()) / ((found > 0.5).sum() + there.sum()).clamp_min(1))
        error = (output[:, :-1] - clean).abs() * lungs
        return {
            "loss": float(np.average(losses, weights=weights)),
            "mae": float(error.sum() / (lungs.sum() * clean.shape[1]).clamp_min(1)),
            "dice": both,
            "average_precision": average_precision(found, there),
        } | restoration_figures(input, clean, output[:, :-1])

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return the first batch and what the network makes of it, (B, C + 1, D, H, W) in [0, 1] on the CPU."""
        import torch

        pairs = self.batches[0]
        return pairs, torch.cat([one["output"].float().cpu() for one, _ in applied(task, pairs, device, half, size)])

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write them as of a restoration, and beside ``restored`` the ``probability`` and the ``opacity`` put in."""
        clean, _, opacity = parts_of(pairs.target.cpu())
        shown = Pairs(pairs.input.cpu(), clean, pairs.locations, pairs.params, pairs.outcomes)
        write_samples(path, step, shown, output[:, :-1], part, probability=output[:, -1:], opacity=opacity)


def _together(pairs: list[Pairs]) -> Pairs:
    import torch

    return Pairs(
        torch.cat([one.input for one in pairs]),
        torch.cat([one.target for one in pairs]),
        tuple(place for one in pairs for place in one.locations),
        {},
        tuple(word for one in pairs for word in one.outcomes),
    )
