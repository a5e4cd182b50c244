"""sample_data.py: the samples open as layers in patient space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_genesis import sample_data
from napari_genesis.layers import volume_from_layer

pytest.importorskip("genesis3d.data.phantoms")


@pytest.mark.parametrize(
    ("sample", "kinds"),
    [("thorax", ["image"]), ("thorax_with_opacity", ["image", "labels"]), ("chirality", ["image"])],
)
def test_a_sample_opens_and_is_a_scan(sample: str, kinds: list[str]) -> None:
    from napari.layers import Layer

    found: list[Any] = getattr(sample_data, sample)()
    assert [kind for _, _, kind in found] == kinds
    layers = [Layer.create(*item) for item in found]
    for layer in layers:
        volume = volume_from_layer(layer)
        assert volume.geometry.canonical_orientation().is_identity
        assert np.isfinite(volume.data).all()
    assert len({layer.data.shape for layer in layers}) == 1
