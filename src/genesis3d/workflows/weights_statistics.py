"""The statistics of imported batch norms, measured on the user's own scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.data.cases import LoadedCases, find_cases, load_cases
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.data.store import is_store, open_store
from genesis3d.errors import ModelError
from genesis3d.training.pairs import PairMaker
from genesis3d.training.statistics import WINDOWS, measure_statistics
from genesis3d.transforms import Chain

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genesis3d.networks.model_file import ModelCard

__all__ = ["re_estimate"]

_SCANS = 16  # as many as half the sub-volumes; more would be read for nothing
_BATCH = 2


def re_estimate(module: nn.Module, card: ModelCard, scans: Sequence[str | Path]) -> list[str]:
    """Set the running statistics of ``module`` to those over untransformed sub-volumes of ``scans`` (or one store).

    Returns sentences to be said.

    Raises
    ------
    ScanError, DomainError, ModelError
        When no scan can be read, or the scans have other channels than the network.
    """
    from genesis3d.inference.predictor import pick_device

    loaded = _loaded(card, [str(scan) for scan in scans])
    channels = loaded.volumes[0].channels
    if channels != card.network.in_channels:
        raise ModelError(f"expected scans of {card.network.in_channels} channel(s) for the network, got {channels}")
    sampler = Sampler(SamplingConfig(), loaded.volumes, loaded.scales)
    pairs = PairMaker(sampler, Chain(steps=()), seed=0, batch=_BATCH, stream="statistics")
    device = pick_device()
    measure_statistics(_with_target(module.to(device)), pairs, device, half=False)
    module.cpu().eval()
    said = f"Running statistics were measured on {WINDOWS} sub-volumes of {len(loaded)} scan(s)."
    return [said, *loaded.warnings, *sampler.warnings]


def _loaded(card: ModelCard, scans: Sequence[str]) -> LoadedCases:
    """Return some of the scans, evenly spread, mapped as the card says; of a store, all: it is read box by box."""
    if len(scans) == 1 and is_store(scans[0]):
        stored = open_store(scans[0]).loaded()
        if stored.intensity != card.intensity:
            raise ModelError(
                f"{scans[0]}: expected scans prepared by {card.intensity.to_dict()}, as the weights want them, got "
                f"{stored.intensity.to_dict()}"
            )
        return stored
    found = find_cases(scans)
    every = max(1, -(-len(found) // _SCANS))
    loaded = load_cases(found[::every], card.intensity)
    return replace(loaded, warnings=(*found.skipped, *loaded.warnings))


def _with_target(module: nn.Module) -> nn.Module:
    """Return ``module`` as a task: what measures statistics hands it input and target."""
    from torch import nn

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = module

        def forward(self, input: Tensor, target: Tensor) -> Any:
            return self.network(input)

    return Plain()
