"""The Keras 3D U-Net, written as a file by formula, imported, and compared with a plain functional one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from genesis3d.networks.model_file import LoadedModel
from genesis3d.networks.unet3d import UNet3d
from genesis3d.workflows.weights import export_weights, import_weights

Array = NDArray[np.float32]


def channels(width: int) -> list[tuple[int, int]]:
    """Channels in and out of depth_0 ... depth_13 and of the last convolution."""
    w = width
    down = [(1, w), (w, 2 * w), (2 * w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w), (4 * w, 8 * w), (8 * w, 8 * w)]
    up = [(24 * w, 8 * w), (8 * w, 8 * w), (12 * w, 4 * w), (4 * w, 4 * w), (6 * w, 2 * w), (2 * w, 2 * w)]
    return [*down, (8 * w, 16 * w), *up, (2 * w, 1)]


def wave(shape: tuple[int, ...], phase: float) -> Array:
    return np.sin(0.37 * np.arange(np.prod(shape)) + phase).reshape(shape).astype(np.float32)


def layers(width: int) -> dict[str, dict[str, Array]]:
    """Keras layers by formula: kernels (x, y, z, in, out)."""
    found: dict[str, dict[str, Array]] = {}
    for i, (a, b) in enumerate(channels(width)):
        side = 3 if i < 14 else 1
        kernel = wave((side, side, side, a, b), 0.1 * i) * np.float32((2 / (side**3 * a)) ** 0.5)
        found[f"depth_{i}_conv" if i < 14 else "conv3d_7"] = {"kernel": kernel, "bias": 0.1 * wave((b,), i)}
        if i < 14:
            found[f"depth_{i}_bn"] = {
                "gamma": 1 + 0.2 * wave((b,), 1 + i),
                "beta": 0.1 * wave((b,), 2 + i),
                "moving_mean": 0.1 * wave((b,), 3 + i),
                # small variances, so that an epsilon of 1e-5 instead of 1e-3 would show
                "moving_variance": 0.02 * (1 + 0.5 * wave((b,), 4 + i)),
            }
    return found


def written(path: Path, content: dict[str, dict[str, Array]], root: str = "model_weights") -> Path:
    with h5py.File(path, "w") as file:
        for layer, variables in content.items():
            for name, values in variables.items():
                file[f"{root}/{layer}/{layer}/{name}:0".lstrip("/")] = values
        file["optimizer_weights/training/SGD/iterations:0"] = np.int64(3)
        file.attrs["training_config"] = b"{}"
    return path


def keras(x: Tensor, content: dict[str, dict[str, Array]]) -> Tensor:
    """Run the Keras net in its own axes: ``x`` (1, 1, x, y, z), sigmoid at the end."""

    def conv(x: Tensor, layer: str) -> Tensor:
        kernel = torch.from_numpy(content[layer]["kernel"]).double().permute(4, 3, 0, 1, 2)
        return functional.conv3d(x, kernel, torch.from_numpy(content[layer]["bias"]).double(), padding="same")

    def unit(x: Tensor, i: int) -> Tensor:
        bn = {k: torch.from_numpy(v).double().reshape(1, -1, 1, 1, 1) for k, v in content[f"depth_{i}_bn"].items()}
        y = (conv(x, f"depth_{i}_conv") - bn["moving_mean"]) / (bn["moving_variance"] + 1e-3).sqrt()
        return (y * bn["gamma"] + bn["beta"]).clamp(min=0)

    skips = []
    for i in (0, 2, 4):
        x = unit(unit(x, i), i + 1)
        skips.append(x)
        x = functional.max_pool3d(x, 2)
    x = unit(unit(x, 6), 7)
    for i in (8, 10, 12):
        for axis in (2, 3, 4):
            x = x.repeat_interleave(2, dim=axis)
        x = unit(unit(torch.cat([x, skips.pop()], dim=1), i), i + 1)
    return conv(x, "conv3d_7").sigmoid()


def scan() -> Tensor:
    return 0.5 + 0.5 * torch.sin(0.013 * torch.arange(16 * 16 * 8, dtype=torch.float64)).reshape(1, 1, 16, 16, 8)


def turned(x: Tensor) -> Tensor:
    return x.permute(0, 1, 4, 3, 2)


@pytest.mark.parametrize("root", ["model_weights", ""])
@pytest.mark.parametrize("decoder", ["nearest", "transpose"])
def test_a_keras_file_gives_the_output_of_the_keras_net(tmp_path: Path, root: str, decoder: str) -> None:
    content = layers(4)
    network = UNet3d.parse({"width": 4, "decoder": decoder})
    imported = import_weights(written(tmp_path / "k.h5", content, root), network=network)
    assert imported.report.share == 1.0
    assert imported.card.network.to_dict() | {"decoder": ""} == {
        "name": "unet3d", "in_channels": 1, "out_channels": 1, "width": 4, "decoder": "", "norm": "batch",
        "norm_eps": "keras", "flat": 0,
    }  # fmt: skip
    with torch.no_grad():
        ours = imported.module.double()(turned(scan())).sigmoid()
    theirs = keras(scan(), content)
    torch.testing.assert_close(turned(ours), theirs, rtol=0, atol=1e-5)
    assert theirs.std() > 1e-3


def test_the_published_keras_net_has_the_papers_size(tmp_path: Path) -> None:
    imported = import_weights(written(tmp_path / "k.h5", layers(32)))
    assert imported.card.network == UNet3d(width=32, decoder="nearest", norm="batch", norm_eps="keras")
    assert sum(p.numel() for p in imported.module.parameters()) == 16_320_257
    assert (imported.report.matched, imported.report.missing, imported.report.unused) == (100, (), ())
    assert "patent pending" in imported.card.licence


def test_an_exported_keras_file_has_the_published_layout_and_comes_back_the_same(tmp_path: Path) -> None:
    first = import_weights(written(tmp_path / "k.h5", layers(4)))
    done = export_weights(LoadedModel(first.module, first.card, tmp_path), tmp_path / "out.h5", "keras")
    with h5py.File(done.path, "r") as file:
        root = file["model_weights"]
        assert len(root.attrs["layer_names"]) == 29
        for layer, variables in layers(4).items():
            name = layer if layer.startswith("depth") else "conv3d_1"
            assert list(root[name].attrs["weight_names"]) == [f"{name}/{v}:0".encode() for v in variables]
            for variable, values in variables.items():
                np.testing.assert_array_equal(root[f"{name}/{name}/{variable}:0"][()], values)
    again = import_weights(done.path)
    assert again.card.network == first.card.network
    assert again.card.licence == first.card.licence
    before = first.module.state_dict()
    assert all(torch.equal(before[key], value) for key, value in again.module.state_dict().items())
