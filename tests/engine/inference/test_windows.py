"""Windows: the identity stays the identity, one window is one pass, seams vanish, and nothing outside is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis3d.inference.waiting import told_to_stop
from genesis3d.inference.windows import Swept, cut, gaussian, plan_windows, sweep

SIZES = st.tuples(*[st.integers(3, 41)] * 3)
WINDOWS = st.tuples(*[st.integers(2, 24)] * 3)


def run(data: np.ndarray, plan: Any, predict: Any, batch: int = 1, control: Any = lambda: "run") -> Swept | None:
    work = sweep(data, plan, predict, lambda v: v.astype(np.float32), batch, control)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


@settings(max_examples=60, deadline=None)
@given(SIZES, WINDOWS, st.floats(0, 0.9), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_identity_at_any_overlap(shape: Any, size: Any, overlap: float, batch: int, seed: int) -> None:
    if np.prod([max(1, n / max(1, w * (1 - overlap))) for n, w in zip(shape, size, strict=True)]) > 600:
        return  # hundreds of tiny windows show nothing more
    data = np.random.default_rng(seed).random((1, *shape), dtype=np.float32)
    swept = run(data, plan_windows(shape, size, overlap), lambda x: x, batch)
    assert swept is not None
    assert swept.covered.all()
    np.testing.assert_allclose(swept.values, data, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(SIZES, WINDOWS, st.floats(0, 0.7), st.integers(0, 2**32 - 1))
def test_mask_is_covered_and_the_rest_is_left_out(shape: Any, size: Any, overlap: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = np.zeros(shape, bool)
    corner = [rng.integers(0, n) for n in shape]
    inside[tuple(slice(c, c + int(rng.integers(1, n + 1))) for c, n in zip(corner, shape, strict=True))] = True
    plan = plan_windows(shape, size, max(overlap, 0.01), inside)
    data = rng.random((2, *shape), dtype=np.float32)
    swept = run(data, plan, lambda x: x)
    assert swept is not None
    covered = np.zeros(shape, bool)
    covered[plan.slices] = swept.covered
    assert covered[inside].all()
    np.testing.assert_allclose(swept.values[:, inside[plan.slices]], data[:, inside], atol=1e-5)
    for start in plan.starts:  # a window begins outside only where the scan is smaller than it
        assert all(0 <= s <= n - w or n < w for s, n, w in zip(start, shape, size, strict=True))


def test_windows_without_marked_voxels_are_not_computed() -> None:
    inside = np.zeros((8, 64, 64), bool)
    inside[4, 4, 4] = inside[4, 60, 60] = True
    plan = plan_windows(inside.shape, (8, 16, 16), 0.0, inside)
    seen = []
    run(np.zeros((1, 8, 64, 64), np.float32), plan, lambda x: (seen.append(len(x)), x)[1])
    assert sum(seen) == len(plan.starts) == 2


def test_one_window_is_one_pass_and_seams_of_a_real_network_vanish() -> None:
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 1, 3, padding=1)
        )

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(np.ascontiguousarray(x))).numpy()

    data = np.random.default_rng(0).random((1, 24, 40, 40), dtype=np.float32)
    whole = predict(data[None])[0]
    one = run(data, plan_windows(data.shape[1:], data.shape[1:]), predict)
    assert one is not None
    np.testing.assert_allclose(one.values, whole, atol=1e-6)
    many = run(data, plan_windows(data.shape[1:], (16, 16, 16), 0.5), predict, batch=3)
    assert many is not None
    # each voxel's own window weighs a thousand times more than one that sees it at its rim
    assert np.abs(many.values - whole).max() < 0.01 * np.ptp(whole)


def test_answers_are_averaged_with_gaussian_weights() -> None:
    """Two windows that answer 0 and 1: their shared voxels get the weighted mean, the others their own."""
    plan = plan_windows((8, 8, 12), (8, 8, 8), 0.5)
    assert plan.starts == ((0, 0, 0), (0, 0, 4))
    answers = iter([0.0, 1.0])
    swept = run(np.zeros((1, 8, 8, 12)), plan, lambda x: np.full_like(x, next(answers)))
    assert swept is not None
    weight = gaussian((8, 8, 8))[4, 4]
    np.testing.assert_allclose(swept.values[0, 4, 4, 4:8], weight[:4] / (weight[:4] + weight[4:]), rtol=1e-5)
    assert (swept.values[0, ..., :4] == 0).all()
    assert (swept.values[0, ..., 8:] == 1).all()


def test_a_scan_smaller_than_the_window_is_repeated_at_its_edges() -> None:
    data = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    window = cut(data, (-1, -1, 0), (3, 4, 3))
    assert window.shape == (1, 3, 4, 3)
    np.testing.assert_array_equal(window[0, 0], window[0, 2])
    np.testing.assert_array_equal(window[0, 1], data[0, 0][[0, 0, 1, 1]])


def test_only_windows_are_mapped_never_the_scan() -> None:
    sizes: list[int] = []

    def to_unit(values: np.ndarray) -> np.ndarray:
        sizes.append(values.size)
        return values.astype(np.float32)

    data = np.zeros((1, 40, 40, 40), np.int16)
    list(sweep(data, plan_windows((40, 40, 40), (8, 16, 16)), lambda x: x, to_unit))
    assert max(sizes) == 8 * 16 * 16


def test_stop_and_progress() -> None:
    data = np.zeros((1, 16, 16, 16), np.float32)
    plan = plan_windows((16, 16, 16), (8, 8, 8), 0.0)
    orders = iter(["run", "pause", "run", "stop"])
    work = sweep(data, plan, lambda x: x, lambda v: v.astype(np.float32), 2, lambda: next(orders))
    assert [next(work), next(work)] == [2, 4]
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value is None


def test_told_to_stop_waits_while_paused() -> None:
    orders = iter(["pause", "pause", "run"])
    assert not told_to_stop(lambda: next(orders))
