"""Morphology by distance against plain structuring elements, components and medians against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from genesis3d.io.itk_filters.coarse import coarsen, factors, refine
from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.median import median
from genesis3d.io.itk_filters.morphology import bounds, closed, dilated, eroded, fill_slices, opened

SPACING = (2.5, 1.0, 0.8)


def blob(seed: int, share: float = 0.3, shape: tuple[int, int, int] = (12, 20, 24)) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1.5)
    return noise > np.quantile(noise, 1 - share)


def ball(radius: float) -> np.ndarray:
    reach = [int(radius / s) for s in SPACING]
    grid = np.meshgrid(*[np.arange(-r, r + 1) * s for r, s in zip(reach, SPACING, strict=True)], indexing="ij")
    return np.sqrt(sum(axis**2 for axis in grid)) <= radius + 1e-6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.9, 1.7, 2.7, 4.15]))
def test_dilation_and_erosion_are_those_of_a_ball(seed: int, radius: float) -> None:
    mask = blob(seed)
    np.testing.assert_array_equal(dilated(mask, SPACING, radius), ndimage.binary_dilation(mask, ball(radius)))
    expected = ndimage.binary_erosion(mask, ball(radius), border_value=1)
    np.testing.assert_array_equal(eroded(mask, SPACING, radius), expected)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1.7, 3.0, 5.0]))
def test_opening_shrinks_closing_grows_and_opening_is_settled_at_once(seed: int, radius: float) -> None:
    mask = blob(seed)
    small, large = opened(mask, SPACING, radius), closed(mask, SPACING, radius)
    assert not (small & ~mask).any()
    assert not (mask & ~large).any()
    np.testing.assert_array_equal(opened(small, SPACING, radius), small)


def test_closing_bridges_a_gap_narrower_than_its_ball_only() -> None:
    mask = np.zeros((5, 40, 40), bool)
    mask[:, 5:15, 5:35] = mask[:, 18:30, 5:35] = True
    assert closed(mask, (1.0, 1.0, 1.0), 3.0)[2, 16, 20]
    assert not closed(mask, (1.0, 1.0, 1.0), 1.0)[2, 16, 20]


def test_empty_and_full_masks() -> None:
    none, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    for function in (dilated, eroded, opened, closed):
        assert not function(none, SPACING, 2.0).any()
        assert function(full, SPACING, 2.0).all()


def test_holes_of_slices_are_filled_up_to_a_size() -> None:
    mask = np.ones((2, 20, 20), bool)
    mask[0, 3:5, 3:5] = mask[0, 8:16, 8:16] = mask[1, 5, :] = False
    assert fill_slices(mask)[0].all()
    small = fill_slices(mask, largest=4)
    assert small[0, 3:5, 3:5].all()
    assert not small[0, 8:16, 8:16].any()
    assert not fill_slices(mask)[1, 5].any()  # a slit through the border is no hole


def test_components_are_sorted_and_small_ones_left_out() -> None:
    mask = np.zeros((4, 10, 10), bool)
    mask[0, 0, 0] = True
    mask[1:3, 4:6, 4:6] = True
    mask[3, 9, 0:3] = True
    labels, sizes = components(mask)
    assert sizes == [8, 3, 1]
    assert (labels > 0).sum() == 12
    assert components(mask, least=2)[1] == [8, 3]
    diagonal = np.eye(3, dtype=bool)[None]
    assert components(diagonal)[1] == [3]
    assert components(diagonal, neighbours=6)[1] == [1, 1, 1]
    assert components(np.zeros((2, 2, 2), bool))[1] == []


def test_median_is_scipys() -> None:
    array = np.random.default_rng(1).normal(size=(6, 9, 11)).astype(np.float32)
    np.testing.assert_array_equal(median(array, (1, 1, 1)), ndimage.median_filter(array, 3, mode="nearest"))
    np.testing.assert_array_equal(median(array, (0, 1, 2)), ndimage.median_filter(array, (1, 3, 5), mode="nearest"))


def test_bounds() -> None:
    mask = np.zeros((5, 6, 7), bool)
    mask[2, 3, 4] = True
    assert bounds(mask) == (slice(2, 3), slice(3, 4), slice(4, 5))
    assert mask[bounds(mask, (9, 0, 1))].shape == (5, 1, 3)


def test_coarsening_averages_blocks_and_refining_brings_them_back() -> None:
    assert factors((2.5, 0.7, 0.7), 2.0) == (1, 3, 3)
    data = np.random.default_rng(2).integers(-1200, 1200, (3, 7, 8)).astype(np.int16)
    data[0, 0, 0] = -3024
    coarse = coarsen(data, (2, 3, 4), -1024, 1000)
    assert coarse.shape == (2, 3, 2)
    assert coarse[0, 0, 0] == pytest.approx(np.clip(data[:2, :3, :4], -1024, 1000).mean(), rel=1e-5)
    assert coarse[1, 2, 1] == pytest.approx(np.clip(data[2:, 6:, 4:], -1024, 1000).mean(), rel=1e-5)
    labels = np.zeros((4, 5, 5), np.uint8)
    labels[1:3, 1:4, 1:4] = 2
    fine = refine(labels, (1, 3, 3), (4, 15, 14))
    assert fine.shape == (4, 15, 14)
    assert set(np.unique(fine)) == {0, 2}
    assert abs(int((fine > 0).sum()) - 18 * 9) < 20
    np.testing.assert_array_equal(refine(labels, (1, 1, 1), labels.shape), labels)
