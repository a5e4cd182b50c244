"""Regions of a mask: volumes, places and means, on an oblique grid, and the size limit."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.errors import GeometryError
from genesis3d.io.itk_filters.regions import find_regions
from genesis3d.volume import Geometry, Volume

C, S = np.cos(0.3), np.sin(0.3)
GEOMETRY = Geometry((6, 20, 20), (4.0, 1.5, 2.0), (10.0, -20.0, 5.0), ((1.0, 0.0, 0.0), (0.0, C, -S), (0.0, S, C)))


def test_figures_of_regions() -> None:
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[1:3, 2:6, 2:6] = True  # 32 voxels
    mask[4, 15, 10:13] = True  # 3 voxels
    mask[0, 19, 19] = True
    value = np.random.default_rng(0).normal(size=GEOMETRY.shape).astype(np.float32)
    volume = Volume(mask[None], GEOMETRY, name="map")
    labels, found = find_regions(volume, {"value": volume.with_data(value)}, least_ml=0.03)
    assert labels.data.dtype == np.int32
    assert labels.geometry == GEOMETRY
    assert [r.label for r in found] == [1, 2]
    assert found[0].volume_ml == pytest.approx(32 * 0.012)
    assert found[1].volume_ml == pytest.approx(3 * 0.012)
    assert found[0].means["value"] == pytest.approx(value[1:3, 2:6, 2:6].mean(), rel=1e-5)
    assert found[1].peaks["value"] == pytest.approx(value[4, 15, 10:13].max())
    np.testing.assert_allclose(found[0].centroid, GEOMETRY.to_world((1.5, 3.5, 3.5)), atol=1e-9)
    assert found[1].centre == (4, 15, 11)
    assert labels.data[0][found[0].centre] == 1
    assert (labels.data[0] > 0).sum() == 35
    assert not labels.data[0, 0, 19, 19]


def test_a_ring_is_gone_to_at_one_of_its_own_voxels() -> None:
    h, w = np.indices((20, 20))
    ring = np.abs(np.hypot(h - 10, w - 10) - 6) < 1
    mask = np.zeros(GEOMETRY.shape, bool)
    mask[2] = ring
    _, found = find_regions(Volume(mask[None], GEOMETRY), {})
    assert mask[found[0].centre]


def test_nothing_found_and_other_grids() -> None:
    empty = Volume(np.zeros((1, *GEOMETRY.shape), bool), GEOMETRY)
    labels, found = find_regions(empty, {})
    assert found == []
    assert not labels.data.any()
    other = Volume(np.zeros((1, 2, 2, 2)), Geometry((2, 2, 2)))
    with pytest.raises(GeometryError, match="value: expected the grid of the mask"):
        find_regions(empty, {"value": other})
