"""Our 3D U-Net against the figures of the published one (README.md says where they come from)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genesis3d.networks.model_file import LoadedModel
from genesis3d.networks.unet3d import Norm, UNet3d
from genesis3d.workflows.weights import BatchNormMode, export_weights, import_weights

XYZ_TO_ZYX = (0, 1, 4, 3, 2)


@pytest.fixture(scope="module")
def golden() -> Iterator[dict[str, np.ndarray]]:
    with np.load(Path(__file__).with_name("unet3d_published.npz")) as file:
        yield dict(file)


def by_formula(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return the entry ``key`` of the published layout, (x, y, z) last."""
    n = int(np.prod(shape))
    s = torch.sin(0.37 * torch.arange(n, dtype=torch.float64) + 0.11 * len(key)).reshape(shape)
    if len(shape) > 1:
        fan = shape[0] if key.endswith("up_conv.weight") else n // shape[0]
        return s * (2 / fan) ** 0.5
    if key.endswith("running_var"):
        return 1 + 0.5 * s
    return 1 + 0.2 * s if key.endswith("bn1.weight") else 0.1 * s


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """The published layout filled by the formula, turned to (z, y, x)."""
    state = UNet3d(width=32).build().double().state_dict()
    for key, value in state.items():
        if value.is_floating_point():
            published = by_formula(key, tuple(value.permute(XYZ_TO_ZYX).shape) if value.ndim == 5 else value.shape)
            value.copy_(published.permute(XYZ_TO_ZYX) if value.ndim == 5 else published)
    return state


def filled(norm: Norm, weights: dict[str, Tensor]) -> nn.Module:
    with torch.device("meta"):
        module = UNet3d(width=32, norm=norm).build().eval()
    module.load_state_dict(weights, strict=True, assign=True)
    return module


def published_input() -> Tensor:
    x = 0.5 + 0.5 * torch.sin(0.013 * torch.arange(16384, dtype=torch.float64))
    return x.reshape(1, 1, 32, 32, 16).permute(XYZ_TO_ZYX)


def test_layout_is_that_of_the_published_weights(golden: dict[str, np.ndarray]) -> None:
    state = UNet3d(width=32).build().state_dict()
    assert list(state) == [str(key) for key in golden["keys"]]
    assert len(state) == 106
    shapes = [tuple(v.permute(XYZ_TO_ZYX).shape) if v.ndim == 5 else tuple(v.shape) for v in state.values()]
    assert [str(shape) for shape in shapes] == [str(shape) for shape in golden["shapes"]]


def test_bottleneck_is_the_published_one(golden: dict[str, np.ndarray], weights: dict[str, Tensor]) -> None:
    module = filled("batch_statistics", weights)
    with torch.no_grad():
        bottleneck = module.encode(published_input())[-1].permute(XYZ_TO_ZYX)  # type: ignore[operator]
    np.testing.assert_allclose(bottleneck.numpy(), golden["bottleneck_batch_statistics"], rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def published_file(golden: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as published, keys, shapes, axes and dictionary, filled by the formula."""
    state = {}
    for key, shape in zip(golden["keys"], golden["shapes"], strict=True):
        sizes = tuple(int(n) for n in str(shape).strip("(), ").split(",") if n.strip())
        counter = str(key).endswith("num_batches_tracked")
        state[f"module.{key}"] = torch.tensor(0) if counter else by_formula(str(key), sizes).float()
    path = tmp_path_factory.mktemp("published") / "Genesis_Chest_CT.pt"
    torch.save({"epoch": 7, "state_dict": state, "optimizer_state_dict": {"state": {}, "param_groups": []}}, path)
    return path


@pytest.mark.parametrize(
    ("mode", "name"), [("batch", "output_batch_statistics"), ("running", "output_running_statistics")]
)
def test_an_imported_checkpoint_gives_the_published_output(
    golden: dict[str, np.ndarray], published_file: Path, mode: BatchNormMode, name: str
) -> None:
    imported = import_weights(published_file, batch_norm=mode)
    assert (imported.report.matched, imported.report.expected, imported.report.share) == (106, 106, 1.0)
    assert imported.card.network.parameters() == 19_073_665
    with torch.no_grad():  # in double, as the golden figures: float32 itself rounds by up to 1.1e-5 here
        output = imported.module.double()(published_input()).sigmoid().permute(XYZ_TO_ZYX)
    np.testing.assert_allclose(output.numpy(), golden[name], rtol=0, atol=1e-5)
    assert golden[name].std() > 5e-4  # the output is no constant that anything would match


def test_an_exported_checkpoint_has_the_published_layout(
    golden: dict[str, np.ndarray], published_file: Path, tmp_path: Path
) -> None:
    imported = import_weights(published_file)
    assert "non-commercial" in imported.card.licence
    model = LoadedModel(imported.module, imported.card, published_file)
    done = export_weights(model, tmp_path / "out.pt", "pytorch")
    written = torch.load(done.path, weights_only=True)
    before = torch.load(published_file, weights_only=True)["state_dict"]
    assert list(written)[:3] == ["epoch", "state_dict", "optimizer_state_dict"]
    assert isinstance(written["epoch"], int)
    assert list(written["state_dict"]) == [f"module.{key}" for key in golden["keys"]]
    assert [str(tuple(v.shape)) for v in written["state_dict"].values()] == [str(s) for s in golden["shapes"]]
    assert all(torch.equal(written["state_dict"][key], before[key]) for key in before)
    assert "non-commercial" in written["genesis3d"]
    assert any("non-commercial" in note for note in done.notes)
