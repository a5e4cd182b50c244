"""Small scans and a small training, for the tests of the loop, its files and its command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genesis3d.data.cases import Case, case_of
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.pretrain import PretrainConfig

TINY: dict[str, Any] = {
    "network": {"name": "unet3d", "width": 4},
    "sampling": {"patch": (16, 16, 16)},
    "chain": "gentle",
    "steps": 6,
    "batch": 2,
    "device": "cpu",
    "precision": "32",
    "threads": 1,
    "seed": 7,
    "validation": {"windows": 2, "every": 3},
    "keep": {"samples_every": 3, "every": 2, "checkpoints": 2, "seconds": 0},
}


def ball(seed: int, shape: tuple[int, int, int] = (24, 32, 32)) -> Volume:
    """A bright ball in air, in HU, with noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    hu = -900 + 900 * (z**2 + y**2 + x**2 < 0.4 + 0.3 * rng.random()) + 150 * np.sin(5 * x + seed)
    hu += rng.normal(0, 20, shape)
    geometry = Geometry(shape, (2.0, 1.0, 1.0))
    return Volume(hu[None].astype(np.int16), geometry, modality="CT", unit="HU", name=f"ball-{seed}")


@pytest.fixture(scope="session")
def balls() -> list[Case]:
    return [case_of(ball(seed)) for seed in (0, 1, 2)]


@pytest.fixture(scope="session")
def tiny() -> Callable[..., PretrainConfig]:
    """Make a configuration of six steps, with changes."""

    def make(**changes: Any) -> PretrainConfig:
        return PretrainConfig.parse(TINY | changes)

    return make


@pytest.fixture
def little_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure batch normalisation on few sub-volumes and under the run's own chain alone, to save time."""
    monkeypatch.setattr("genesis3d.training.statistics.WINDOWS", 2)
    monkeypatch.setattr("genesis3d.workflows.pretrain_setup.YARDSTICKS", ())
