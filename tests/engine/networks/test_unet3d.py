from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from genesis3d.networks.unet3d import UNet3d
from genesis3d.networks.unet3d_modules import BatchStatisticsNorm3d


@pytest.mark.parametrize(
    ("decoder", "width", "expected"),
    [("transpose", 32, 19_073_665), ("nearest", 32, 16_320_257), ("transpose", 8, 1_193_761)],
)
def test_parameter_counts_are_the_published_ones(decoder: str, width: int, expected: int) -> None:
    assert UNet3d.parse({"decoder": decoder, "width": width}).parameters() == expected


@pytest.mark.parametrize("decoder", ["transpose", "nearest"])
@pytest.mark.parametrize("flat", [0, 1, 2])
def test_flat_levels_leave_slices_apart(decoder: str, flat: int) -> None:
    config = UNet3d.parse({"decoder": decoder, "width": 2, "norm": "none", "flat": flat})
    module = config.build(0).eval()
    assert sum(weight.numel() for weight in module.parameters()) == config.parameters()
    x = torch.zeros(1, 1, 16, 16, 16)
    x[0, 0, 5] = torch.rand(16, 16)
    with torch.inference_mode():
        features = module.encode(x)
        assert [level.shape[2] for level in features] == [[16, 8, 4, 2], [16, 16, 8, 4], [16, 16, 16, 8]][flat]
        assert module(x).shape == x.shape
        empty = module.encode(torch.zeros_like(x))
    reached = [int((a != b).any(dim=(0, 1, 3, 4)).sum()) for a, b in zip(features, empty, strict=True)]
    assert reached[:flat] == [1] * flat  # a slice alone is seen where levels are flat


def test_a_configuration_costs_no_torch() -> None:
    code = (
        "import sys; from genesis3d.networks import NETWORKS; from genesis3d.tasks import TASKS\n"
        "from genesis3d.networks import model_file\nfrom genesis3d.data import cases, sampling, phantoms\n"
        "NETWORKS.get('unet3d')().parameters(); TASKS.parse('restoration')\n"
        "sys.exit('torch' in sys.modules or 'SimpleITK' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_batch_statistics_are_used_in_evaluation_and_do_not_drift() -> None:
    norm = BatchStatisticsNorm3d(2)
    x = torch.rand(2, 2, 4, 4, 4) * 5 + 3
    norm(x)
    assert norm.running_mean is not None
    kept = norm.running_mean.clone()
    y = norm.eval()(x)
    assert torch.equal(kept, norm.running_mean)
    torch.testing.assert_close(y.mean(dim=(0, 2, 3, 4)), torch.zeros(2), atol=1e-5, rtol=0)
    assert kept.min() > 0.1


def used_memory() -> None:
    """Leave NaN in the memory that the next allocations will get."""
    blocks = [torch.full((1 << k,), torch.nan) for k in range(6, 24) for _ in range(2)]
    del blocks


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_bfloat16_gradients_are_those_of_32_bits(depth: int) -> None:
    unit = UNet3d(width=4).build().down_tr512  # type: ignore[union-attr]
    x = torch.rand(4, 32, depth, 8, 8, generator=torch.Generator().manual_seed(0))
    gradients = []
    for half in (False, True, True, True):
        unit.zero_grad(set_to_none=True)  # type: ignore[union-attr,operator]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = (unit(x).float() * x.repeat(1, 2, 1, 1, 1)).mean()  # type: ignore[operator]
        used_memory()
        loss.backward()
        gradients.append(unit.ops[0].conv1.weight.grad.flatten())  # type: ignore[union-attr,index]
    for gradient in gradients[1:]:
        assert torch.isfinite(gradient).all()
        assert torch.cosine_similarity(gradients[0], gradient, dim=0) > 0.98
