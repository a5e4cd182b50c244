"""Synthetic opacities: what changes, where, by how much, and that an address says it all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, label

from genesis3d.data.phantoms import thorax
from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import CoarseNoise, Opacity
from genesis3d.transforms.coarse_noise import coarse_noise
from genesis3d.transforms.opacities import opacities, render
from genesis3d.transforms.opacity import PATTERNS
from genesis3d.transforms.opacity_fields import Lungs, generator, places, ranks, smooth_field

SPACING = (6.0, 2.0, 2.0)
WINDOW = (-1000.0, 200.0)
NAMES = tuple(pattern.replace(" ", "_") for pattern in PATTERNS)


def only(name: str, **settings: object) -> Opacity:
    return Opacity.parse(dict.fromkeys(NAMES, 0.0) | {name: 1.0} | settings)


@pytest.fixture(scope="module")
def chest() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x in [0, 1], lungs and depth of a sub-volume with half a lung of -850 HU beside tissue."""
    lungs = np.zeros((16, 64, 64), np.float32)
    lungs[1:-1, 4:-4, 8:-8] = 1
    x = np.where(lungs > 0, 150 / 1200, 1050 / 1200).astype(np.float32)
    x[:, 30:33, 20:50] = 1.0  # a vessel
    return x, lungs, distance_transform_edt(lungs, sampling=SPACING).astype(np.float32)


def many(chest: tuple, settings: Opacity, n: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    x, lungs, depth = chest
    return [opacities(x, lungs, depth, SPACING, settings, Address(5, k)) for k in range(n)]


@pytest.mark.parametrize("name", NAMES)
def test_lungs_become_brighter_where_the_weight_says_so_and_nothing_else_changes(chest: tuple, name: str) -> None:
    x, lungs, _ = chest
    for changed, weight in many(chest, only(name, wide=0.3)):
        assert changed.dtype == weight.dtype == np.float32
        assert (changed >= x).all()
        assert changed.max() <= 1
        assert weight.min() >= 0
        assert weight.max() <= 1
        assert (changed[weight == 0] == x[weight == 0]).all()
        assert not weight[lungs == 0].any()
        assert (changed[:, 30:33, 20:50] == 1).all()  # blending leaves vessels as they are


def test_an_address_says_it_all_and_a_generator_gives_one(chest: tuple) -> None:
    x, lungs, depth = chest
    first, again, other = (opacities(x, lungs, depth, SPACING, Opacity(), Address(3, k)) for k in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])
    drawn = [opacities(x, lungs, depth, SPACING, Opacity(), np.random.default_rng(8)) for _ in range(2)]
    assert np.array_equal(drawn[0][0], drawn[1][0])
    rng = np.random.default_rng(8)
    one, two = (opacities(x, lungs, depth, SPACING, Opacity(), rng) for _ in range(2))
    assert not np.array_equal(one[0], two[0])


def test_no_lung_no_opacity(chest: tuple) -> None:
    x, nothing = chest[0], np.zeros_like(chest[0])
    for name in NAMES:
        for wide in (0.0, 1.0):
            changed, weight = opacities(x, nothing, nothing, SPACING, only(name, wide=wide), Address(1))
            assert np.array_equal(changed, x)
            assert not weight.any()


def test_arrays_of_other_shapes_are_refused(chest: tuple) -> None:
    x, lungs, depth = chest
    with pytest.raises(ConfigError, match="one shape"):
        opacities(x, lungs[1:], depth, SPACING, Opacity(), Address(0))
    with pytest.raises(ConfigError, match="one shape"):
        coarse_noise(x, lungs[1:], SPACING, CoarseNoise(), Address(0))


def test_a_lung_wide_opacity_covers_the_share_that_was_asked_for(chest: tuple) -> None:
    lung = chest[1] > 0
    for low, high in ((0.3, 0.4), (0.7, 0.8), (1.0, 1.0)):
        settings = only("ground_glass", wide=1.0, most=1, extent=(low, high))
        shares = [(weight[lung] > 0.5).mean() for _, weight in many(chest, settings, 16)]
        assert low - 0.12 <= min(shares)  # the rim may be soft
        assert max(shares) <= high + 0.02
        assert low - 0.05 <= np.median(shares)


def test_lung_wide_opacities_come_as_often_as_asked_for() -> None:
    settings = Opacity(wide=0.3)
    wide = [settings.sample((1, 16, 64, 64), Address(2, k))["wide"] for k in range(400)]
    assert np.mean([each[0] for each in wide]) == pytest.approx(0.3, abs=0.06)
    assert not any(each[1:].any() for each in wide)


def test_patterns_and_radii_follow_the_settings() -> None:
    settings = Opacity(ground_glass=0.5, consolidation=0.5, reticulation=0, nodular=0, radius_mm=(4.0, 16.0))
    drawn = [settings.sample((1, 16, 64, 64), Address(2, k)) for k in range(200)]
    pattern = np.concatenate([one["pattern"] for one in drawn])
    radius = np.concatenate([one["radius"] for one in drawn])
    assert set(pattern.tolist()) == {0, 1}
    assert (pattern == 0).mean() == pytest.approx(0.5, abs=0.06)
    assert 4 <= radius.min() <= 4.5
    assert 14.5 <= radius.max() <= 16
    assert np.median(radius) == pytest.approx(8, rel=0.08)  # evenly on a log scale
    counts = [int(one["count"]) for one in drawn if not one["wide"][0]]
    assert set(counts) == {1, 2, 3, 4, 5, 6}


def test_the_extent_of_an_opacity_follows_its_radius(chest: tuple) -> None:
    sizes = []
    for radius in (5.0, 10.0, 20.0):
        settings = only("ground_glass", most=1, wide=0.0, radius_mm=(radius, radius), pleural=0.0)
        sizes.append(np.median([(weight > 0.5).sum() * 24 / 1000 for _, weight in many(chest, settings, 24)]))
    assert sizes[0] < 0.5 * sizes[1] < 0.25 * sizes[2]
    assert 0.2 < sizes[0] < 3  # mL; a ball of 5 mm has 0.5


def test_ground_glass_is_faint_and_consolidation_dense(chest: tuple) -> None:
    x = chest[0]
    means = {}
    for name, strength in (("ground_glass", {"faint": (0.3, 0.3)}), ("consolidation", {"dense": (0.8, 0.8)})):
        found = many(chest, only(name, wide=1.0, most=1, extent=(0.9, 1.0), tissue_hu=(0.0, 0.0), **strength))
        hu = [((changed - x) * 1200)[(weight > 0.95) & (x < 0.5)].mean() for changed, weight in found]
        means[name] = np.median(hu)
    assert means["ground_glass"] == pytest.approx(0.3 * 850, rel=0.35)  # some of it has denser cores
    assert means["consolidation"] == pytest.approx(0.8 * 850, rel=0.2)


def test_nodules_have_the_sizes_and_numbers_of_the_settings(chest: tuple) -> None:
    settings = only("nodular", most=1, wide=1.0, extent=(1.0, 1.0), nodule_mm=(4.0, 4.0), nodules=(2, 2))
    for _, weight in many(chest, settings):
        parts, n = label(weight > 0.5, np.ones((3, 3, 3)))
        assert 1 <= n <= 6
        volumes = np.bincount(parts.ravel())[1:] * 24
        assert volumes.max() < 7 * 6 * 268  # mm3; 268 is a ball of 4 mm, here of few voxels
    _, weight = opacities(*chest, SPACING, settings.replaced(nodules=(40, 40)), Address(0))
    assert label(weight > 0.5, np.ones((3, 3, 3)))[1] > 10


def test_reticulation_is_a_net_with_its_period(chest: tuple) -> None:
    params = only("reticulation", period_mm=(10.0, 10.0)).sample((1, 16, 64, 64), Address(4))
    from genesis3d.transforms.opacity_patterns import Fields

    whole = torch.ones(16, 64, 64)
    net = Fields(Lungs(whole, whole, SPACING), params).net.numpy()
    cells = [label(plane < 0.02)[1] for plane in net]
    assert net.min() >= 0
    assert net.max() <= 1
    assert 0.1 < (net > 0.1).mean() < 0.8
    assert 40 < np.median(cells) < 400  # of 128 mm x 128 mm: some 160 cells of 10 mm


def test_more_than_half_begin_near_the_pleura_when_asked_to(chest: tuple) -> None:
    depth = chest[2]

    def median_depth(pleural: float) -> float:
        settings = only("consolidation", most=1, wide=0.0, pleural=pleural, radius_mm=(5.0, 5.0))
        found = many(chest, settings, 24)
        return float(np.median([depth[weight > 0.5].mean() for _, weight in found if (weight > 0.5).any()]))

    assert median_depth(1.0) < 0.75 * median_depth(0.0)


def test_a_case_is_the_same_alone_and_another_channel_is_changed_alike() -> None:
    scan = thorax((24, 96, 96), (12.0, 4.0, 4.0)).data[0].astype(np.float32)
    x = torch.from_numpy(((scan[6:14] + 1000) / 2000).clip(0, 1))[None, None]
    transform = Opacity(spacing=(12.0, 4.0, 4.0), wide=1.0)
    params = transform.draw((1, *x.shape[2:]), [Address(0, 0, 1)])
    alone = transform.apply(x, params)
    assert not torch.equal(alone, x)
    assert (alone >= x).all()
    both = transform.apply(torch.cat([x, x], 1), params)
    assert torch.equal(both[:, :1], alone)
    assert torch.equal(both[:, 1:], alone)
    tissue = torch.full_like(x, 0.52)
    assert torch.equal(transform.apply(tissue, params), tissue)
    assert "lung-wide" in transform.outcome(params, 0)


def test_lungs_are_found_without_clothes_and_air(chest: tuple) -> None:
    x = torch.from_numpy(chest[0].copy())
    found = Lungs.found(x, SPACING, WINDOW)
    assert ((found.mask > 0).numpy() == (chest[1] > 0)).mean() > 0.95
    assert not Lungs.found(torch.zeros(4, 64, 64), SPACING, WINDOW).mask.any()
    thin = torch.zeros(4, 64, 64)
    thin[:, 30:33] = 0.3  # 6 mm of cloth
    assert not Lungs.found(thin, SPACING, WINDOW).mask.any()
    middle, rim = found.depth[8, 32 - 6, 40], found.depth[8, 26, 9]
    assert rim < 8 < middle


def test_smooth_fields_have_unit_variance_and_their_size() -> None:
    one = torch.ones(16, 64, 64)
    for size in (4.0, 12.0, 40.0):
        fields = [smooth_field(generator(k), Lungs(one, one, SPACING), size) for k in range(20)]
        assert torch.stack(fields).std() == pytest.approx(1, abs=0.15)
        jump = torch.stack([(f[:, :, 1:] - f[:, :, :-1]).abs().mean() for f in fields]).mean()
        assert jump == pytest.approx(1.4 * 2 / size, rel=0.5)


def test_places_are_even_in_the_set() -> None:
    there = torch.zeros(4, 5, 6, dtype=torch.bool)
    there[1, 2, 3] = there[2, 4, 5] = True
    voxel, any_there = places(ranks(there), np.array([0.0, 0.49, 0.5, 0.99]), (4, 5, 6))
    assert voxel.tolist() == [[1, 2, 3], [1, 2, 3], [2, 4, 5], [2, 4, 5]]
    assert bool(any_there)
    assert not bool(places(ranks(there & False), np.array([0.5]), (4, 5, 6))[1])


def test_settings_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="smaller number first"):
        Opacity.parse({"radius_mm": (9.0, 3.0)})
    with pytest.raises(ConfigError, match="one pattern"):
        Opacity.parse(dict.fromkeys(NAMES, 0.0))
    with pytest.raises(ConfigError, match="smaller number first"):
        CoarseNoise.parse({"sigma": (0.3, 0.1)})


def test_coarse_noise_stays_in_the_lungs_and_has_its_strength(chest: tuple) -> None:
    x, lungs, _ = chest
    even = np.full_like(x, 0.5)
    settings = CoarseNoise(size_mm=(8.0, 8.0), sigma=(0.1, 0.1))
    noisy = [coarse_noise(even, lungs, SPACING, settings, Address(0, k)) for k in range(8)]
    assert all((one[lungs == 0] == 0.5).all() for one in noisy)
    assert np.std([one[lungs > 0] for one in noisy]) == pytest.approx(0.1, rel=0.15)
    assert np.array_equal(noisy[0], coarse_noise(even, lungs, SPACING, settings, Address(0, 0)))
    assert coarse_noise(x, lungs, SPACING, settings, Address(1)).min() >= 0


def test_rendering_on_a_grid_of_one_slice_and_thin_slices_works() -> None:
    for shape, spacing in (((1, 40, 40), (6.0, 2.0, 2.0)), ((24, 48, 48), (1.0, 0.7, 0.7))):
        x, lungs = torch.full(shape, 0.1), Lungs(torch.ones(shape), torch.ones(shape) * 9, spacing)
        for k, name in enumerate(NAMES):
            params = only(name).sample((1, *shape), Address(k))
            changed, weight = render(x, lungs, params, WINDOW)
            assert changed.shape == weight.shape == shape
            assert torch.isfinite(changed).all()
