from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter

from genesis3d.errors import ConfigError
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.activation import prediction, restored
from genesis3d.tasks.figures import median3, restoration_figures
from genesis3d.tasks.restoration import Restoration


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_activations_by_hand() -> None:
    logits, x = torch.tensor([-9.0, 0.0, 0.7, 3.0]), torch.tensor([0.2, 0.2, 0.2, 0.2])
    assert restored(logits, x, "sigmoid").tolist() == pytest.approx([0.000123, 0.5, 0.668188, 0.952574], abs=1e-5)
    assert restored(logits, x, "linear").tolist() == pytest.approx([0, 0, 0.7, 1])
    assert restored(logits, x, "residual").tolist() == pytest.approx([0, 0.2, 0.9, 1])
    assert prediction(logits, x, "residual").tolist() == pytest.approx([-8.8, 0.2, 0.9, 3.2])
    with pytest.raises(ConfigError, match="activation: expected sigmoid"):
        restored(logits, x, "relu")  # type: ignore[arg-type]


def test_the_loss_is_the_mean_over_all_voxels() -> None:
    x, target = random(2, 1, 8, 16, 16), random(2, 1, 8, 16, 16, seed=1)
    for loss, power in (("mse", 2), ("mae", 1)):
        module = Restoration.parse({"loss": loss, "output": "sigmoid"}).build(UNet3d(width=2, norm="none"))
        with torch.no_grad():
            result = module(x, target)
            expected = (module.network(x).sigmoid() - target).abs().pow(power).mean()
        torch.testing.assert_close(result["loss"], expected)
        torch.testing.assert_close(result[loss], expected)


def test_the_structural_loss_is_one_minus_ssim_and_nothing_for_equal_sub_volumes() -> None:
    from genesis3d.tasks.similarity import ssim

    x, target = random(2, 1, 8, 16, 16), random(2, 1, 8, 16, 16, seed=1)
    module = Restoration(loss="ssim").build(UNet3d(width=2, norm="none"))
    with torch.no_grad():
        result = module(x, target)
        expected = 1 - ssim(module.network(x).sigmoid(), target).mean()
        nothing = Restoration(loss="ssim", output="linear").build(torch.nn.Identity())(target, target)["loss"]
    torch.testing.assert_close(result["loss"], expected)
    assert float(nothing) == pytest.approx(0, abs=1e-6)


def test_output_channels_must_be_those_of_the_input() -> None:
    with pytest.raises(ConfigError, match="as many output as input channels"):
        Restoration().build(UNet3d(width=2, out_channels=3))


def test_the_median_is_that_of_scipy() -> None:
    x = random(2, 2, 5, 6, 7)
    expected = median_filter(x.numpy(), size=(1, 1, 3, 3, 3), mode="nearest")
    np.testing.assert_array_equal(median3(x).numpy(), expected)


def test_figures_by_hand() -> None:
    target = torch.zeros(2, 1, 4, 4, 4)
    target[0, :, :2] = 1.0
    target[1] = 0.25
    figures = restoration_figures(target + 0.5, target, target + 0.1)
    assert figures["mse_input"] == pytest.approx(0.25)
    assert figures["mse_constant"] == pytest.approx(0.125)
    assert figures["mse_network"] == pytest.approx(0.01)
    assert figures["ratio"] == pytest.approx(0.08)
    assert "ratio" not in restoration_figures(target, target)
