"""Our 3D ResNet's encoder against MONAI's figures (README.md says where they come from), through the importer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genesis3d.errors import ModelError
from genesis3d.networks.resnet3d import ResNet3d
from genesis3d.workflows.weights import import_weights

STEM = {10: 2, 18: 1, 34: 2, 50: 2}


@pytest.fixture(scope="module")
def golden() -> Iterator[dict[str, np.ndarray]]:
    with np.load(Path(__file__).with_name("resnet3d_monai.npz")) as file:
        yield dict(file)


def by_formula(key: str, shape: tuple[int, ...]) -> Tensor:
    n = int(np.prod(shape))
    s = torch.sin(0.37 * torch.arange(n, dtype=torch.float64) + 0.11 * len(key)).reshape(shape)
    if len(shape) > 1:
        return s * (2 / (n // shape[0])) ** 0.5
    if key.endswith("running_var"):
        return 1 + 0.5 * s
    return 1 + 0.2 * s if key.endswith(".weight") else 0.1 * s


def state(golden: dict[str, np.ndarray], depth: int) -> dict[str, Tensor]:
    found = {}
    for key, shape in zip(golden[f"keys_{depth}"], golden[f"shapes_{depth}"], strict=True):
        sizes = tuple(int(n) for n in str(shape).strip("(), ").split(",") if n.strip())
        found[str(key)] = by_formula(str(key), sizes) if sizes else torch.tensor(0)
    return found


@pytest.mark.parametrize("depth", STEM)
def test_an_imported_monai_encoder_gives_monais_features(
    golden: dict[str, np.ndarray], depth: int, tmp_path: Path
) -> None:
    torch.save(state(golden, depth), tmp_path / "m.pt")
    network = ResNet3d.parse(
        {"depth": depth, "width": 8, "stem_stride": STEM[depth], "shortcut": "A" if depth in (18, 34) else "B"}
    )
    imported = import_weights(tmp_path / "m.pt", network=network)
    assert (imported.report.family, imported.report.share) == ("MONAI 3D ResNet", 1.0)
    assert imported.report.missing == imported.report.unused == imported.report.mismatched == ()
    x = 0.5 + 0.5 * torch.sin(0.013 * torch.arange(32 * 64 * 96, dtype=torch.float64)).reshape(1, 1, 32, 64, 96)
    with torch.no_grad():
        features = imported.module.double().encode(x.permute(0, 1, 4, 3, 2))[-1]  # type: ignore[operator]
    theirs = golden[f"output_{depth}"]
    limit = 1e-5 * max(1.0, float(np.abs(theirs).max()))
    np.testing.assert_allclose(features.permute(0, 1, 4, 3, 2).numpy(), theirs, rtol=0, atol=limit)
    assert theirs.std() > 0.1


@pytest.mark.parametrize("depth", STEM)
def test_a_medicalnet_file_is_hosted_as_it_was_trained(
    golden: dict[str, np.ndarray], depth: int, tmp_path: Path
) -> None:
    wrapped = {f"module.{key}": value for key, value in state(golden, depth).items() if not key.endswith("0.bias")}
    torch.save({"state_dict": wrapped}, tmp_path / "resnet.pth")
    imported = import_weights(tmp_path / "resnet.pth")
    assert imported.report.family == "MedicalNet (3D ResNet)"
    assert imported.report.share == 1.0
    network = imported.card.network
    assert isinstance(network, ResNet3d)
    assert (network.depth, network.stem_stride, network.dilated) == (depth, 2, True)
    assert network.shortcut == ("A" if depth in (18, 34) else "B")
    assert any("decoder is initialised anew" in note for note in imported.report.notes)
    x = torch.rand(1, 1, 8, 16, 24, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert imported.module.encode(x)[-1].shape[2:] == (1, 2, 3)  # type: ignore[operator]
        assert torch.isfinite(imported.module(x)).all()


def test_a_stem_for_colours_is_summed(golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    weights = state(golden, 10)
    torch.save({**weights, "conv1.weight": weights["conv1.weight"].repeat(1, 3, 1, 1, 1) / 3}, tmp_path / "rgb.pt")
    torch.save(weights, tmp_path / "gray.pt")
    rgb = import_weights(tmp_path / "rgb.pt", in_channels=1)
    gray = import_weights(tmp_path / "gray.pt")
    stem = "encoder.conv1.weight"
    torch.testing.assert_close(rgb.module.state_dict()[stem], gray.module.state_dict()[stem])
    assert rgb.card.network == gray.card.network


def test_a_resnet_of_another_depth_is_refused(golden: dict[str, np.ndarray], tmp_path: Path) -> None:
    weights = {key: value for key, value in state(golden, 34).items() if not key.startswith("layer4.2.")}
    torch.save(weights, tmp_path / "m.pt")
    with pytest.raises(ModelError, match=r"m\.pt: .* a 3D ResNet of depth 10, 18, 34, 50, got blocks \(3, 4, 6, 2\)"):
        import_weights(tmp_path / "m.pt")
