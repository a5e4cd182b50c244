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
    a model file keeps.
    """

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the task around ``network``: a configuration (built from ``seed``) or a module as it is."""
        raise NotImplementedError


TASKS: Registry[Task] = Registry("task", ["genesis3d.tasks.restoration"])
