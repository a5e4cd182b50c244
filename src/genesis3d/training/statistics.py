"""The statistics that batch normalisation uses after training, measured afresh instead of averaged along the way.

The running averages of a short training lag behind its weights, and batches that are mostly noise differ much from each
other: on an unseen scan they doubled the error of a young network against statistics measured on its present weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis3d.training.half import autocast
from genesis3d.training.memory import shares

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesis3d.training.pairs import Maker

__all__ = ["WINDOWS", "measure_statistics"]

# Sub-volumes behind the statistics; each costs a third of a training step's share.
WINDOWS = 32


def measure_statistics(
    task: nn.Module,
    pairs: Maker,
    device: torch.device,
    half: bool,
    size: int | None = None,
    frozen: tuple[str, ...] = (),
    windows: int | None = None,
) -> None:
    """Set the running mean and variance of all batch normalisations to those over fixed training sub-volumes.

    There are ``windows`` of them (None: :data:`WINDOWS`).  Those normalisations of the network whose names begin with
    one of ``frozen`` keep theirs, and use them.  All are computed ``size`` at a time, as in training (None: a batch),
    so that they fit the same memory.  Nothing else of ``task`` changes, and the result does not depend on the averages
    so far: a resumed run stays exact.
    """
    import torch
    from torch import nn

    kept = _within(task, frozen)
    norms = [m for m in task.modules() if type(m) is nn.BatchNorm3d or isinstance(m, nn.SyncBatchNorm)]
    norms = [norm for norm in norms if norm not in kept]
    if not norms:
        return
    training, momenta = task.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    task.train()
    for module in kept:
        module.training = False
    try:
        with torch.no_grad(), autocast(device, half):
            for step in range(-(-(windows or WINDOWS) // pairs.batch)):
                batch = pairs.pairs(step)
                for input, target in shares(size or pairs.batch, batch.input, batch.target):
                    task(input.to(device), target.to(device))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        task.train(training)


def _within(task: nn.Module, prefixes: tuple[str, ...]) -> set[nn.Module]:
    """Return the modules of the task's network whose names begin with one of ``prefixes``."""
    if not prefixes:
        return set()
    network: nn.Module = task.network  # type: ignore[assignment]  # every task has one
    return {module for name, module in network.named_modules() if f"{name}.".startswith(prefixes)}
