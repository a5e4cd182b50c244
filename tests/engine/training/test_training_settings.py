from __future__ import annotations

import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.training.progress import MEASURED_STEPS, Pace, Progress
from genesis3d.training.settings import OptimiserSettings
from genesis3d.workflows.pretrain import PRETRAIN_PRESETS, PretrainConfig, pretrain_preset


def test_the_cosine_warms_up_peaks_and_falls_to_nothing() -> None:
    settings = OptimiserSettings(lr=1.0, warmup=10)
    rates = [settings.learning_rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


def test_a_short_run_warms_up_for_a_fifth_and_an_unknown_one_fully() -> None:
    settings = OptimiserSettings(lr=1.0, warmup=50)
    assert settings.learning_rate(4, 10) < 1
    assert settings.learning_rate(2, 10) == 1
    assert settings.learning_rate(0, None) == 1 / 50
    assert settings.learning_rate(400, None) == 1


def test_the_step_schedule_halves() -> None:
    settings = OptimiserSettings(lr=1.0, schedule="step", warmup=0, decay_every=10, decay_factor=0.5)
    assert [settings.learning_rate(step, 100) for step in (0, 9, 10, 25)] == [1, 1, 0.5, 0.25]


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")])
def test_optimisers_by_name(name: str, kind: str) -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    settings = OptimiserSettings(name=name, lr=0.5, momentum=0.8, weight_decay=0.1)  # type: ignore[arg-type]
    optimiser = settings.build([parameter])
    assert type(optimiser).__name__ == kind
    assert optimiser.param_groups[0]["weight_decay"] == 0.1
    assert optimiser.param_groups[0].get("momentum", 0.8) == 0.8


def test_minutes_become_steps_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("genesis3d.training.progress.time.perf_counter", lambda: clock[0])
    progress = Progress(minutes=10)
    pace = Pace(progress, validate_every=100)
    pace.validation_seconds = 10
    for step in range(1, MEASURED_STEPS + 6):
        seconds = 3.0 if step <= 5 else 1.0  # the first ones are cold
        clock[0] += seconds
        progress.step = step
        pace.stepped(seconds)
        assert (progress.total is None) == (step < MEASURED_STEPS)
    # 600 s less 30 spent and 10 for the last validation, at 1.03 s a step and a tenth for validating
    assert progress.total == MEASURED_STEPS + int(560 / 1.13)
    assert pace.seconds_left is not None
    assert 1.1 < pace.seconds_left / (progress.total - progress.step) < 1.4


def test_waiting_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("genesis3d.training.progress.time.perf_counter", lambda: clock[0])
    pace = Pace(Progress(seconds=5), validate_every=10)
    clock[0] += 100
    pace.paused(90)
    assert pace.elapsed == 15


def test_progress_goes_through_plain_values() -> None:
    progress = Progress(step=3, total=9, best=0.5, figures={"loss": 0.5})
    assert Progress.from_dict(progress.to_dict() | {"of another version": 1}) == progress


def test_exactly_one_budget() -> None:
    for budget in ({}, {"steps": 5, "minutes": 1}):
        with pytest.raises(ConfigError, match="expected either steps or minutes"):
            PretrainConfig.parse(budget)


@pytest.mark.parametrize("name", PRETRAIN_PRESETS)
def test_presets_survive_being_written(name: str) -> None:
    preset = pretrain_preset(name)
    assert PretrainConfig.parse(preset.to_dict()) == preset
    assert "cases" not in preset.public()


def test_the_official_preset_is_the_published_recipe() -> None:
    preset = pretrain_preset("official-pytorch")
    assert (preset.batch, preset.optimiser.name, preset.optimiser.lr, preset.optimiser.momentum) == (6, "sgd", 1, 0.9)
    assert preset.network.parameters() == 19_073_665
    assert preset.optimiser.learning_rate(40 * 2373, None) == 0.5
    with pytest.raises(ConfigError, match="expected one of default"):
        pretrain_preset("best")


def test_names_stand_for_configurations() -> None:
    config = PretrainConfig.parse({"steps": 1, "cases": "scan.nii", "chain": "official", "intensity": "percentile"})
    assert config.cases == ("scan.nii",)
    assert config.chain == PRETRAIN_PRESETS["official-pytorch"].chain
    assert PretrainConfig.parse(config.to_dict()) == config
