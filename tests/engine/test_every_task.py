"""What holds for every registered task."""

from __future__ import annotations

import pytest
import torch

from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks import TASKS, Task

NETWORK = UNet3d(width=4, norm="batch")
VARIANTS: dict[str, list[dict[str, object]]] = {
    "restoration": [{"loss": x, "output": y} for x in ("mse", "mae", "ssim") for y in ("sigmoid", "linear", "residual")]
}
CONFIGS = [cls.parse(v) for cls in TASKS for v in VARIANTS.get(cls.name, [{}])]


@pytest.fixture(params=CONFIGS, ids=lambda config: "-".join(map(str, config.to_dict().values())))
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 1, 2, 4, 4, generator=generator)
    target = torch.nn.functional.interpolate(coarse, scale_factor=4.0, mode="trilinear")
    corrupted = target.clone()
    corrupted[:, :, 2:6, 4:12, 4:12] = torch.rand(2, 1, 4, 8, 8, generator=generator)
    return corrupted, target


def test_loss_is_finite_and_the_output_is_in_the_domain(task: Task) -> None:
    corrupted, target = pair()
    result = task.build(NETWORK)(corrupted, target)
    assert result["loss"].ndim == 0
    assert torch.isfinite(result["loss"])
    assert result["output"].shape == target.shape
    assert result["output"].min() >= 0
    assert result["output"].max() <= 1
    assert not result["output"].requires_grad


def test_every_parameter_gets_a_gradient(task: Task) -> None:
    module = task.build(NETWORK)
    module(*pair())["loss"].backward()
    assert not [key for key, p in module.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not [k for k, p in module.named_parameters() if k.endswith("weight") and p.grad.abs().max() == 0]


def test_it_overfits_one_batch(task: Task) -> None:
    module = task.build(NETWORK, seed=2)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    corrupted, target = pair()
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = module(corrupted, target)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.35 * losses[0]


def test_a_network_module_is_taken_as_it_is(task: Task) -> None:
    network = NETWORK.build()
    assert task.build(network).network is network


def test_the_name_and_fields_rebuild_it(task: Task) -> None:
    assert TASKS.parse(task.to_dict()) == task
