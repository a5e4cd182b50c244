from __future__ import annotations

import numpy as np
import pytest

from genesis3d.data.phantoms import thorax
from genesis3d.io.itk_filters.body import body_box
from genesis3d.io.itk_filters.resample import grid_of_spacing, resampled, resampled_onto
from genesis3d.volume import Geometry, Volume

TILT = ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), (0.0, 0.6, 0.8))


def ramp(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Volume:
    """A scan whose value is a linear function of place, on a tilted grid."""
    geometry = Geometry(shape, spacing, (5.0, -3.0, 20.0), TILT)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    return Volume((geometry.to_world(index) @ [1.0, 2.0, -3.0]).astype(np.float32)[None], geometry, "CT", "HU", "ramp")


@pytest.mark.parametrize("spacing", [(2.0, 1.5, 3.1), (0.7, 0.5, 1.0)])
def test_a_resampled_scan_says_the_same_at_the_same_place(spacing: tuple[float, float, float]) -> None:
    before = ramp((14, 22, 18), (1.5, 1.0, 2.0))
    after = resampled(before, spacing)
    assert after.geometry.spacing == spacing
    assert after.geometry.direction == TILT
    assert after.unit == "HU"
    index = np.stack(np.meshgrid(*(np.arange(n) for n in after.geometry.shape), indexing="ij"), axis=-1)
    expected = after.geometry.to_world(index) @ [1.0, 2.0, -3.0]
    inner = tuple(slice(n // 3, n - n // 3) for n in after.geometry.shape)
    np.testing.assert_allclose(after.data[0][inner], expected[inner], atol=0.05)


def test_the_new_grid_covers_the_old_one_centre_on_centre() -> None:
    old = Geometry((20, 31, 17), (2.5, 0.7, 0.8), (1.0, 2.0, 3.0), TILT)
    new = grid_of_spacing(old, (2.0, 1.4, 1.4))
    for n, s, m, t in zip(old.shape, old.spacing, new.shape, new.spacing, strict=True):
        assert abs(n * s - m * t) <= t / 2 + 1e-9
    middle = [old.to_world(tuple((n - 1) / 2 for n in old.shape)), new.to_world(tuple((n - 1) / 2 for n in new.shape))]
    np.testing.assert_allclose(middle[0], middle[1], atol=1e-9)


def test_the_same_spacing_changes_nothing() -> None:
    volume = ramp((5, 6, 7), (1.0, 1.0, 1.0))
    assert resampled(volume, (1.0, 1.0, 1.0004)) is volume


def test_what_the_coarser_grid_cannot_show_is_smoothed_away() -> None:
    stripes = np.tile(np.arange(60) % 2, (12, 12, 1)).astype(np.float32)
    coarse = resampled(Volume(stripes[None], Geometry(stripes.shape)), (1.0, 1.0, 3.0))
    assert coarse.geometry.shape == (12, 12, 20)
    assert float(np.abs(coarse.data - 0.5).max()) < 0.12  # every third voxel would be 0 or 1


def test_onto_another_grid_the_outside_gets_its_value() -> None:
    small = Volume(np.ones((1, 4, 4, 4), np.float32), Geometry((4, 4, 4)))
    big = resampled_onto(small, Geometry((8, 4, 4)), -7.0)
    np.testing.assert_array_equal(big.data[0, :4], 1.0)
    np.testing.assert_array_equal(big.data[0, 5:], -7.0)


def test_the_box_of_a_thorax_leaves_air_and_table_out() -> None:
    scan = thorax((32, 96, 96))
    wide = np.full((32, 150, 140), -1000, np.int16)
    wide[:, 20:116, 30:126] = scan.data[0]
    wide[:, 140:142, 10:130] = 200  # a table top
    volume = Volume(wide[None], Geometry(wide.shape, scan.geometry.spacing), "CT", "HU", "wide")
    start, shape = body_box(volume, margin=8.0)
    stop = np.add(start, shape)
    body = np.argwhere(scan.data[0] > -300) + [0, 20, 30]
    low, high = np.percentile(body, 0.5, axis=0), np.percentile(body, 99.5, axis=0)
    assert (start <= low).all()
    assert (stop >= high).all()
    assert start[1] > 5
    assert stop[1] < 140
    assert start[2] > 10
    assert stop[2] < 135


def test_other_modalities_keep_their_foreground_and_empty_scans_their_grid() -> None:
    data = np.random.default_rng(0).normal(5, 2, (20, 40, 40)).astype(np.float32)
    data[5:15, 10:30, 12:28] += 300
    start, shape = body_box(Volume(data[None], Geometry(data.shape), "MR"), margin=2.0)
    # found on a grid of 3 mm, so that the box may be up to three voxels wider on either side
    assert (np.subtract((3, 8, 10), start) >= 0).all()
    assert (np.subtract((3, 8, 10), start) <= 3).all()
    assert (np.add(start, shape) >= (17, 32, 30)).all()
    assert (np.add(start, shape) <= (20, 35, 33)).all()
    flat = Volume(np.zeros((1, 6, 7, 8)), Geometry((6, 7, 8)), "MR")
    assert body_box(flat) == ((0, 0, 0), (6, 7, 8))
