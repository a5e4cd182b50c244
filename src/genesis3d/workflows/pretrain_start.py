"""Beginning a training with the weights of a model."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from genesis3d.errors import ModelError
from genesis3d.networks.model_file import read_model

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.intensity import Intensity
    from genesis3d.networks import Network

__all__ = ["Parent", "begin_with"]


@dataclass(frozen=True)
class Parent:
    """The model that a training began with: its title and SHA-256 as cards keep them, and its intensity."""

    text: str
    intensity: Intensity

    def differences(self, intensity: Intensity) -> list[str]:
        """Return a sentence when the run maps scans to [0, 1] by another ``intensity`` than its parent did."""
        if intensity == self.intensity:
            return []
        return [
            f"the run maps intensities by {intensity.to_dict()}, the model it begins with by {self.intensity.to_dict()}"
        ]


def begin_with(model: str, network: Network, task: nn.Module) -> Parent:
    """Put the weights of ``model`` (a file, a run or a name of the library) into ``task``, built for ``network``.

    Raises
    ------
    ModelError
        When there is no such model, or its network is another; the sentence names the settings that differ.
    """
    found = read_model(model)
    theirs, ours = found.card.network.to_dict(), network.to_dict()
    if theirs != ours:
        names = [name for name in sorted(theirs.keys() | ours.keys()) if theirs.get(name) != ours.get(name)]
        pairs = ", ".join(f"network.{name}={theirs.get(name)} (the run: {ours.get(name)})" for name in names)
        raise ModelError(f"start: expected a model of the run's own network, got one of {pairs}")
    task.network.load_state_dict(found.module.state_dict(), strict=True)  # type: ignore[union-attr]  # a task's network
    digest = sha256(found.path.read_bytes()).hexdigest()
    return Parent(f"{found.card.title or found.path.stem} (SHA-256 {digest})", found.card.intensity)
