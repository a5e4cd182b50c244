"""What holds for every registered task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from genesis3d.networks import Network
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.transfer import target_network, transfer
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks import TASKS, Task

BODY = UNet3d(width=4, norm="batch")
NETWORKS_OF: dict[str, Network] = {
    "opacity": BODY.replaced(out_channels=2),
    "segmentation": BODY.replaced(out_channels=3),
    "classification": Classifier(out_channels=2, encoder=BODY, hidden=16),
}
VARIANTS: dict[str, list[dict[str, object]]] = {
    "restoration": [
        {"loss": x, "output": y} for x in ("mse", "mae", "ssim") for y in ("sigmoid", "linear", "residual")
    ],
    "opacity": [{}],
    "segmentation": [
        {},
        {"batch_dice": False, "background": True, "cross_entropy": 0},
        {"dice": 0, "class_weights": "inverse", "label_smoothing": 0.05},
    ],
    "classification": [{}, {"class_weights": "inverse", "label_smoothing": 0.05}],
}
CONFIGS = [cls.parse(v) for cls in TASKS for v in VARIANTS.get(cls.name, [{}])]


@pytest.fixture(params=CONFIGS, ids=lambda config: "-".join(map(str, config.to_dict().values())))
def task(request: pytest.FixtureRequest) -> Task:
    return request.param


def network(task: Task) -> Network:
    return NETWORKS_OF.get(task.name, BODY)


def pair(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """A corrupted image, and a target of the task's kind: the image itself, or classes that it shows."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(2, 1, 2, 4, 4, generator=generator)
    image = torch.nn.functional.interpolate(coarse, scale_factor=4.0, mode="trilinear")
    corrupted = image.clone()
    corrupted[:, :, 2:6, 4:12, 4:12] = torch.rand(2, 1, 4, 8, 8, generator=generator)
    if task.name == "segmentation":
        classes = (image > 0.4).to(torch.uint8) + (image > 0.6)
        classes[:, :, 6:] = 255
        return image, classes
    if task.name == "opacity":
        changed = torch.zeros_like(image)
        changed[:, :, 2:6, 4:12, 4:12] = 1
        return corrupted, torch.cat([image, torch.ones_like(image), changed], dim=1)
    return corrupted, torch.tensor([0, 1]) if task.name == "classification" else image


def test_loss_is_finite_and_the_output_is_in_the_domain(task: Task) -> None:
    corrupted, target = pair(task)
    result = task.build(network(task))(corrupted, target)
    assert result["loss"].ndim == 0
    assert torch.isfinite(result["loss"])
    spatial = corrupted.shape[2:] if network(task).dense else ()
    assert result["output"].shape == (2, network(task).out_channels, *spatial)
    assert result["output"].min() >= 0
    assert result["output"].max() <= 1
    assert not result["output"].requires_grad


def test_every_parameter_gets_a_gradient(task: Task) -> None:
    module = task.build(network(task))
    module(*pair(task))["loss"].backward()
    assert not [key for key, p in module.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not [k for k, p in module.named_parameters() if k.endswith("weight") and p.grad.abs().max() == 0]


def test_it_overfits_one_batch(task: Task) -> None:
    module = task.build(network(task), seed=2)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    corrupted, target = pair(task)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = module(corrupted, target)["loss"]
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    smoothed = getattr(task, "label_smoothing", 0.0)  # a loss that cannot reach 0
    assert losses[-1] < (0.5 if smoothed else 0.35) * losses[0]


def test_its_encoder_loads_into_the_networks_of_the_target_tasks(task: Task, tmp_path: Path) -> None:
    module = task.build(network(task), seed=3)
    path = tmp_path / "model.safetensors"
    write_model(path, module.network, ModelCard(network=network(task), task=task.to_dict(), title="a model"))
    theirs = module.network.state_dict()
    for purpose in ("segmentation", "classification"):
        target = target_network(str(path), 4, purpose=purpose)  # type: ignore[arg-type]  # both are purposes
        ours = target.build(9)
        matched = transfer(str(path), target, ours, "encoder").matched
        assert len(matched) == 56
        plain = {name.removeprefix("encoder."): value for name, value in theirs.items()}
        state = ours.state_dict()
        assert all(torch.equal(state[name], plain[name.removeprefix("encoder.")]) for name in matched)


def test_targets_for_trial_steps_are_of_its_kind(task: Task) -> None:
    module = task.build(network(task))
    image = pair(task)[0]
    if hasattr(module, "example"):
        assert torch.isfinite(module(image, module.example(image))["loss"])
    else:
        assert torch.isfinite(module(image, image)["loss"])


def test_a_network_module_is_taken_as_it_is(task: Task) -> None:
    built = network(task).build()
    assert task.build(built).network is built


def test_the_name_and_fields_rebuild_it(task: Task) -> None:
    assert TASKS.parse(task.to_dict()) == task
