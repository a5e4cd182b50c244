from __future__ import annotations

import pytest
import torch
from torch import nn

from genesis3d.networks.classifier import Classifier
from genesis3d.networks.initialising import initialise
from genesis3d.networks.unet3d import UNet3d

NETWORK = UNet3d(width=8)


def drawn(how: str, seed: int = 3) -> nn.Module:
    module = NETWORK.build(1)
    initialise(module, how, seed)  # type: ignore[arg-type]  # names of initialisations
    return module


@pytest.mark.parametrize("how", ["default", "msra", "xavier", "uniform"])
def test_weights_follow_the_seed_and_leave_the_global_generator(how: str) -> None:
    state = torch.get_rng_state()
    first, second, other = drawn(how), drawn(how), drawn(how, 4)
    assert torch.equal(state, torch.get_rng_state())
    before = NETWORK.build(1).state_dict()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
        if value.ndim == 5:
            assert not torch.equal(value, other.state_dict()[name])
            assert not torch.equal(value, before[name])
        elif "bn1" in name:
            assert torch.equal(value, before[name])  # normalisations are no weights to draw


def test_each_has_its_variance() -> None:
    name = "up_tr256.ops.0.conv1"  # 192 to 64 channels, 3x3x3
    fan_in, fan_out = 27 * 192, 27 * 64
    for how, std in (
        ("msra", (2 / fan_in) ** 0.5),
        ("xavier", (2 / (fan_in + fan_out)) ** 0.5),
        ("uniform", 0.1 / 12**0.5),
    ):
        layer = drawn(how).get_submodule(name).requires_grad_(False)
        assert float(layer.weight.std()) == pytest.approx(std, rel=0.02)  # type: ignore[arg-type]  # a convolution
        assert abs(float(layer.weight.mean())) < 0.02 * std  # type: ignore[arg-type]  # a convolution
        assert not layer.bias.any()  # type: ignore[operator]  # a convolution
    assert float(drawn("uniform").get_submodule(name).weight.detach().abs().max()) <= 0.05  # type: ignore[arg-type]


def test_a_learned_doubling_counts_the_inputs_that_an_output_really_sums() -> None:
    layer = (
        drawn("msra").get_submodule("up_tr256.up_conv").requires_grad_(False)
    )  # 2x2x2 with stride 2: every output sums the channels once
    assert float(layer.weight.std()) == pytest.approx((2 / 128) ** 0.5, rel=0.02)  # type: ignore[arg-type]
    x = torch.randn(1, 128, 4, 4, 4, generator=torch.Generator().manual_seed(1)).relu()
    with torch.no_grad():
        y = layer(x)
    assert float(y.square().mean() / x.square().mean()) == pytest.approx(2, rel=0.1)


def test_msra_keeps_the_length_of_what_goes_through_without_normalisation() -> None:
    module = UNet3d(width=8, norm="none").build()
    initialise(module, "msra", 1)
    x = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = module.encode(x)
    assert 0.2 < float(features[-1].std() / features[0].std()) < 5


def test_linear_layers_are_drawn_too() -> None:
    module = Classifier(encoder=UNet3d(width=4)).build()
    before = module.head[0].weight.clone()
    initialise(module, "xavier", 0)
    assert not torch.equal(before, module.head[0].weight)
    assert float(module.head[0].weight.detach().std()) == pytest.approx((2 / (64 + 1024)) ** 0.5, rel=0.02)
