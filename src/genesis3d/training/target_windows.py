"""Figures of a target task on fixed, held-out sub-volumes: the Dice of every class over all that is labelled there."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np

from genesis3d.files import write_atomic
from genesis3d.rng import Address
from genesis3d.training.half import autocast
from genesis3d.training.memory import shares
from genesis3d.training.pairs import Pairs
from genesis3d.training.validation import SAMPLE_SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from genesis3d.data.labelled import LabelledSampler
    from genesis3d.data.sampling import Location
    from genesis3d.training.holdout import Part

__all__ = ["FixedTargets", "applied", "dice_figures"]

# Share of the measured sub-volumes that hold a structure, where there are more than are measured.
_STRUCTURES = 0.75


class FixedTargets:
    """At most ``count`` sub-volumes that cover what is labelled of the held-out scans, the same at every measurement.

    Parameters
    ----------
    sampler : of the held-out scans
    names : of the classes by index, background first
    """

    def __init__(self, sampler: LabelledSampler, names: Sequence[str], count: int, batch: int) -> None:
        self.names = list(names)
        places = _chosen(sampler, count)
        self.batches = [_pairs(sampler, places[i : i + batch]) for i in range(0, len(places), batch)]

    def measure(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> dict[str, float]:
        """Return ``loss``, ``dice`` (the mean over the classes that occur) and ``dice_NAME`` of each such class.

        Voxels of all sub-volumes count as one volume.  At most ``size`` sub-volumes are computed at once.
        """
        losses, weights = [], []
        sums = np.zeros((3, len(self.names)), np.int64)
        for pairs in self.batches:
            for result, n in applied(task, pairs, device, half, size):
                losses.append(float(result["loss"]))
                weights.append(n)
                sums += np.stack([result[name].cpu().numpy() for name in ("intersection", "predicted", "reference")])
        return {"loss": float(np.average(losses, weights=weights))} | dice_figures(sums, self.names)

    def shown(
        self, task: nn.Module, device: torch.device, half: bool = False, size: int | None = None
    ) -> tuple[Pairs, Tensor]:
        """Return the first batch and its most probable classes, (B, 1, D, H, W) uint8 on the CPU."""
        import torch

        pairs = self.batches[0]
        found = [
            result["output"].argmax(dim=1, keepdim=True).to(torch.uint8).cpu()
            for result, _ in applied(task, pairs, device, half, size)
        ]
        return pairs, torch.cat(found)

    def write(self, path: Path, step: int, pairs: Pairs, output: Tensor, part: Part) -> None:
        """Write the first slots as ``path`` (.npz): input float16 in [0, 1], prediction and labels uint8.

        All are (n, C, D, H, W), of class indices, 255 where nobody labelled.  Beside them ``cases`` (names),
        ``starts`` (n, 3), first voxel (D, H, W) in the canonical scan, ``classes`` (names by index) and ``step``.
        """
        n = min(SAMPLE_SLOTS, len(pairs.locations))

        def save(file: IO[bytes]) -> None:
            np.savez(
                file,
                input=pairs.input[:n].numpy().astype(np.float16),
                prediction=output[:n].numpy(),
                labels=pairs.target[:n].numpy(),
                cases=np.array([part.names[location.case] for location in pairs.locations[:n]]),
                starts=np.array([np.add(location.start, part.offset) for location in pairs.locations[:n]]),
                classes=np.array(self.names),
                step=np.array(step),
            )

        write_atomic(path, save, durable=False)


def dice_figures(sums: NDArray[np.int64], names: Sequence[str]) -> dict[str, float]:
    """Return ``dice`` and ``dice_NAME`` from voxels (3, K): those in both, predicted and labelled of each class."""
    both, predicted, reference = sums
    figures = {
        f"dice_{name}": float(2 * both[k] / (predicted[k] + reference[k]))
        for k, name in enumerate(names)
        if k and reference[k]
    }
    # Where no structure is labelled, finding none is right.
    mean = float(np.mean(list(figures.values()))) if figures else float(not predicted[1:].any())
    return {"dice": mean} | figures


def applied(
    task: nn.Module, pairs: Pairs, device: torch.device, half: bool, size: int | None
) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Yield the results of ``task`` in evaluation on portions of ``pairs``, and how many sub-volumes each is of."""
    import torch

    training = task.training
    task.eval()
    try:
        with torch.no_grad(), autocast(device, half):
            for input, target in shares(min(size or len(pairs.input), len(pairs.input)), pairs.input, pairs.target):
                yield task(input.to(device), target.to(device)), len(input)
    finally:
        task.train(training)


def _pairs(sampler: LabelledSampler, places: Sequence[Location]) -> Pairs:
    import torch

    cut = [sampler.cut(place) for place in places]
    input, target = (torch.from_numpy(np.stack([each[i] for each in cut])) for i in (0, 1))
    return Pairs(input, target, tuple(places), {}, tuple("as it is" for _ in places))


def _chosen(sampler: LabelledSampler, count: int) -> list[Location]:
    """Return at most ``count`` of the sub-volumes that cover the labels, most of them with structures if there are."""
    tiles = sampler.tiles()
    order = [tiles[int(i)] for i in (Address(0) / "held-out").generator().permutation(len(tiles))]
    if len(tiles) > count:
        held = [sampler.holds_structure(place) for place in order]
        structures = [place for place, has in zip(order, held, strict=True) if has]
        rest = [place for place, has in zip(order, held, strict=True) if not has]
        wanted = max(round(_STRUCTURES * count), count - len(rest))
        order = [*structures[:wanted], *rest][:count]
    order.sort(key=lambda place: not sampler.holds_structure(place))  # samples show some
    return order
