"""Surface distances: by hand, and as MONAI has them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.evaluation.surfaces import surface_distances, surface_points


def box(
    start: tuple[int, int, int], stop: tuple[int, int, int], shape: tuple[int, int, int] = (14, 16, 18)
) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = True
    return mask


def test_surface_of_a_box_is_its_shell_in_millimetres() -> None:
    points = surface_points(box((2, 2, 2), (5, 5, 5)), (2.0, 1.0, 0.5))
    assert len(points) == 27 - 1
    assert points.min(axis=0).tolist() == [4.0, 2.0, 1.0]
    assert points.max(axis=0).tolist() == [8.0, 4.0, 2.0]


def test_the_border_of_the_array_is_surface() -> None:
    assert len(surface_points(np.ones((3, 3, 3), bool), (1, 1, 1))) == 26


def test_distances_of_two_voxels_and_of_a_mask_to_itself() -> None:
    first, second = box((3, 3, 3), (4, 4, 4)), box((3, 5, 3), (4, 6, 4))
    apart = surface_distances(first, second, (3.0, 1.5, 1.0))
    assert (apart.hd95, apart.average, apart.hausdorff) == (3.0, 3.0, 3.0)
    same = surface_distances(first, first, (3.0, 1.5, 1.0))
    assert (same.hd95, same.average) == (0.0, 0.0)


def test_average_counts_each_surface_voxel_once() -> None:
    line, point = box((1, 1, 1), (2, 2, 4)), box((1, 1, 1), (2, 2, 2))
    apart = surface_distances(line, point, (1.0, 1.0, 2.0))
    assert apart.average == pytest.approx((0 + 2 + 4 + 0) / 4)
    assert apart.hausdorff == 4.0


def test_no_distance_to_an_empty_mask() -> None:
    empty = np.zeros((14, 16, 18), bool)
    for pair in ((empty, empty), (empty, box((1, 1, 1), (3, 3, 3))), (box((1, 1, 1), (3, 3, 3)), empty)):
        assert math.isnan(surface_distances(*pair, (1.0, 1.0, 1.0)).hd95)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_figures_are_those_of_monai() -> None:
    torch = pytest.importorskip("torch")
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    spacing = (2.5, 0.7, 0.9)
    rng = np.random.default_rng(0)
    for _ in range(3):
        corners = rng.integers(0, 6, (2, 3))
        first, second = (box(tuple(c), tuple(c + rng.integers(3, 9, 3))) for c in corners)
        second[tuple(rng.integers(0, 14, 3))] = True
        first |= rng.random(first.shape) > 0.995
        ours = surface_distances(first, second, spacing)
        pair = [torch.from_numpy(m[None, None].astype(np.float32)) for m in (first, second)]
        hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
        assd = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=spacing)
        assert ours.hd95 == pytest.approx(float(hd95), rel=1e-5)
        assert ours.average == pytest.approx(float(assd), rel=1e-5)
