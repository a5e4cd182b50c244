"""Local shuffling: oracle, the measured facts of the published code, uniform permutations."""

from __future__ import annotations

from collections import Counter
from types import ModuleType

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import LocalShuffling, plain_path, select

OFFICIAL = (1, 32, 64, 64)


def _distinct(shape: tuple[int, int, int, int]) -> torch.Tensor:
    """Every voxel another value, exact in float32, rising along the array."""
    n = int(np.prod(shape))
    return (torch.arange(n).float() / 2**24).reshape(1, *shape)


def _sources(transform: LocalShuffling, shape: tuple[int, int, int, int], slot: int = 0) -> np.ndarray:
    x = _distinct(shape)
    out = transform.apply(x, transform.draw(shape, [Address(9, 0, slot)]))
    return (out.numpy().astype(np.float64) * 2**24).round().astype(np.int64).reshape(shape)


@pytest.mark.parametrize("permutation", ["full", "separable"])
@pytest.mark.parametrize("compose", [False, True])
@pytest.mark.parametrize(("shape", "windows"), [((2, 6, 9, 11), 60), ((1, 3, 6, 6), 5), ((1, 12, 7, 8), 0)])
def test_it_is_the_plain_loop_over_windows(
    reference: ModuleType, permutation: str, compose: bool, shape: tuple[int, int, int, int], windows: int
) -> None:
    transform = LocalShuffling(windows=windows, permutation=permutation, compose=compose)
    x = torch.rand((3, *shape), generator=torch.Generator().manual_seed(1))
    params = transform.draw(shape, [Address(2, 0, i) for i in range(3)])
    out = transform.apply(x, params)
    with plain_path():
        assert torch.equal(transform.apply(x, params), out)
    for i in range(3):
        key = int(params["key"][i])
        expected = reference.shuffled(
            x[i].numpy(), key, windows, (1, 1, 1), (3, 6, 6), permutation == "separable", compose
        )
        assert np.array_equal(out[i].numpy(), expected)


def test_the_published_facts_hold() -> None:
    changed, survivors = [], []
    for slot in range(6):
        source = _sources(LocalShuffling(windows=10_000), OFFICIAL, slot).reshape(-1)
        changed.append(np.mean(source != np.arange(source.size)))
        survivors.append(len(np.unique(source)) / source.size)
    assert np.mean(changed) == pytest.approx(0.788, abs=0.004)
    assert np.mean(survivors) == pytest.approx(0.786, abs=0.004)


def test_displacements_stay_inside_a_window() -> None:
    source = _sources(LocalShuffling(windows=10_000), OFFICIAL)[0]
    moved = np.abs(np.stack(np.unravel_index(source, source.shape)) - np.indices(source.shape))
    assert moved.reshape(3, -1).max(axis=1).tolist() == [2, 5, 5]


def test_windows_have_the_published_sizes_and_places() -> None:
    transform = LocalShuffling(windows=10_000)
    boxes = transform.boxes(transform.sample(OFFICIAL, Address(4)), OFFICIAL)
    start, extent = boxes[:, :3], boxes[:, 3:]
    assert extent.prod(axis=1).mean() == pytest.approx(24.5, abs=0.6)
    for axis, (most, size) in enumerate(zip((3, 6, 6), OFFICIAL[1:], strict=True)):
        share = np.bincount(extent[:, axis], minlength=most + 1)[1:] / len(boxes)
        assert np.abs(share - 1 / most).max() < 0.02
        assert start[:, axis].min() == 0
        assert (start + extent)[:, axis].max() == size
    slack = np.asarray(OFFICIAL[1:]) - extent
    assert np.abs((start / slack).mean(axis=0) - 0.5).max() < 0.015


def test_the_coverage_gives_the_published_number_of_windows() -> None:
    assert LocalShuffling().count(OFFICIAL) == pytest.approx(10_000, abs=10)
    assert LocalShuffling().count((1, 64, 64, 64)) == pytest.approx(20_000, abs=20)
    assert LocalShuffling(windows=77).count(OFFICIAL) == 77


def test_composed_windows_keep_the_histogram_and_the_others_do_not() -> None:
    composed = _sources(LocalShuffling(compose=True), OFFICIAL).reshape(-1)
    assert np.array_equal(np.sort(composed), np.arange(composed.size))
    assert len(np.unique(_sources(LocalShuffling(), OFFICIAL))) < 0.8 * composed.size


def test_separable_windows_keep_rows_together() -> None:
    one = LocalShuffling(windows=1, smallest=(1, 6, 6), largest=(1, 6, 6), permutation="separable")
    source = _sources(one, (1, 1, 6, 6))[0, 0]
    rows, columns = source // 6, source % 6
    assert (rows == rows[:, :1]).all()
    assert (columns == columns[:1]).all()


def test_all_permutations_are_equally_likely() -> None:
    one = LocalShuffling(windows=1, smallest=(1, 1, 5), largest=(1, 1, 5))
    n, kinds = 24_000, 120
    keys = np.random.default_rng(0).integers(0, 2**64, n, dtype=np.uint64)
    counts = Counter(one._sources(key, 1, (1, 1, 5)).tobytes() for key in keys)
    expected = n / kinds
    chi2 = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == kinds
    assert chi2 < (kinds - 1) + 5 * np.sqrt(2 * (kinds - 1))


def test_in_large_windows_every_place_takes_from_every_place() -> None:
    one = LocalShuffling(windows=1, smallest=(3, 6, 6), largest=(3, 6, 6))
    n = 20_000
    keys = np.random.default_rng(1).integers(0, 2**64, n, dtype=np.uint64)
    counts = np.zeros((108, 108))
    for key in keys:
        counts[np.arange(108), one._sources(key, 1, (3, 6, 6))] += 1
    expected = n / 108
    z = (counts - expected) / np.sqrt(expected)
    assert np.abs(z).max() < 6
    assert z.std() == pytest.approx(1, abs=0.05)


def test_more_windows_add_to_those_that_were_there() -> None:
    few, many = (LocalShuffling(windows=n) for n in (5, 9))
    shape, address = (1, 12, 12, 12), Address(6)
    assert np.array_equal(
        many.boxes(many.sample(shape, address), shape)[:5], few.boxes(few.sample(shape, address), shape)
    )


def test_all_channels_move_together() -> None:
    x = torch.rand(1, 1, 8, 12, 12).repeat(1, 3, 1, 1, 1)
    transform = LocalShuffling()
    out = transform.apply(x, transform.draw((3, 8, 12, 12), [Address(0)]))
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(out[:, 0], out[:, 2])


def test_cases_with_other_numbers_of_windows_share_a_batch() -> None:
    transform = LocalShuffling()
    x = torch.rand(3, 1, 8, 12, 12)
    params = transform.draw((1, 8, 12, 12), [Address(0, 0, i) for i in range(3)])
    params["windows"] = np.array([4, 0, 90])
    out = transform.apply(x, params)
    with plain_path():
        assert torch.equal(transform.apply(x, params), out)
    assert torch.equal(out[1], x[1])
    alone = transform.apply(x[2:], select(params, np.array([2])))
    assert torch.equal(alone[0], out[2])


def test_windows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"windows within \(2, 64, 64\) voxels, got up to \(3, 6, 6\)"):
        LocalShuffling().sample((1, 2, 64, 64), Address(0))
    with pytest.raises(ConfigError, match="smallest <= largest"):
        LocalShuffling.parse({"smallest": [4, 1, 1]})
