from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from genesis3d.data.rules import tissue_score
from genesis3d.data.sampling import Location, Sampler, SamplingConfig
from genesis3d.errors import ConfigError
from genesis3d.intensity import CtIntensity, Scale
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume

HU = Scale(-1000.0, 1000.0)


def volume(data: np.ndarray, **changes: object) -> Volume:
    data = data[None] if data.ndim == 3 else data
    return Volume(data, Geometry(data.shape[1:]), **changes)  # type: ignore[arg-type]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1000, shape).astype(np.int16)


def sampler(rule: str, *data: np.ndarray, patch: tuple[int, int, int] = (8, 16, 16), **changes: object) -> Sampler:
    config = SamplingConfig.parse({"rule": rule, "patch": patch} | changes)
    return Sampler(config, [volume(d) for d in data], [HU] * len(data))


def locations(s: Sampler, n: int, seed: int = 0) -> list[Location]:
    return [s.locate(Address(seed, step, 0, "sample")) for step in range(n)]


@pytest.mark.parametrize("rule", ["default", "official", "paper", "anywhere"])
def test_an_address_gives_its_sub_volume_again(rule: str) -> None:
    s = sampler(rule, noise(40, 60, 60), noise(30, 50, 50, seed=1))
    again = sampler(rule, noise(40, 60, 60), noise(30, 50, 50, seed=1))
    assert locations(s, 20) == locations(again, 20)
    assert len(set(locations(s, 20))) > 15
    assert locations(s, 20) != locations(s, 20, seed=1)


def test_cut_is_the_box_mapped_to_the_domain() -> None:
    data = noise(20, 40, 40)
    s = sampler("anywhere", data)
    for location in locations(s, 10):
        d, h, w = location.start
        box = data[None, d : d + 8, h : h + 16, w : w + 16]
        np.testing.assert_allclose(s.cut(location), (box.astype(np.float64) + 1000) / 2000, atol=1e-6)
        assert s.cut(location).dtype == np.float32
        assert s.cut(location).flags.c_contiguous


def test_every_place_can_be_drawn_and_none_leaves_the_scan() -> None:
    s = sampler("anywhere", noise(10, 18, 16))
    starts = {location.start for location in locations(s, 300)}
    assert starts == {(d, h, 0) for d in range(3) for h in range(3)}


def test_cases_are_drawn_alike_whatever_their_size() -> None:
    s = sampler("anywhere", noise(8, 16, 16), noise(40, 80, 80), noise(16, 32, 32))
    counts = Counter(location.case for location in locations(s, 600))
    assert min(counts.values()) > 150
    assert len(counts) == 3


def test_turned_views_and_memory_maps_are_read_box_by_box(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", noise(24, 40, 40))
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    turned = mapped[::-1, :, ::-1].transpose(1, 0, 2)
    s = sampler("anywhere", turned, patch=(16, 8, 16))
    location = locations(s, 1)[0]
    d, h, w = location.start
    expected = HU.to_unit(np.ascontiguousarray(turned)[None, d : d + 16, h : h + 8, w : w + 16])
    np.testing.assert_array_equal(s.cut(location), expected)
    assert isinstance(s.volumes[0].data, np.memmap)


def test_a_scan_smaller_than_the_sub_volume_is_padded_by_its_edge_and_said() -> None:
    data = noise(5, 20, 13)
    s = sampler("anywhere", data, noise(8, 16, 16))
    assert len(s.warnings) == 1
    assert "smaller than the sub-volume along D, W" in s.warnings[0]
    box = s.cut(Location(0, s.locate(next(a for a in map(Address, range(50)) if s.locate(a).case == 0)).start))
    assert box.shape == (1, 8, 16, 16)
    start = next(x for x in locations(s, 50) if x.case == 0).start
    inside = HU.to_unit(data[None, :, start[1] : start[1] + 16])
    padded = np.pad(inside, ((0, 0), (1, 2), (0, 0), (1, 2)), mode="edge")
    np.testing.assert_array_equal(s.cut(Location(0, start)), padded)


def test_not_a_number_becomes_the_lowest_value() -> None:
    data = np.full((8, 16, 16), np.nan, dtype=np.float32)
    data[:4] = 0.0
    s = sampler("anywhere", data)
    cut = s.cut(Location(0, (0, 0, 0)))
    assert (cut[:, :4] == 0.5).all()
    assert (cut[:, 4:] == 0).all()


def plain_tissue_score(box: np.ndarray, depth: int, level: float) -> float:
    """The published definition, voxel by voxel: 1, 1/2 or 0 for the nearest dense one of three slices along z."""
    total = 0.0
    for d, h, w in np.ndindex(depth, *box.shape[1:]):
        for k, score in enumerate((1.0, 0.5, 0.0)):
            if d + k < len(box) and box[d + k, h, w] >= level:
                total += score
                break
    return total / (depth * box.shape[1] * box.shape[2])


@pytest.mark.parametrize("extra", [0, 1, 3])
def test_tissue_score_is_that_of_the_published_generator(extra: int) -> None:
    box = np.random.default_rng(extra).random((6 + extra, 5, 4)).astype(np.float32)
    for level in (0.2, 0.425, 0.9):
        assert tissue_score(box, 6, level) == pytest.approx(plain_tissue_score(box, 6, level))


def test_the_official_rule_keeps_the_published_border_and_share_of_tissue() -> None:
    data = np.full((96, 280, 280), -800, dtype=np.int16)
    data[:, :140] = 100
    s = sampler("official", data, patch=(16, 32, 32))
    found = locations(s, 60)
    starts = np.array([x.start for x in found])
    assert not s.warnings
    assert starts.min(axis=0)[0] >= 30
    assert starts.min(axis=0)[2] >= 100
    assert (starts.max(axis=0) <= [96 - 16 - 3 - 1 - 30, 280 - 32 - 1 - 100, 280 - 32 - 1 - 100]).all()
    dense = [np.count_nonzero(s.cut(x) >= 0.425) / (16 * 32 * 32) for x in found]
    assert max(dense) <= 0.15
    assert all(s.accepts(x) for x in found)


def test_the_official_rule_takes_air_and_says_when_a_scan_is_too_small_for_its_border() -> None:
    s = sampler("official", np.full((40, 100, 100), -1000, dtype=np.int16))
    assert "too small for the official border" in s.warnings[0]
    assert "H 20, W 20" in s.warnings[0]
    starts = np.array([x.start for x in locations(s, 50)])
    assert starts[:, 1:].min() >= 20
    assert starts[:, 1:].max() <= 100 - 16 - 1 - 20
    assert s.accepts(locations(s, 1)[0])


def test_the_paper_rule_leaves_out_the_empty_and_the_full() -> None:
    data = np.full((16, 96, 96), -1000, dtype=np.int16)
    data[:, 48:] = 100
    s = sampler("paper", data)
    shares = [np.count_nonzero(s.cut(x) >= 0.425) / s.cut(x).size for x in locations(s, 40)]
    assert min(shares) >= 0.05
    assert max(shares) <= 0.95


def test_the_default_rule_finds_the_body_in_ct_and_mr() -> None:
    rng = np.random.default_rng(0)
    ct = np.full((16, 128, 128), -1000, dtype=np.int16)
    ct[:, 40:80, 40:80] = rng.integers(-900, 100, (16, 40, 40))
    mr = np.zeros((16, 128, 128), dtype=np.float32)
    mr[:, 40:80, 40:80] = rng.random((16, 40, 40)) * 400
    s = Sampler(SamplingConfig(patch=(8, 16, 16)), [volume(ct), volume(mr)], [HU, Scale(0.0, 400.0)])
    for location in locations(s, 60):
        assert s.cut(location).std() >= 0.03


def test_the_search_is_bounded_and_takes_the_least_bad() -> None:
    data = np.full((8, 16, 64), -1000, dtype=np.int16)
    data[:, :, 40:41] = -200
    s = sampler("default", data, attempts=200)
    start = locations(s, 1)[0].start
    assert start[2] <= 40 < start[2] + 16
    assert not s.accepts(Location(0, start))


def test_channels_stay_together() -> None:
    data = np.stack([noise(8, 16, 16), noise(8, 16, 16, seed=1)])
    s = Sampler(SamplingConfig(patch=(8, 16, 16)), [volume(data)], [HU])
    assert s.channels == 2
    np.testing.assert_array_equal(s.cut(Location(0, (0, 0, 0))), HU.to_unit(data))


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ConfigError, match="as many scans as scales"):
        Sampler(SamplingConfig(), [], [])
    one, two = volume(noise(8, 16, 16)), volume(np.zeros((2, 8, 16, 16), dtype=np.int16))
    scale = CtIntensity().fit(one)
    with pytest.raises(ConfigError, match="equally many channels"):
        Sampler(SamplingConfig(), [one, two], [scale, scale])
    with pytest.raises(ConfigError, match="three sizes"):
        SamplingConfig.parse({"patch": (0, 16, 16)})
