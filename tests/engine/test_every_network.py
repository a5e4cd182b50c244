"""What holds for every registered network, a user's own included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from genesis3d.errors import ConfigError
from genesis3d.networks import NETWORKS, Network

VARIANTS: dict[str, list[dict[str, object]]] = {
    "unet3d": [
        {"width": 4, "decoder": decoder, "norm": norm}
        for decoder in ("transpose", "nearest")
        for norm in ("batch", "batch_statistics", "instance", "group", "none")
    ]
    + [{"width": 4, "in_channels": 2, "out_channels": 3}, {"width": 4, "norm_eps": "keras"}],
    "resnet3d": [
        {"width": 4, "depth": 10, "shortcut": "A"},
        {"width": 4, "depth": 10, "norm": "instance", "dilated": True},
        {"width": 4, "depth": 18, "norm": "batch_statistics", "dilated": True, "in_channels": 2, "out_channels": 3},
        {"width": 4, "depth": 34, "norm": "group", "stem_stride": 1, "dilated": True},
        {"width": 4, "depth": 50, "dilated": True},
        {"width": 4, "depth": 50, "norm": "none", "dilated": True, "stem_stride": 1},
    ],
    "ensemble": [
        {"network": {"name": "unet3d", "width": 4}, "members": 2},
        {"network": {"name": "unet3d", "width": 2, "flat": 1}, "activation": "opacity", "out_channels": 2},
        {
            "network": {"name": "resnet3d", "width": 4, "depth": 10},
            "members": 2,
            "activation": "softmax",
            "in_channels": 2,
            "out_channels": 3,
        },
    ],
    "classifier": [
        {"encoder": {"name": "unet3d", "width": 4}, "hidden": 16},
        {"encoder": {"name": "unet3d", "width": 4, "norm": "batch_statistics"}, "head": "linear", "in_channels": 2},
        {"encoder": {"name": "resnet3d", "width": 4, "depth": 10, "dilated": True}, "head": "linear"},
    ],
}
CONFIGS = [cls.parse(v) for cls in NETWORKS for v in VARIANTS.get(cls.name, [{}])]


def name(config: Network) -> str:
    return "-".join(str(value) for value in config.to_dict().values())


@pytest.fixture(params=CONFIGS, ids=name)
def config(request: pytest.FixtureRequest) -> Network:
    return request.param


def batch(config: Network, cases: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    n = config.stride
    return torch.rand(cases, config.in_channels, n, 2 * n, 3 * n, generator=generator)


def test_forward_is_finite_and_of_the_declared_shape(config: Network) -> None:
    x = batch(config)
    y = config.build()(x)
    assert y.shape == (len(x), config.out_channels, *(x.shape[2:] if config.dense else ()))
    assert torch.isfinite(y).all()
    assert y.std() > 0


def test_gradient_reaches_every_parameter(config: Network) -> None:
    module = config.build()
    y = module(batch(config))
    y.square().mean().backward()
    dead = [key for key, p in module.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not dead
    # a bias before a normalisation has no effect but rounding; every weight must have one
    assert not [key for key, p in module.named_parameters() if key.endswith("weight") and p.grad.abs().max() == 0]


def test_parameters_are_counted_without_building_them(config: Network) -> None:
    assert config.parameters() == sum(p.numel() for p in config.build().parameters())


def test_its_parts_hold_every_weight_once_and_the_encoder_is_counted(config: Network) -> None:
    names = [key for key, _ in config.build().named_parameters()]
    parts, weights = config.parts, dict(config.build().named_parameters())
    levels = [*parts.encoder, *parts.decoder, parts.head]
    owners = [sum(key.startswith(level) for level in levels) for key in names]
    assert owners == [1] * len(names)
    encoder = tuple(prefix for level in parts.encoder for prefix in level)
    assert config.body.encoder_parameters() == sum(p.numel() for key, p in weights.items() if key.startswith(encoder))
    assert weights[parts.first].shape[1] == config.in_channels
    with torch.no_grad():
        assert config.build().encode(batch(config))[-1].shape[1] == config.body.bottleneck


def test_a_case_does_not_depend_on_its_batch(config: Network) -> None:
    module, x = settled(config), batch(config)
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(case[None]) for case in x])
    if config.independent:
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    else:
        assert (together - alone).abs().max() > 1e-3


def settled(config: Network) -> nn.Module:
    module = config.build()
    for _ in range(2):
        module(batch(config))
    return module.eval()


def test_evaluation_changes_no_state(config: Network) -> None:
    module = settled(config)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        module(batch(config))
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


def test_build_follows_its_seed_and_leaves_the_global_generator(config: Network) -> None:
    state = torch.get_rng_state()
    first, second, other = config.build(5).state_dict(), config.build(5).state_dict(), config.build(6).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_sizes_that_do_not_fit_are_refused_in_one_sentence(config: Network) -> None:
    n = config.stride
    module = config.build()
    for sizes in [(n + 1, 2 * n, 2 * n), (2 * n, 2 * n, 2 * n - 3), (n, n, n)]:
        with pytest.raises(
            ConfigError, match=rf"{config.name}: expected sizes .* multiples of {n}.* got \({sizes[0]},"
        ):
            module(torch.rand(1, config.in_channels, *sizes))
    with pytest.raises(ConfigError, match="input channel"):
        module(torch.rand(1, config.in_channels + 1, 2 * n, 2 * n, 2 * n))


def test_the_name_and_fields_rebuild_it(config: Network) -> None:
    assert NETWORKS.parse(config.to_dict()) == config
