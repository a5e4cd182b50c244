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
