"""Checkpoints that share the published network under other names, and networks that differ at their ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genesis3d.errors import ModelError
from genesis3d.networks.resnet3d import ResNet3d
from genesis3d.networks.unet3d import UNet3d
from genesis3d.workflows.weights import import_weights

WIDTH = 2


@pytest.fixture
def weights() -> dict[str, Tensor]:
    """A published layout of width 2, its arrays (x, y, z)."""
    return {
        key: value.permute(0, 1, 4, 3, 2).contiguous() if value.ndim == 5 else value
        for key, value in UNet3d(width=WIDTH, norm="batch_statistics").build(4).state_dict().items()
    }


def file(tmp_path: Path, content: object) -> Path:
    torch.save(content, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def prefixed(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in weights.items()}


@pytest.mark.parametrize("entry", ["state_dict", "net", "network_weights", "model_state_dict", "model", ""])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_wherever_checkpoints_keep_them(
    weights: dict[str, Tensor], tmp_path: Path, entry: str, prefix: str
) -> None:
    found = prefixed(weights, prefix)
    imported = import_weights(file(tmp_path, {"epoch": 3, entry: found} if entry else found))
    assert imported.report.share == 1.0
    assert imported.report.family.startswith("Models Genesis")
    ours = imported.module.state_dict()
    assert all(
        torch.equal(ours[key].permute(0, 1, 4, 3, 2) if value.ndim == 5 else ours[key], value)
        for key, value in weights.items()
    )


def test_old_and_half_precision_files_are_read(weights: dict[str, Tensor], tmp_path: Path) -> None:
    halves = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    torch.save({"state_dict": halves}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    imported = import_weights(tmp_path / "old.pt")
    assert imported.report.share == 1.0
    assert next(imported.module.parameters()).dtype == torch.float32


def test_numbers_of_numpy_beside_the_weights_do_no_harm(weights: dict[str, Tensor], tmp_path: Path) -> None:
    content = {"state_dict": weights, "best_loss": np.float64(0.3), "epoch": np.int64(3)}
    assert import_weights(file(tmp_path, content)).report.share == 1.0


def test_transvw_leaves_its_head_out(weights: dict[str, Tensor], tmp_path: Path) -> None:
    head = {"projection_head.0.weight": torch.zeros(3, 3), "prototypes.weight": torch.zeros(3, 3)}
    found = prefixed(weights, "module.classficationNet.") | prefixed(head, "module.")
    imported = import_weights(file(tmp_path, {"state_dict": found}))
    assert imported.report.family == "Semantic Genesis or TransVW (3D U-Net)"
    assert imported.report.share == 1.0
    assert "2 weights of a head for pre-training alone are left out." in imported.report.notes
    assert "non-commercial" in imported.card.licence


def test_suprem_brings_all_but_the_last_convolution(weights: dict[str, Tensor], tmp_path: Path) -> None:
    backbone = {key: value for key, value in weights.items() if not key.startswith("out_tr")}
    found = prefixed(backbone, "module.backbone.") | {"module.controller.weight": torch.zeros(2)}
    imported = import_weights(file(tmp_path, {"net": found}), network=UNet3d(width=WIDTH, out_channels=5))
    report = imported.report
    assert (report.matched, report.expected, report.share) == (104, 104, 1.0)
    assert report.unused == ("controller.weight",)
    assert imported.card.network.out_channels == 5
    assert (imported.card.intensity.to_dict()["low"], imported.card.spacing) == (-250.0, (1.5, 1.5, 1.5))
    assert "CC BY-NC-ND" in imported.card.licence
    assert any("last convolution (5 channel(s) out) is initialised anew" in note for note in report.notes)


def test_pcrlv2_brings_its_encoder(weights: dict[str, Tensor], tmp_path: Path) -> None:
    found = dict(weights)
    for level, i, o in (("up_tr256", 16, 8), ("up_tr128", 8, 4), ("up_tr64", 4, 2)):
        found[f"{level}.ops.0.conv1.weight"] = torch.zeros(o * WIDTH, i * WIDTH, 3, 3, 3)
    imported = import_weights(file(tmp_path, {"state_dict": prefixed(found, "module.")}))
    assert imported.report.family.startswith("PCRLv2")
    assert (imported.report.matched, imported.report.share) == (56, 1.0)
    assert "MIT" in imported.card.licence
    first = imported.module.state_dict()["up_tr256.ops.0.conv1.weight"]
    assert first.abs().sum() > 0  # initialised, not taken from the file


def test_svd_net_keeps_its_axes(tmp_path: Path) -> None:
    encoder = ResNet3d(width=4).build(2).state_dict()
    found = {f"backbone.{k.removeprefix('encoder.')}": v for k, v in encoder.items() if k.startswith("encoder.")}
    imported = import_weights(file(tmp_path, {"state_dict": found | {"head.fc.weight": torch.zeros(3, 3)}}))
    assert imported.report.family == "SVD-Net (3D ResNet)"
    assert imported.report.unused == ("head.fc.weight",)
    assert all(torch.equal(imported.module.state_dict()[k], v) for k, v in encoder.items() if k.startswith("encoder."))


@pytest.mark.parametrize("channels", [2, 3])
def test_equal_channels_give_what_one_gave(weights: dict[str, Tensor], tmp_path: Path, channels: int) -> None:
    path = file(tmp_path, {"state_dict": weights})
    one, many = import_weights(path), import_weights(path, in_channels=channels)
    x = torch.rand(1, 1, 16, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(many.module(x.repeat(1, channels, 1, 1, 1)), one.module(x), atol=1e-5, rtol=0)
    assert many.card.network.in_channels == channels
    assert any(f"saw 1 channel(s) and now sees {channels}" in note for note in many.report.notes)


def test_other_outputs_get_a_new_head(weights: dict[str, Tensor], tmp_path: Path) -> None:
    imported = import_weights(file(tmp_path, {"state_dict": weights}), network=UNet3d(width=WIDTH, out_channels=3))
    assert imported.module.state_dict()["out_tr.final_conv.weight"].shape[0] == 3
    assert imported.report.share == 1.0
    assert any("last convolution" in note for note in imported.report.notes)


def test_what_does_not_match_is_reported(weights: dict[str, Tensor], tmp_path: Path) -> None:
    found = dict(weights)
    del found["up_tr64.ops.1.bn1.weight"]
    found["up_tr64.up_conv.bias"] = torch.zeros(3)
    found["extra"] = torch.zeros(2)
    report = import_weights(file(tmp_path, {"state_dict": found})).report
    assert (report.matched, report.expected) == (104, 106)
    assert report.missing == ("up_tr64.ops.1.bn1.weight",)
    assert report.unused == ("extra",)
    assert report.mismatched == ("up_tr64.up_conv.bias (3,) for (8,)",)
    assert 0.99 < report.share < 1
    assert "104 of 106 entries match" in report.text()
    assert "missing: up_tr64.ops.1.bn1.weight" in report.text()


def test_a_network_that_cannot_host_them_is_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    path = file(tmp_path, {"state_dict": weights})
    with pytest.raises(ModelError, match=r"expected a unet3d to host Models Genesis .* got resnet3d"):
        import_weights(path, network=ResNet3d())
    with pytest.raises(ModelError, match=r"at least 60% .* got 0%"):
        import_weights(path, network=UNet3d(width=3))
    with pytest.raises(ModelError, match="in_channels"):
        import_weights(path, in_channels=99)
