"""Import, statistics on one's own scans, and export: what goes out comes back the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from genesis3d.errors import ModelError
from genesis3d.io import write_volume
from genesis3d.networks import NETWORKS, Network
from genesis3d.networks.card import ModelCard
from genesis3d.networks.foreign import onnx_file
from genesis3d.networks.model_file import LoadedModel, read_model, write_model
from genesis3d.training import statistics as statistics_of_batches
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows import weights_statistics
from genesis3d.workflows.weights import export_weights, import_weights

LICENCE = "academic and non-commercial use only"


def model(tmp_path: Path, **fields: object) -> LoadedModel:
    """A small model with statistics of its own, as read from its file."""
    network = NETWORKS.parse({"name": "unet3d", "width": 2} | fields)
    module = network.build(3)
    generator = torch.Generator().manual_seed(0)
    module(torch.rand(2, network.in_channels, 2 * network.stride, network.stride, network.stride, generator=generator))
    card = ModelCard(title="small", network=network, licence=LICENCE, step=12)
    write_model(tmp_path / "m.safetensors", module, card)
    return read_model(tmp_path / "m.safetensors")


def phantom(path: Path) -> Path:
    """A CT of a ball of tissue in air."""
    grid = np.indices((40, 72, 72)) - np.array([20, 36, 36]).reshape(3, 1, 1, 1)
    ball = ((grid / np.array([16, 30, 30]).reshape(3, 1, 1, 1)) ** 2).sum(axis=0) < 1
    noise = np.random.default_rng(0).normal(0, 30, ball.shape)
    data = np.where(ball, 40, -950)[None] + noise
    geometry = Geometry(shape=ball.shape, spacing=(1.0, 1.0, 1.0))
    write_volume(Volume(data.astype(np.int16), geometry, name="ball", modality="CT", unit="HU"), path)
    return path


@pytest.mark.parametrize("norm", ["batch", "batch_statistics"])
@pytest.mark.parametrize(("kind", "decoder"), [("pytorch", "transpose"), ("keras", "nearest")])
def test_an_exported_model_comes_back_the_same(tmp_path: Path, norm: str, kind: str, decoder: str) -> None:
    before = model(tmp_path, norm=norm, decoder=decoder)
    done = export_weights(before, tmp_path / "out", kind)  # type: ignore[arg-type]  # parametrised
    after = import_weights(done.path)
    assert after.card.network == before.card.network
    assert after.card.licence == LICENCE
    assert (after.card.title, after.card.step) == ("small", 12)
    kept = before.module.state_dict()
    for key, value in after.module.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(kept[key], value), key
    assert any("width 32" in note for note in done.notes)
    assert done.notes[-1] == LICENCE
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_nearest_decoder_goes_out_as_copies_that_are_the_same_function(tmp_path: Path) -> None:
    before = model(tmp_path, decoder="nearest", norm_eps="keras")
    done = export_weights(before, tmp_path / "out.pt", "pytorch", prefix=False)
    written = torch.load(done.path, weights_only=True)["state_dict"]
    assert len(written) == 106
    assert not any(key.startswith("module.") for key in written)
    after = import_weights(done.path)
    x = torch.rand(1, 1, 16, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(after.module(x), before.module(x), atol=1e-6, rtol=0)
    assert any("epsilon 1e-3" in note for note in done.notes)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        ("keras", {"decoder": "transpose"}, "expected a network with the nearest decoder"),
        ("pytorch", {"norm": "instance"}, "expected a network with batch norm, as published, got 'instance'"),
        ("pytorch", {"name": "resnet3d", "depth": 10}, "expected a unet3d, the published network, got a resnet3d"),
        ("caffe", {}, "expected pytorch, keras or onnx, got 'caffe'"),
    ],
)
def test_what_has_no_published_layout_is_refused(
    tmp_path: Path, kind: str, fields: dict[str, object], message: str
) -> None:
    (tmp_path / "out").write_bytes(b"older")
    with pytest.raises(ModelError, match=message):
        export_weights(model(tmp_path, **fields), tmp_path / "out", kind)  # type: ignore[arg-type]  # a wrong one too
    assert (tmp_path / "out").read_bytes() == b"older"


def test_running_statistics_are_measured_on_the_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (statistics_of_batches, weights_statistics):
        monkeypatch.setattr(module, "WINDOWS", 4)
    done = export_weights(model(tmp_path, norm="batch_statistics"), tmp_path / "out.pt")
    scan = phantom(tmp_path / "ball.nii.gz")
    stored = import_weights(done.path, batch_norm="running")
    measured = import_weights(done.path, batch_norm="running", scans=[scan])
    assert any("give scans to re-estimate" in note for note in stored.report.notes)
    assert any("measured on 4 sub-volumes of 1 scan(s)" in note for note in measured.report.notes)
    assert measured.card.training["imported"]["statistics"] == "re-estimated"
    assert not measured.module.training
    statistics = import_weights(done.path, batch_norm="batch")
    window = torch.rand(1, 1, 32, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.1
    window[:, :, 8:24, 16:48, 16:48] += 0.5
    with torch.no_grad():
        exact, close, far = (one.module(window) for one in (statistics, measured, stored))
    assert (close - exact).abs().mean() < (far - exact).abs().mean()
    weights, before = measured.module.state_dict(), stored.module.state_dict()
    changed = {key.rpartition(".")[2] for key in weights if not torch.equal(weights[key], before[key])}
    assert changed == {"running_mean", "running_var", "num_batches_tracked"}


def test_scans_of_other_channels_are_refused(tmp_path: Path) -> None:
    done = export_weights(model(tmp_path), tmp_path / "out.pt")
    with pytest.raises(ModelError, match=r"expected scans of 2 channel\(s\) for the network, got 1"):
        import_weights(done.path, batch_norm="running", in_channels=2, scans=[phantom(tmp_path / "ball.nii.gz")])


def test_source_and_licence_stand_in_the_card(tmp_path: Path) -> None:
    path = export_weights(model(tmp_path), tmp_path / "out.pt").path
    content = torch.load(path, weights_only=True)
    del content["genesis3d"]
    torch.save(content, path)
    plain, told = import_weights(path), import_weights(path, source="from the authors", licence="CC0")
    assert "patent pending" in plain.card.licence
    assert plain.card.licence in plain.report.notes
    assert told.card.licence == "CC0"
    assert told.card.training["imported"]["source"] == "from the authors"
    assert len(told.card.training["imported"]["sha256"]) == 64
    assert (told.card.patch, told.card.activation) == ((32, 64, 64), "sigmoid")
    assert str(tmp_path) not in str(told.card.to_dict())
    write_model(tmp_path / "kept.safetensors", told.module, told.card)
    assert read_model(tmp_path / "kept.safetensors").card.licence == "CC0"


class Small(Network):
    """A user's own network: one pooling, one convolution, one doubling."""

    name = "small"

    @property
    def stride(self) -> int:
        return 2

    def _module(self) -> nn.Module:
        return nn.Sequential(nn.AvgPool3d(2), nn.Conv3d(1, 1, 3, padding=1), nn.Upsample(scale_factor=2))


def own_model() -> LoadedModel:
    network = Small()
    card = ModelCard.model_construct(**dict(ModelCard(network=NETWORKS.parse("unet3d"), licence=LICENCE)))
    card = card.model_copy(update={"network": network, "activation": "residual"})
    return LoadedModel(network.build(1).eval(), card, Path())


def ran(path: Path, x: torch.Tensor) -> torch.Tensor:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return torch.from_numpy(onnxruntime.InferenceSession(path).run(None, {"scan": x.numpy()})[0])


def test_onnx_of_the_published_network_agrees_at_any_size(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    before = model(tmp_path)
    done = export_weights(before, tmp_path / "out.onnx", "onnx")
    for shape in [(1, 1, 16, 8, 24), (3, 1, 8, 16, 16)]:
        x = torch.rand(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            torch.testing.assert_close(ran(done.path, x), before.module(x).sigmoid(), atol=1e-4, rtol=0)
    assert done.notes[-1] == LICENCE


@pytest.mark.parametrize("activation", [True, False])
def test_onnx_of_any_network_carries_card_and_activation(tmp_path: Path, activation: bool) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    before = own_model()
    done = export_weights(before, tmp_path / "out.onnx", "onnx", activation=activation)
    x = torch.rand(3, 1, 6, 2, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = before.module(x)
    expected = (x + logits).clamp(0, 1) if activation else logits
    torch.testing.assert_close(ran(done.path, x), expected, atol=1e-4, rtol=0)
    metadata = onnxruntime.InferenceSession(done.path).get_modelmeta().custom_metadata_map
    assert LICENCE in metadata["genesis3d"]


def test_an_onnx_file_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    with pytest.raises(ModelError, match="expected onnxruntime and torch to agree"):
        export_weights(own_model(), tmp_path / "out.onnx", "onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_network_without_free_sizes_is_exported_with_fixed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    exported = onnx_file._exported

    def fixed_only(*args: Any, free: bool) -> bytes:
        if free:
            raise RuntimeError("sizes cannot be free")
        return exported(*args, free=free)

    monkeypatch.setattr(onnx_file, "_exported", fixed_only)
    done = export_weights(own_model(), tmp_path / "out.onnx", "onnx")
    assert "Sizes are fixed to a batch of 2 of (4, 6, 8) voxels (D, H, W)." in done.notes
    assert ran(done.path, torch.rand(2, 1, 4, 6, 8)).shape == (2, 1, 4, 6, 8)


def test_onnx_says_what_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"not installed: pip install 'napari-genesis\[onnx\]'"):
        export_weights(model(tmp_path), tmp_path / "out.onnx", "onnx")
