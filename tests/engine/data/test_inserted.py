"""Inserted opacities: exact volumes and masks, noise kept, another place for another seed, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from genesis3d.data.growth import arrival, depth_in
from genesis3d.data.inserted import Insertion, inserted
from genesis3d.data.phantoms import thorax
from genesis3d.errors import ConfigError, DomainError, GeometryError
from genesis3d.io.itk_filters.components import components
from genesis3d.volume import Volume


@pytest.fixture(scope="module")
def scan() -> Volume:
    return thorax((48, 96, 96))


@pytest.fixture(scope="module")
def lungs(scan: Volume) -> Volume:
    dark = (scan.data[0] > -980) & (scan.data[0] < -650)
    parts, _ = components(dark, neighbours=6)
    sides = np.zeros(dark.shape, np.uint8)
    middle = dark.shape[2] // 2
    lung = np.isin(parts, (1, 2))
    sides[..., middle:][lung[..., middle:]] = 1
    sides[..., :middle][lung[..., :middle]] = 2
    return scan.with_data(sides, modality=None, unit=None)


def millilitres(mask: Volume) -> float:
    return float((mask.data > 0).sum() * np.prod(mask.geometry.spacing) / 1000)


@pytest.mark.parametrize("settings", [{"volume_ml": 60, "regions": 3}, {"share_percent": 70, "gravity": 0.8}])
def test_volume_is_met_inside_one_lung(scan: Volume, lungs: Volume, settings: dict[str, float]) -> None:
    made = Insertion.parse(settings)
    _, mask = inserted(scan, lungs, made, seed=1)
    sides = np.unique(lungs.data[mask.data > 0])
    assert len(sides) == 1
    assert sides[0] in (1, 2)
    voxel = float(np.prod(scan.geometry.spacing)) / 1000
    wanted = made.volume_ml or 0.7 * float((lungs.data == sides[0]).sum()) * voxel
    assert millilitres(mask) == pytest.approx(wanted, abs=voxel)


def test_contrast_noise_and_outside(scan: Volume, lungs: Volume) -> None:
    made, mask = inserted(scan, lungs, Insertion(volume_ml=150, contrast=200, softness_mm=8), seed=2)
    change = made.data.astype(np.float64) - scan.data
    inside = mask.data > 0
    assert made.data.dtype == scan.data.dtype
    assert change[inside].mean() == pytest.approx(200, abs=2)
    assert change.min() == 0
    assert not change[lungs.data == 0].any()
    # the change is smooth, so the scan's own noise is what differs from voxel to voxel
    rough = np.diff(change[0], axis=2)[inside[0, :, :, 1:] & inside[0, :, :, :-1]]
    assert np.abs(rough).mean() < 0.25 * 200


def test_equal_seeds_give_equal_scans_and_others_do_not(scan: Volume, lungs: Volume) -> None:
    settings = Insertion(volume_ml=40)
    first, mask = inserted(scan, lungs, settings, seed=5)
    again, _ = inserted(scan, lungs, settings, seed=5)
    _, other = inserted(scan, lungs, settings, seed=6)
    assert np.array_equal(first.data, again.data)
    assert not np.array_equal(mask.data, other.data)


def test_regions_stay_apart(scan: Volume, lungs: Volume) -> None:
    _, mask = inserted(scan, lungs, Insertion(volume_ml=45, regions=3), seed=3)
    _, sizes = components(mask.data[0] > 0)
    voxel = float(np.prod(scan.geometry.spacing)) / 1000
    assert sum(size * voxel > 3 for size in sizes) == 3


def test_a_flipped_scan_comes_back_canonical_with_the_same_opacity(scan: Volume, lungs: Volume) -> None:
    direction = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    top = scan.geometry.to_world((scan.geometry.shape[0] - 1, 0, 0))
    grid = replace(scan.geometry, direction=direction, origin=(float(top[0]), float(top[1]), float(top[2])))
    turned = replace(scan, data=scan.data[:, ::-1], geometry=grid)
    marked = replace(lungs, data=lungs.data[:, ::-1], geometry=grid)
    settings = Insertion(volume_ml=40)
    made, _ = inserted(turned, marked, settings)
    plain, _ = inserted(scan, lungs, settings)
    assert np.array_equal(made.data, plain.data)
    assert made.as_source().geometry == grid


def test_growth_goes_around_what_is_no_lung() -> None:
    inside = np.ones((1, 5, 9), np.bool_)
    inside[0, :4, 4] = False
    times = arrival(inside, (1.0, 1.0, 1.0), np.ones(inside.shape, np.float32), (0, 0, 3))
    assert times[0, 0, 5] == pytest.approx(2 * (2 * np.sqrt(2) + 1) + 2 * (np.sqrt(2) - 1), abs=1.0)
    assert np.isinf(times[~inside]).all()


def test_depth_is_zero_between_region_and_rest_and_ignores_the_pleura() -> None:
    lung = np.ones((12, 12, 12), np.bool_)
    region = lung & (np.arange(12) < 6)
    depth = depth_in(region, lung & ~region, (2.0, 2.0, 2.0))
    assert depth[6, 6, 5] > 0 > depth[6, 6, 6]
    assert depth[6, 6, 5] + depth[6, 6, 6] == pytest.approx(0, abs=0.2)
    assert depth[6, 6, 0] == pytest.approx(depth[6, 6].max())


def test_refusals(scan: Volume, lungs: Volume) -> None:
    with pytest.raises(ConfigError, match="either volume_ml or share_percent"):
        Insertion.parse({})
    small = Insertion(volume_ml=20)
    with pytest.raises(DomainError, match="expected a CT in HU"):
        inserted(scan.with_data(scan.data, unit=None, modality="MR"), lungs, small)
    with pytest.raises(GeometryError, match="on the grid of"):
        inserted(scan, lungs.crop((0, 0, 0), (20, 96, 96)), small)
    with pytest.raises(DomainError, match="95 % of a lung"):
        inserted(scan, lungs, Insertion(volume_ml=8000))
    with pytest.raises(DomainError, match="without any voxel"):
        inserted(scan, lungs.with_data(np.zeros_like(lungs.data)), small)
