"""The levels of a network as groups of weights: which are trained at a step, and how fast each follows its gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from genesis3d.training.settings import PlanSettings

__all__ = ["Level", "Levels"]


@dataclass(frozen=True, eq=False)
class Level:
    """One level of a network.

    Attributes
    ----------
    name : ``encoder-1`` (at full resolution) and so on to the bottleneck, ``decoder-1`` and so on back, ``head``
    part : encoder, decoder or head
    prefixes : of its weights' names in the network
    depth : levels between it and the output; the head's is 0
    parameters, norms : its weights, and its normalisations with running statistics
    """

    name: str
    part: str
    prefixes: tuple[str, ...]
    depth: int
    parameters: list[nn.Parameter]
    norms: Sequence[nn.Module]


class Levels:
    """The levels of a task's network under a plan, from input to output; what is no part of the network is head.

    Attributes
    ----------
    frozen : prefixes of the names, in the network, of what is frozen now

    Raises
    ------
    ConfigError
        For a network that does not say which of its weights are encoder, decoder and head.
    """

    def __init__(self, plan: PlanSettings, task: nn.Module) -> None:
        self.plan = plan
        self.levels = _levels(task)
        self.frozen: tuple[str, ...] = ()

    def optimiser_groups(self) -> list[dict[str, Any]]:
        """Return the groups for an optimiser, one a level, each with its name."""
        return [{"params": level.parameters, "name": level.name} for level in self.levels]

    def factors(self) -> list[float]:
        """Return the factor of each group's learning rate; that of what is frozen has no effect."""
        return [self.plan.layer_decay**level.depth for level in self.levels]

    def begin(self, step: int, total: int | None, leg: int = 0) -> None:
        """Freeze and thaw for the step number ``step`` (from 0) of ``total``, in the leg that began at step ``leg``.

        What is frozen has no gradient, so that no optimiser touches it, and its normalisations keep their statistics
        and use them.  To be called before every step: measuring puts all normalisations back into training.
        """
        trained = self.plan.trained(step, total, leg)
        frozen = [level for level in self.levels if level.part not in trained]
        self.frozen = tuple(prefix for level in frozen for prefix in level.prefixes)
        for level in self.levels:
            on = level.part in trained
            for parameter in level.parameters:
                parameter.requires_grad_(on)
            for norm in level.norms:
                norm.train(on)


def _levels(task: nn.Module) -> list[Level]:
    from torch import nn
    from torch.nn.modules.batchnorm import _NormBase

    network = task.network
    config = getattr(network, "config", None)
    if config is None or not isinstance(network, nn.Module):
        raise ConfigError("optimiser.plan: expected a network that names its levels, got one without a configuration")
    parts = config.parts
    named = [(f"encoder-{i}", "encoder", level) for i, level in enumerate(parts.encoder, 1)]
    named += [(f"decoder-{i}", "decoder", level) for i, level in enumerate(parts.decoder, 1)]
    named.append(("head", "head", parts.head))
    weights, modules, levels = dict(network.named_parameters()), dict(network.named_modules()), []
    for place, (name, part, prefixes) in enumerate(named):
        parameters = [weight for key, weight in weights.items() if key.startswith(prefixes)]
        norms = [m for key, m in modules.items() if f"{key}.".startswith(prefixes) and isinstance(m, _NormBase)]
        levels.append(Level(name, part, prefixes, len(named) - 1 - place, parameters, norms))
    known = {id(weight) for level in levels for weight in level.parameters}
    levels[-1].parameters.extend(weight for weight in task.parameters() if id(weight) not in known)
    return levels
