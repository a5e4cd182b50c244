"""A segmentation model as a function: folded norms, mirror images, precision, the kept one, out of memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.errors import ModelError
from genesis3d.inference import stepping_down
from genesis3d.inference.cells import Cells
from genesis3d.inference.classes import ClassPredictor
from genesis3d.inference.fitting import fitted_window, window_voxels
from genesis3d.inference.folding import folded
from genesis3d.inference.memory import out_of_memory
from genesis3d.inference.predictor import warm
from genesis3d.inference.stepping_down import SteppingDown, in_parts
from genesis3d.inference.weights import window_weights
from genesis3d.inference.windows import plan_windows
from genesis3d.networks.base import Network
from genesis3d.networks.model_file import LoadedModel, ModelCard, write_model
from genesis3d.networks.resnet3d import ResNet3d
from genesis3d.networks.unet3d import UNet3d

NETWORK = UNet3d(width=2, out_channels=3)
WINDOWS = np.random.default_rng(0).random((3, 1, 16, 16, 24), dtype=np.float32)


def settled(network: Network) -> torch.nn.Module:
    """A network whose batch norms have seen something."""
    module = network.build(1).train()
    with torch.no_grad():
        for _ in range(2):
            module(torch.rand(2, network.in_channels, *(2 * network.stride,) * 3))
    return module.eval()


def model(path: Path = Path("none.safetensors"), network: Network = NETWORK) -> LoadedModel:
    card = ModelCard(network=network, task={"name": "segmentation"}, activation="softmax", patch=(16, 16, 16))
    return LoadedModel(settled(network), card, path)


@pytest.mark.parametrize("network", [NETWORK, ResNet3d(width=4, out_channels=2), UNet3d(width=2, norm="group")])
def test_folding_changes_nothing_but_the_norms(network: Network) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = settled(network)
    x = torch.rand(1, 1, *(2 * network.stride,) * 3, generator=torch.Generator().manual_seed(0))
    merged = folded(module, network)
    with torch.inference_mode():
        expected = module(x)
        torch.testing.assert_close(merged(x), expected, atol=1e-5 * float(expected.abs().max()) + 1e-6, rtol=1e-4)
    norms = [m for m in merged.modules() if isinstance(m, torch.nn.BatchNorm3d)]
    assert not norms
    assert any(isinstance(m, torch.nn.BatchNorm3d) for m in module.modules()) == (network.norm == "batch")  # type: ignore[attr-defined]


def test_a_fold_that_would_be_wrong_is_not_made() -> None:
    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv3d(1, 3, 3, padding=1)
            self.norm = torch.nn.BatchNorm3d(3)
            self.norm.running_mean.fill_(1.0)  # type: ignore[union-attr]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(torch.relu(self.conv(x)))

    kept = folded(Other().eval(), NETWORK)
    assert isinstance(kept.norm, torch.nn.BatchNorm3d)


def test_logits_in_either_precision_and_mirrored() -> None:
    loaded = model()
    predictor = ClassPredictor(loaded, "cpu", "32")
    with torch.inference_mode():
        x = torch.from_numpy(WINDOWS)
        expected = loaded.module(x)
        flipped = (expected + loaded.module(x.flip(4)).flip(4)) / 2
    torch.testing.assert_close(predictor(WINDOWS), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(predictor(WINDOWS, (2,)), flipped, atol=1e-4, rtol=1e-4)
    half = ClassPredictor(loaded, "cpu", "bf16")(WINDOWS)
    assert half.dtype == torch.bfloat16
    assert (half.float().softmax(1) - expected.softmax(1)).abs().mean() < 0.02


def test_the_trial_takes_half_precision_only_if_faster_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(self: ClassPredictor, windows: np.ndarray) -> tuple[float, torch.Tensor]:
        half = self.precision == "bf16"
        return (0.1, shift + torch.zeros(1, 2, 1, 1, 1)) if half else (1.0, torch.zeros(1, 2, 1, 1, 1))

    monkeypatch.setattr(ClassPredictor, "_timed", timed)
    shift = torch.tensor([0.0, 4.0]).reshape(1, 2, 1, 1, 1)
    assert ClassPredictor(model(), "cpu", "auto").probe(WINDOWS) == "32"
    shift = torch.zeros(1, 2, 1, 1, 1)
    assert ClassPredictor(model(), "cpu", "auto").probe(WINDOWS) == "bf16"


def test_the_last_model_is_kept_until_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    write_model(path, NETWORK.build(0), model().card)
    first = warm(path, "cpu", "32")
    assert warm(path, "cpu", "32") is first
    assert warm(first.model, "cpu", "32") is first
    assert warm(path, "cpu", "bf16") is not first
    second = warm(path, "cpu", "32")
    write_model(path, NETWORK.build(1), model().card)
    os.utime(path, ns=(1, 1))
    assert warm(path, "cpu", "32") is not second
    loose = model()
    assert warm(loose, "cpu", "32") is warm(loose, "cpu", "32")
    assert warm(model(), "cpu", "32").model is not loose


def test_out_of_memory_is_told_from_other_errors() -> None:
    assert out_of_memory(MemoryError())
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_out_of_memory_steps_down_and_says_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, plan = ClassPredictor(model(), "cpu", "32"), plan_windows((16, 16, 64), (16, 16, 64))
    windows = np.random.default_rng(0).random((3, 1, 16, 16, 64), dtype=np.float32)
    exact = predictor(windows)
    forward = ClassPredictor._forward

    def small(self: ClassPredictor, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 1 or self.precision == "32" or x.shape[4] > 44:
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
        return forward(self, x)

    monkeypatch.setattr(ClassPredictor, "_forward", small)
    monkeypatch.setattr(stepping_down, "HALO", 8)
    stepping = SteppingDown(predictor, Cells(plan, window_weights(plan.size, "gaussian")), 3)
    found = torch.stack(stepping(windows)).float()
    assert found.shape == exact.shape
    assert (found.softmax(1) - exact.softmax(1)).abs().mean() < 0.02
    assert [text.partition("going on with ")[2].partition(";")[0] for text in stepping.said] == [
        "1 window(s) at a time", "half precision", "each window in 2 parts",
    ]  # fmt: skip
    assert predictor.stepped_down


def test_at_the_end_of_all_steps_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: ClassPredictor, x: torch.Tensor) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(ClassPredictor, "_forward", full)
    plan = plan_windows((16, 16, 24), (16, 16, 24))
    stepping = SteppingDown(ClassPredictor(model(), "cpu", "32"), Cells(plan, window_weights(plan.size, "gaussian")), 1)
    with pytest.raises(ModelError, match="cpu: expected memory for a window of 16 x 16 x 24 voxels"):
        stepping(WINDOWS[:1])


def test_other_errors_are_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: ClassPredictor, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(ClassPredictor, "_forward", wrong)
    plan = plan_windows((16, 16, 24), (16, 16, 24))
    cells = Cells(plan, window_weights(plan.size, "gaussian"))
    with pytest.raises(RuntimeError, match="a mistake"):
        SteppingDown(ClassPredictor(model(), "cpu", "32"), cells, 2)(WINDOWS)


def test_a_window_in_parts_is_the_window_where_the_halo_suffices() -> None:
    net = torch.nn.Conv3d(1, 2, 5, padding=2)

    def predict(windows: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return net(torch.from_numpy(np.ascontiguousarray(windows)))

    window = np.random.default_rng(0).random((1, 1, 8, 16, 96), dtype=np.float32)
    torch.testing.assert_close(in_parts(predict, window, 4, 8), predict(window), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("shape", "patch"), [((133, 512, 512), (32, 64, 64)), ((35, 51, 35), (48, 64, 48)), ((20, 300, 30), (8, 16, 16))]
)
def test_windows_fit_the_scan(shape: Any, patch: Any) -> None:
    size = fitted_window(shape, patch, 0.25, 8, 2**21)
    assert all(n % 8 == 0 and n >= 16 for n in size)
    assert all(n >= p or n >= length for n, p, length in zip(size, patch, shape, strict=True))
    plan = plan_windows(shape, size, 0.25)
    usual = plan_windows(shape, patch, 0.25)
    assert len(plan.starts) * np.prod(size) <= len(usual.starts) * np.prod(patch)
    assert np.prod(size) <= max(2**21, np.prod(patch))


def test_a_large_network_gets_windows_of_its_training() -> None:
    few = window_voxels(UNet3d(width=32))
    assert few < 32 * 64 * 64 < window_voxels(UNet3d(width=8))
    assert fitted_window((133, 512, 512), (32, 64, 64), 0.25, 8, few) == (32, 64, 64) or (
        np.prod(fitted_window((133, 512, 512), (32, 64, 64), 0.25, 8, few)) <= 1.5 * 32 * 64 * 64
    )
