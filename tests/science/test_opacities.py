"""Opacities put into lungs (science/opacities.py), and hidden blocks (science/blocks.py)."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from genesis3d.data.phantoms import thorax
from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS

SPACING = (6.0, 2.4, 2.4)


@pytest.fixture(autouse=True)
def science(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folder importable; its transformations are known during the test alone."""
    TRANSFORMS.names()
    monkeypatch.setattr(TRANSFORMS, "_classes", dict(TRANSFORMS._classes))
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "science"))


@pytest.fixture
def opacities() -> ModuleType:
    """Return the module."""
    return importlib.import_module("opacities")


@pytest.fixture(scope="module")
def lung() -> np.ndarray:
    """Return a sub-volume through both lungs of the phantom, [-1000, 200] HU as [0, 1]."""
    scan = thorax((24, 96, 96), (12.0, 4.0, 4.0)).data[0].astype(np.float32)
    return ((scan[6:14] + 1000) / 1200).clip(0, 1)


def test_opacities_brighten_the_lungs_and_nothing_else(opacities: ModuleType, lung: np.ndarray) -> None:
    lungs = opacities.lungs_of(lung)
    depth = opacities.depth_in(lungs, SPACING)
    rng = np.random.default_rng(0)
    changed, weight = opacities.with_opacities(rng, lung, lungs.astype(np.float32), depth, SPACING)
    assert lungs.mean() > 0.05
    assert (changed >= lung).all()
    assert changed.max() <= 1
    assert (changed[~lungs] == lung[~lungs]).all()
    assert (changed[weight > 0.5] > lung[weight > 0.5]).mean() > 0.9


def test_no_lung_no_opacity(opacities: ModuleType) -> None:
    tissue = np.full((8, 16, 16), 0.3, np.float32)
    nothing = np.zeros_like(tissue)
    changed, weight = opacities.with_opacities(np.random.default_rng(0), tissue, nothing, nothing, SPACING)
    assert (changed == tissue).all()
    assert not weight.any()


def test_blocks_hide_about_their_share_behind_the_mean() -> None:
    blocks = importlib.reload(importlib.import_module("blocks"))
    x = torch.rand(3, 1, 16, 32, 32)
    transform = blocks.Blocks(block=(4, 8, 8), share=0.6)
    params = transform.draw((1, 16, 32, 32), [Address(0, slot=slot) for slot in range(3)])
    hidden = transform.apply(x, params) != x
    for case, share in enumerate(transform.masked_fraction(params)):
        assert hidden[case].float().mean() == pytest.approx(share, abs=1e-6)
        assert 0.3 < share < 0.9
    assert transform.apply(x, params)[0][hidden[0]].unique().numel() == 1
