"""What every task is: a configuration that wraps a network into a module with a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis3d.registry import Named, Registry

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["TASKS", "Task"]


class Task(Named):
    """A training objective.

    ``build(network)`` gives a module whose ``forward(input, target)`` returns a dictionary with the scalar ``loss``,
    the ``output`` shown to people, and scalar figures by name; its attribute ``network`` is the network whose weights
    a model file keeps.  A module whose targets are no intensities also has the methods ``vitals(output, target)``
    (what :mod:`genesis3d.training.collapse` watches) and ``example(image)``, a target for trial steps from an image (B,
    C, D, H, W) in [0, 1], and the attribute ``figures``, names of the scalars worth a curve while it trains.
    """

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task around ``network``: a configuration (built from ``seed``) or a module as it is."""
        raise NotImplementedError


TASKS: Registry[Task] = Registry(
    "task", [f"genesis3d.tasks.{name}" for name in ("restoration", "opacity", "segmentation", "classification")]
)
