"""A small chest and small models for the recipes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.anomaly.base import RECIPES, Recipe, Scene
from genesis3d.anomaly.restoring import RestoreSettings
from genesis3d.intensity import Window
from genesis3d.networks.model_file import LoadedModel, ModelCard
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume

SHAPE, SPACING = (24, 36, 48), (3.0, 2.5, 2.5)
MIDDLE = (12, 18, 35)  # of the opacity


def chest_volume() -> tuple[Volume, Volume, np.ndarray]:
    """Two noisy lungs of -860 HU in a body with an opacity of -350 HU in the left one; lungs; and the opacity."""
    d, h, w = np.indices(SHAPE)
    hu = np.full(SHAPE, -1000.0)
    hu[((h - 18) / 16) ** 2 + ((w - 24) / 22) ** 2 <= 1] = 40
    lungs = np.zeros(SHAPE, np.uint8)
    for value, centre in ((2, 13), (1, 35)):
        lungs[((d - 12) / 10) ** 2 + ((h - 18) / 11) ** 2 + ((w - centre) / 8.5) ** 2 <= 1] = value
    hu[lungs > 0] = -860
    place = [((a - m) * s) ** 2 for a, m, s in zip((d, h, w), MIDDLE, SPACING, strict=True)]
    opacity = sum(place) <= 10**2
    hu[opacity] = -350
    hu += np.random.default_rng(0).normal(0, 15, SHAPE)
    scan = Volume(hu.round().astype(np.int16)[None], Geometry(SHAPE, SPACING, (-50.0, 20.0, 4.0)), "CT", "HU", "chest")
    return scan, scan.with_data(lungs, modality=None, unit=None), opacity


class Smooth(torch.nn.Module):
    """Restores what changes slowly: the mean of 1x9x9 voxels; an opacity is where a voxel is brighter than that."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += len(x)
        change = torch.nn.functional.avg_pool3d(x, (1, 9, 9), 1, (0, 4, 4), count_include_pad=False) - x
        return change if self.outputs == 1 else torch.cat([change, -60 * change - 3], dim=1)


def card(needs: str, **changes: Any) -> ModelCard:
    values: dict[str, Any] = {"patch": (8, 32, 32), "modality": "CT"}
    if needs == "opacity":
        values |= {
            "title": "found", "task": {"name": "opacity"}, "activation": "opacity",
            "network": UNet3d(width=2, norm="batch", decoder="nearest", flat=1, out_channels=2),
            "intensity": Window(low=-1000, high=200), "working_spacing": (6.0, 2.0, 2.0),
        }  # fmt: skip
    else:
        values |= {"title": "restored", "network": UNet3d(width=2, norm="batch"), "activation": "residual",
                   "task": {"name": "restoration"}}  # fmt: skip
    return ModelCard(**(values | changes))


def loaded(needs: str, module: torch.nn.Module | None = None, **changes: Any) -> LoadedModel:
    """A model that is :class:`Smooth`, or ``module``."""
    made = card(needs, **changes)
    return LoadedModel(module or Smooth(made.network.out_channels), made, Path(f"{needs}.safetensors"))


def untrained(needs: str, **changes: Any) -> LoadedModel:
    """A network with random weights, which sees far."""
    return loaded(needs, card(needs, **changes).network.build(3).eval(), **changes)


def running(**changes: Any) -> RestoreSettings:
    return RestoreSettings(**({"device": "cpu", "precision": "32"} | changes))


QUICK: dict[str, dict[str, Any]] = {
    "difference": {"windows": "anchored"},  # as it stands in space: a setting of the plain difference alone
    "sweep": {"blocks_mm": (12.0,)},
    "iterative": {"rounds": 2},
}


def recipe_of(name: str) -> Recipe:
    """The recipe with settings for a test."""
    return RECIPES.parse({"name": name} | QUICK.get(name, {}))


def ended(work: Any) -> Any:
    """Run a generator to its end and return what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@pytest.fixture
def chest() -> tuple[Volume, Volume, np.ndarray]:
    return chest_volume()


@pytest.fixture
def kit() -> Any:
    """The helpers of this module, for tests in other files."""
    import types

    helpers: dict[str, Callable[..., Any]] = {
        "chest_volume": chest_volume, "Smooth": Smooth, "card": card, "loaded": loaded, "untrained": untrained,
        "running": running, "recipe_of": recipe_of, "ended": ended, "Scene": Scene,
    }  # fmt: skip
    return types.SimpleNamespace(**helpers)
