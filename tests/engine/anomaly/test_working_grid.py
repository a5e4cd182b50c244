"""The working grid: anchored in space, averaged or interpolated, and back."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.anomaly.placing import anchored_index, anchored_windows
from genesis3d.anomaly.working import from_working, to_working, working_mask
from genesis3d.volume import Geometry, Volume

TURN = np.radians(20.0)
OBLIQUE = ((1.0, 0.0, 0.0), (0.0, np.cos(TURN), -np.sin(TURN)), (0.0, np.sin(TURN), np.cos(TURN)))


def scan(shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int = 0) -> Volume:
    data = np.random.default_rng(seed).integers(-1000, 200, (1, *shape)).astype(np.int16)
    return Volume(data, Geometry(shape, spacing, (-101.3, 7.7, 33.1), OBLIQUE), "CT", "HU", "scan")


@pytest.mark.parametrize("spacing", [(1.25, 0.7, 0.7), (2.5, 0.9, 1.1), (6.1, 1.5, 0.7), (9.0, 3.0, 2.1)])
@pytest.mark.parametrize("phase", [0.0, 2.0])
def test_a_crop_gives_the_crop(spacing: tuple[float, float, float], phase: float) -> None:
    whole = scan((40, 60, 50), spacing)
    crop = whole.crop((7, 11, 5), (30, 41, 42))
    big, small = (to_working(one, (6.0, 2.0, 2.0), phase) for one in (whole, crop))
    assert big.geometry.spacing == small.geometry.spacing
    offset = np.subtract(anchored_index(small.geometry), anchored_index(big.geometry))
    corner = big.geometry.to_index(small.geometry.to_world((0, 0, 0)))
    np.testing.assert_allclose(corner, offset, atol=1e-6)
    inner = tuple(slice(2, n - 2) for n in small.geometry.shape)
    there = tuple(slice(o + 2, o + n - 2) for o, n in zip(offset, small.geometry.shape, strict=True))
    np.testing.assert_allclose(small.data[0][inner], big.data[0][there], atol=2e-3)


def test_boxes_are_means_and_lines_stay_lines() -> None:
    volume = Volume(
        np.zeros((1, 12, 8, 8), np.int16), Geometry((12, 8, 8), (2.0, 1.0, 2.0), (1.0, 0.5, 0.0)), "CT", "HU"
    )
    ramp = volume.with_data(np.broadcast_to(10 * np.arange(12).reshape(12, 1, 1), (12, 8, 8)).astype(np.int16))
    work = to_working(ramp, (6.0, 2.0, 2.0))
    assert work.geometry.shape == (4, 4, 8)
    np.testing.assert_allclose(work.data[0, :, 0, 0], [10, 40, 70, 100])
    back = from_working(work, ramp)
    np.testing.assert_allclose(back[0, 1:11, 3, 3], 10 * np.arange(1, 11), rtol=1e-5)
    assert work.data.dtype == back.dtype == np.float32


def test_slices_as_thick_as_wanted_are_not_blurred() -> None:
    thick = scan((9, 20, 20), (5.5, 2.0, 2.1))
    work = to_working(thick)
    np.testing.assert_array_equal(work.data, thick.data.astype(np.float32))
    np.testing.assert_array_equal(from_working(work, thick), work.data)


def test_values_are_clipped_before_they_are_averaged_and_gaps_are_the_smallest() -> None:
    hard = scan((6, 20, 20), (3.0, 1.0, 1.0)).with_data(np.full((6, 20, 20), -2048.0, np.float32))
    hard.data[0, :, 10:] = 30_000
    hard.data[0, 0, 0, 0] = np.nan
    work = to_working(hard, clip=(-1000.0, 200.0))
    assert work.data.min() == pytest.approx(-1000)
    assert work.data.max() == pytest.approx(200)
    assert np.isfinite(work.data).all()


def test_only_the_box_comes_back() -> None:
    fine = scan((10, 30, 30), (2.0, 1.0, 1.0))
    work = to_working(fine)
    box = (slice(2, 8), slice(5, 20), slice(0, 30))
    part = from_working(work, fine, box)
    assert not part[0, 0].any()
    np.testing.assert_allclose(part[(0, *box)], from_working(work, fine)[(0, *box)], rtol=1e-5, atol=1e-3)
    mask = fine.with_data(np.ones((10, 30, 30), np.uint8))
    assert working_mask(mask).all()


def test_windows_stand_in_space_and_cover_what_is_marked() -> None:
    geometry = Geometry((30, 90, 80), (6.0, 2.0, 2.0), (3.0, -99.0, 31.0))
    inside = np.zeros((30, 90, 80), bool)
    inside[3:27, 20:70, 10:40] = True
    plan = anchored_windows(geometry, (16, 64, 64), 0.25, inside, 8)
    seen = np.zeros((30, 90, 80), bool)
    for start in plan.starts:
        seen[tuple(slice(max(0, s), s + n) for s, n in zip(start, plan.size, strict=True))] = True
    assert seen[inside].all()
    first = anchored_index(geometry)
    crop = geometry.cropped((2, 7, 0), (28, 83, 75))
    moved = anchored_windows(crop, (16, 64, 64), 0.25, inside[2:, 7:, :75], 8)
    world = {tuple(np.add(start, first)) for start in plan.starts}
    assert {tuple(np.add(start, anchored_index(crop))) for start in moved.starts} == world
    assert anchored_windows(geometry, (16, 64, 64), 0.25, np.zeros((30, 90, 80), bool), 8).starts == ()
