"""The model as a function on windows: the task's own activation, precision settled by a probe, devices by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError, ModelError
from genesis3d.inference.predictor import Predictor, pick_device
from genesis3d.networks.model_file import LoadedModel, ModelCard
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.activation import restored

NETWORK = UNet3d(width=2)


def model(activation: str = "sigmoid") -> LoadedModel:
    card = ModelCard(network=NETWORK, activation=activation, patch=(16, 16, 16))
    return LoadedModel(NETWORK.build(3).eval(), card, Path("model.safetensors"))


WINDOWS = np.random.default_rng(0).random((2, 1, 16, 16, 16), dtype=np.float32)


@pytest.mark.parametrize("activation", ["sigmoid", "linear", "residual"])
def test_it_restores_as_the_task_does(activation: str) -> None:
    loaded = model(activation)
    with torch.inference_mode():
        x = torch.from_numpy(WINDOWS)
        expected = restored(loaded.module(x), x, loaded.card.activation).numpy()
    found = Predictor(loaded, "cpu", "32")(WINDOWS)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_probe_settles_auto_on_something_that_agrees() -> None:
    exact = Predictor(model(), "cpu", "32")
    predictor = Predictor(model(), "cpu", "auto")
    assert predictor.probe(WINDOWS) in ("32", "bf16")
    assert predictor.precision != "auto"
    assert np.abs(predictor(WINDOWS) - exact(WINDOWS)).mean() < 0.02
    assert exact.probe(WINDOWS) == "32"


def test_a_precision_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(model(), "cpu", "auto")

    def timed(windows: np.ndarray) -> tuple[float, np.ndarray]:
        wrong = predictor.precision != "32"
        return (0.1, windows + 0.5) if wrong else (1.0, windows)

    monkeypatch.setattr(predictor, "_timed", timed)
    assert predictor.probe(WINDOWS) == "32"


def test_full_memory_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = Predictor(model(), "cpu", "32")

    def full(_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(predictor, "_module", full)
    with pytest.raises(ModelError, match=r"cpu: not enough memory for 2 window\(s\) of 16 x 16 x 16 voxels"):
        predictor(WINDOWS)


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match="expected one that is here"):
        pick_device("cuda:99")
    with pytest.raises(ConfigError, match="expected one that is here"):
        pick_device("abacus")
