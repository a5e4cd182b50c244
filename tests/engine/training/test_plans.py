"""Which parts of a network are trained when: frozen encoders, the two teeth of a sawtooth, rates by level."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genesis3d.data.cases import Case
from genesis3d.errors import ConfigError
from genesis3d.events import Control, Order, Stepped
from genesis3d.networks import Network
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import ModelCard, read_model, write_model
from genesis3d.networks.resnet3d import ResNet3d
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.classification import Classification
from genesis3d.tasks.restoration import Restoration
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.groups import Levels
from genesis3d.training.rundir import RunDir
from genesis3d.training.settings import OptimiserSettings, PlanSettings
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]


def settings(**plan: Any) -> OptimiserSettings:
    return OptimiserSettings.parse({"lr": 1.0, "warmup": 4, "schedule": "poly", "plan": plan})


def test_a_sawtooth_rises_and_falls_twice() -> None:
    sawtooth = settings(schedule="sawtooth", head_warmup=5)
    rates = [sawtooth.learning_rate(step, 100) for step in range(101)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert rates[9] == pytest.approx((1 / 5) ** 0.9)
    assert rates[10:14] == pytest.approx([0.25, 0.5, 0.75, 1.0])  # the rise of the whole network: 4 steps
    plain = settings()
    assert rates[10:] == [plain.learning_rate(step, 90) for step in range(91)]
    assert rates[14:] == sorted(rates[14:], reverse=True)
    assert rates[100] == 0
    parts = [sawtooth.plan.trained(step, 100) for step in (9, 10)]
    assert parts == [{"decoder", "head"}, {"encoder", "decoder", "head"}]


def test_the_first_tooth_is_at_most_a_fifth_and_a_continued_run_has_none() -> None:
    sawtooth = settings(schedule="sawtooth", head_warmup=50)
    assert sawtooth.plan.tooth(None) == 100
    assert sawtooth.plan.tooth(60) == 12
    assert sawtooth.learning_rate(0, 3) > 0  # too short for a tooth
    assert "encoder" not in sawtooth.plan.trained(99, None)
    assert "encoder" in sawtooth.plan.trained(60, 120, leg=60)
    again = [sawtooth.learning_rate(step, 120, leg=60) for step in range(60, 120)]
    assert again == [settings().learning_rate(step, 60) for step in range(60)]


def test_an_encoder_is_frozen_for_some_steps_or_for_good() -> None:
    some, always = PlanSettings(schedule="frozen", frozen_steps=3), PlanSettings(schedule="frozen", first="head")
    assert ["encoder" in some.trained(step, 10) for step in (0, 2, 3, 9)] == [False, False, True, True]
    assert always.trained(9, 10) == {"head"}
    assert always.trained(9, 10, leg=5) == {"head"}
    assert PlanSettings().plain
    assert not PlanSettings(layer_decay=0.9).plain


NETWORKS: dict[str, tuple[Network, list[str]]] = {
    "unet3d": (UNet3d(width=4), [f"encoder-{i}" for i in (1, 2, 3, 4)] + [f"decoder-{i}" for i in (1, 2, 3)]),
    "resnet3d": (ResNet3d(width=4, depth=10), [f"{part}-{i}" for part in ("encoder", "decoder") for i in range(1, 6)]),
    "classifier": (Classifier(encoder=UNet3d(width=4)), [f"encoder-{i}" for i in (1, 2, 3, 4)]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_levels_hold_every_weight_once_and_learn_slower_towards_the_input(name: str) -> None:
    network, names = NETWORKS[name]
    task = (Restoration() if network.dense else Classification()).build(network)
    chosen = settings(layer_decay=0.5)
    levels, optimiser = Levels(chosen.plan, task), chosen.build(task)
    assert [group["name"] for group in optimiser.param_groups] == [*names, "head"]
    held = [id(p) for group in optimiser.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in task.parameters())
    assert levels.factors() == [0.5 ** (len(names) - i) for i in range(len(names) + 1)]


def test_a_plain_plan_is_one_group_as_before() -> None:
    task = Restoration().build(UNet3d(width=4))
    planned, plain = OptimiserSettings().build(task), torch.optim.AdamW(task.parameters(), lr=3e-3, weight_decay=1e-2)
    assert planned.state_dict() == plain.state_dict()
    planned.load_state_dict(plain.state_dict())


def test_a_network_without_named_levels_is_refused() -> None:
    class Bare(torch.nn.Module):
        network = torch.nn.Conv3d(1, 1, 3)

    with pytest.raises(ConfigError, match=r"optimiser\.plan: expected a network that names its levels"):
        settings(layer_decay=0.5).build(Bare())


def test_momentum_looks_ahead_if_told_to() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    for momentum, wanted in ((0.9, True), (0.0, False)):
        optimiser = OptimiserSettings(name="sgd", momentum=momentum, nesterov=True).build([parameter])
        assert optimiser.param_groups[0]["nesterov"] is wanted


# ---- in a training


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch, little_measuring: None) -> None:
    """Save after every step."""
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose statistics are all its own."""
    network = UNet3d(width=4)
    module, path = network.build(3), tmp_path_factory.mktemp("model") / "start.safetensors"
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if "running" in name:
                value.add_(0.25)
    write_model(path, module, ModelCard(network=network))
    return str(path)


def run(folder: Path, make: Make, balls: list[Case], control: Control | None = None, **changes: Any) -> RunDir:
    given = {} if control is None else {"control": control}
    events = list(pretrain(make(**changes), folder, cases=balls, **given))  # type: ignore[arg-type]
    assert any(isinstance(event, Stepped) for event in events)
    return RunDir(folder)


def changed(run: RunDir, model: str) -> set[str]:
    """The first parts of the names of what is no longer as it was in the model."""
    before, after = read_model(model).module.state_dict(), read_state(run.resume_path)["weights"]
    return {name.split(".")[0] for name, value in before.items() if not torch.equal(value, after[f"network.{name}"])}


def rates(run: RunDir) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in read_state(run.resume_path)["optimiser"]["param_groups"]}


DOWN = {"down_tr64", "down_tr128", "down_tr256", "down_tr512"}
REST = {"up_tr64", "up_tr128", "up_tr256", "out_tr"}


@pytest.mark.usefixtures("every_step")
@pytest.mark.parametrize(
    ("plan", "parts", "decay"),
    [
        ({"schedule": "frozen"}, REST, 0.5),
        ({"schedule": "frozen", "first": "head"}, {"out_tr"}, 0.0),
        ({"schedule": "frozen", "frozen_steps": 4}, DOWN | REST, 0.0),
    ],
)
def test_what_is_frozen_stays_with_its_statistics_and_in_the_average(
    tmp_path: Path, tiny: Make, balls: list[Case], model: str, plan: dict[str, Any], parts: set[str], decay: float
) -> None:
    found = run(tmp_path / "run", tiny, balls, start=model, averaging={"decay": decay}, optimiser={"plan": plan})
    assert changed(found, model) == parts
    kept = read_model(found.path).module.state_dict()
    before = read_model(model).module.state_dict()
    frozen = [name for name in before if name.split(".")[0] not in parts]
    assert all(torch.equal(before[name], kept[name]) for name in frozen)


@pytest.mark.usefixtures("every_step")
def test_a_sawtooth_thaws_the_encoder_and_a_stopped_run_goes_on_exactly(
    tmp_path: Path, tiny: Make, balls: list[Case], model: str
) -> None:
    optimiser = {"plan": {"schedule": "sawtooth", "head_warmup": 1, "layer_decay": 0.5}, "warmup": 0}
    changes: dict[str, Any] = {"start": model, "steps": 10, "optimiser": optimiser, "averaging": {"decay": 0.5}}
    whole = run(tmp_path / "whole", tiny, balls, **changes)
    asked = [0]

    def stop() -> Order:
        asked[0] += 1
        return "run" if asked[0] <= len(balls) + 1 else "stop"

    part = run(tmp_path / "stopped", tiny, balls, stop, **changes)
    assert changed(part, model) == REST
    list(pretrain(None, part.path, resume=True, cases=balls))
    for name in ("weights", "averaged"):
        first, second = read_state(whole.resume_path)[name], read_state(part.resume_path)[name]
        assert all(torch.equal(value, second[key]) for key, value in first.items()), name
    assert changed(whole, model) == DOWN | REST
    found = rates(whole)
    assert found["decoder-3"] == pytest.approx(0.5 * found["head"])
    assert found["encoder-1"] == pytest.approx(0.5**7 * found["head"])


@pytest.mark.usefixtures("every_step")
def test_a_run_of_another_plan_is_not_resumed_by_mistake(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    from genesis3d.events import Failed

    found = run(tmp_path / "run", tiny, balls)
    other = tiny(steps=8, optimiser={"plan": {"layer_decay": 0.5}})
    failed = list(pretrain(other, found.path, resume=True, cases=balls))[-1]
    assert isinstance(failed, Failed)
    assert "expected the state of this run's network and optimiser" in failed.message
