"""Sums over windows: the identity stays the identity, MONAI's inferer is matched, and memory stays bounded."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis3d.inference import cells as cells_module
from genesis3d.inference.canvas import Canvas
from genesis3d.inference.cells import Cells
from genesis3d.inference.classifying import classify
from genesis3d.inference.collecting import Collector, best_class
from genesis3d.inference.ordering import in_order
from genesis3d.inference.weights import Blend, gaussian, window_weights
from genesis3d.inference.windows import Plan, Triple, plan_windows

SIZES = st.tuples(*[st.integers(3, 33)] * 3)
WINDOWS = st.tuples(*[st.integers(2, 20)] * 3)


class Sums(Collector):
    """Keeps the weighted means themselves."""

    def __init__(self, channels: int, shape: Any) -> None:
        super().__init__(shape, range(channels))
        self.means = np.full((channels, *shape), np.nan, np.float32)

    def take(self, cell: Any) -> None:
        if cell.final:
            self.keep_as_is(cell)

    def keep_as_is(self, cell: Any) -> None:
        super().keep_as_is(cell)
        mean = cell.mean()
        self.means[(slice(None), *cell.box)] = np.nan if mean is None else mean.numpy()


def swept(
    data: np.ndarray, plan: Plan, predict: Any, blend: Blend = "gaussian", focus: Any = None, **options: Any
) -> tuple[Sums, bool]:
    channels = len(predict(np.zeros((1, len(data), *plan.size), np.float32))[0])
    sums, cells = Sums(channels, data.shape[1:]), Cells(plan, window_weights(plan.size, blend))
    work = classify(data, in_order(plan, focus), plan.size, predict, as_float, cells, sums, **options)
    complete = finished(work)
    assert cells.nbytes == 0
    return sums, complete


def finished(work: Any) -> bool:
    while True:
        try:
            next(work)
        except StopIteration as end:
            return bool(end.value)


def as_float(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def identity(windows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(windows))


def too_many(shape: Any, size: Any, overlap: float) -> bool:
    return bool(np.prod([max(1, n / max(1, w * (1 - overlap))) for n, w in zip(shape, size, strict=True)]) > 300)


@settings(max_examples=40, deadline=None)
@given(SIZES, WINDOWS, st.floats(0, 0.9), st.sampled_from(["gaussian", "constant", "monai"]), st.integers(1, 4),
       st.booleans(), st.integers(0, 2**32 - 1))  # fmt: skip
def test_identity_at_any_overlap_and_order(
    shape: Any, size: Any, overlap: float, blend: Blend, batch: int, looked: bool, seed: int
) -> None:
    if too_many(shape, size, overlap):
        return  # hundreds of tiny windows show nothing more
    rng = np.random.default_rng(seed)
    data = rng.random((2, *shape), dtype=np.float32)
    focus = tuple(int(rng.integers(0, n)) for n in shape) if looked else None
    found, complete = swept(data, plan_windows(shape, size, overlap), identity, blend, focus, batch=batch)
    assert complete
    assert found.covered().all()
    np.testing.assert_allclose(found.means, data, atol=1e-5)
    np.testing.assert_array_equal(found.labels, (data[1] > data[0]).astype(np.uint8))


@settings(max_examples=25, deadline=None)
@given(SIZES, WINDOWS, st.floats(0, 0.6), st.integers(0, 2**32 - 1))
def test_identity_inside_any_mask(shape: Any, size: Any, overlap: float, seed: int) -> None:
    if too_many(shape, size, overlap):
        return
    rng = np.random.default_rng(seed)
    inside = rng.random(shape) < 0.02
    inside[tuple(n // 2 for n in shape)] = True
    data = rng.random((2, *shape), dtype=np.float32)
    found, _ = swept(data, plan_windows(shape, size, overlap, inside), identity)
    np.testing.assert_allclose(found.means[:, inside], data[:, inside], atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(SIZES, WINDOWS, st.floats(0, 0.6), st.integers(0, 2**32 - 1))
def test_windows_of_air_are_background_and_change_nothing_else(
    shape: Any, size: Any, overlap: float, seed: int
) -> None:
    if too_many(shape, size, overlap):
        return
    data = np.zeros((2, *shape), np.float32)
    data[1, : shape[0] // 2] = 1
    computed = []

    def predict(windows: np.ndarray) -> torch.Tensor:
        computed.append(windows.max())
        return identity(windows)

    found, _ = swept(data, plan_windows(shape, size, overlap), predict, air=0.5)
    np.testing.assert_array_equal(found.labels, data[1].astype(np.uint8))
    assert found.covered().all()
    assert all(high > 0.5 for high in computed[1:])


@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize(
    ("shape", "size", "overlap"),
    [((24, 40, 36), (16, 24, 24), 0.25), ((20, 30, 41), (16, 16, 16), 0.5), ((10, 40, 22), (16, 16, 32), 0.25)],
)
def test_monais_inferer_at_the_same_settings(blend: str, shape: Triple, size: Triple, overlap: float) -> None:
    from monai.inferers import sliding_window_inference

    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv3d(4, 3, 1)).eval()
    data = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    with torch.inference_mode():
        theirs = sliding_window_inference(
            torch.from_numpy(data)[None], size, 2, net, overlap, blend, sigma_scale=0.125, padding_mode="replicate"
        )[0].numpy()

    def predict(windows: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return net(identity(windows))

    plan = plan_windows(shape, size, overlap, placing="monai")
    ours, _ = swept(data, plan, predict, "monai" if blend == "gaussian" else "constant", batch=3)
    np.testing.assert_allclose(ours.means, theirs, atol=1e-5)


def test_one_window_is_one_pass() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = torch.nn.Conv3d(1, 3, 3, padding=1)
    data = np.random.default_rng(0).random((1, 24, 20, 28), dtype=np.float32)

    def predict(windows: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return net(identity(windows))

    ours, _ = swept(data, plan_windows((24, 20, 28), (24, 20, 28)), predict)
    np.testing.assert_array_equal(ours.means, predict(data[None])[0].numpy())


def test_stopped_the_open_sums_are_kept() -> None:
    data = np.random.default_rng(0).random((2, 8, 8, 40), dtype=np.float32)
    orders = iter(["run", "run"])
    plan = plan_windows((8, 8, 40), (8, 8, 16), 0.5)
    found, complete = swept(data, plan, identity, control=lambda: next(orders, "stop"))
    assert not complete
    covered = found.covered()
    assert covered[..., :24].all()
    assert not covered[..., 24:].any()
    np.testing.assert_allclose(found.means[..., :24], data[..., :24], atol=1e-6)


def test_the_focus_comes_first_and_its_layer_before_the_others() -> None:
    plan = plan_windows((64, 64, 64), (16, 16, 16), 0.0)
    order = in_order(plan, (40, 60, 4))
    assert order[0] == (32, 48, 0)
    assert {start[0] for start in order[:16]} == {32}
    assert {start[0] for start in order[16:32]} == {48}
    along = in_order(plan, (40, 60, 4), axis=2)
    assert {start[2] for start in along[:16]} == {0}
    assert sorted(order) == sorted(along) == sorted(plan.starts)


def test_cells_appear_on_the_canvas_before_they_are_final() -> None:
    data = np.random.default_rng(0).random((2, 8, 8, 24), dtype=np.float32)
    plan, canvas = plan_windows((8, 8, 24), (8, 8, 16), 0.5), Canvas(np.zeros((8, 8, 24), np.uint16))
    collector, cells = Collector((8, 8, 24), [0, 700], canvas=canvas), Cells(plan, gaussian(plan.size))
    work = classify(data, plan.starts, plan.size, identity, as_float, cells, collector)
    next(work)
    np.testing.assert_array_equal(canvas.labels[..., :16] > 0, data[1, ..., :16] > data[0, ..., :16])
    assert not canvas.labels[..., 16:].any()
    list(work)
    np.testing.assert_array_equal(canvas.labels, collector.labels)
    assert collector.labels.dtype == np.uint16
    assert len(canvas.take()) == 4
    assert canvas.take() == []


def test_the_best_class() -> None:
    scores = torch.from_numpy(np.random.default_rng(0).random((5, 3, 4, 5), dtype=np.float32))
    np.testing.assert_array_equal(best_class(scores).numpy(), scores.numpy().argmax(0))
    assert best_class(torch.zeros(2, 1, 1, 1)).item() == 0


def test_sums_without_room_on_a_gpu_move_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).random((2, 8, 8, 40), dtype=np.float32)
    plan, weighted, calls = plan_windows((8, 8, 40), (8, 8, 16), 0.5), cells_module._weighted, [0]

    def full_once(part: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return weighted(part, weight)

    sums, cells = Sums(2, data.shape[1:]), Cells(plan, gaussian(plan.size))
    monkeypatch.setattr(cells_module, "_weighted", full_once)
    monkeypatch.setattr(Cells, "device", torch.device("cuda", 0))
    assert finished(classify(data, plan.starts, plan.size, identity, as_float, cells, sums))
    np.testing.assert_allclose(sums.means, data, atol=1e-6)
    assert len(cells.said) == 1
    assert "cuda:0 did not suffice" in cells.said[0]


class Scan:
    """A scan of any size that is made as it is looked at, the slice number everywhere: no copy of it is anywhere."""

    ndim, dtype = 4, np.dtype(np.int16)

    def __init__(self, shape: Triple) -> None:
        self.shape = (1, *shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        d, h, w = (np.arange(part.start, part.stop, dtype=np.int16) for part in index[1:])
        return np.broadcast_to(d[:, None, None], (1, len(d), len(h), len(w)))


def test_memory_is_the_output_and_a_few_windows() -> None:
    """1024 x 512 x 512 voxels and two classes: 3.2 GB of float32 sums and weights, were they kept whole."""
    shape, size = (1024, 512, 512), (160, 272, 272)
    plan = plan_windows(shape, size, 0.1)
    cells, collector = Cells(plan, window_weights(size, "gaussian")), Collector(shape, (0, 1))
    # what neighbouring layers of windows share, K sums and their weights in float32
    shared = len({start[0] for start in plan.starts}) * size[0] - shape[0]
    band = 3 * 4 * shape[1] * shape[2] * shared // (len({start[0] for start in plan.starts}) - 1)
    window = 4 * int(np.prod(size))
    process, most, most_open = psutil.Process(), 0, 0
    gc.collect()
    before = process.memory_info().rss

    def predict(windows: np.ndarray) -> torch.Tensor:
        x = torch.from_numpy(windows)
        return torch.cat([x, 500.5 - x / 2], dim=1)

    for _ in classify(Scan(shape), in_order(plan), size, predict, as_float, cells, collector):  # type: ignore[arg-type]
        most = max(most, process.memory_info().rss - before)
        most_open = max(most_open, cells.nbytes)
    assert most_open <= 2 * band
    assert most <= collector.labels.nbytes + 2 * band + 8 * window
    assert most < 0.3 * 3 * 4 * int(np.prod(shape))
    np.testing.assert_array_equal(collector.labels[:, 3, 500], np.arange(1024) < 333.5)
