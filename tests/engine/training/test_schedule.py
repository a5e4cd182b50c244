from __future__ import annotations

import pytest

from genesis3d.training.progress import Progress
from genesis3d.training.schedule import note_held_out, rate_of
from genesis3d.training.settings import OptimiserSettings, RecoverySettings

RECOVERY = RecoverySettings()


def plateau(**changes: object) -> OptimiserSettings:
    return OptimiserSettings.parse(
        {"lr": 1.0, "warmup": 0, "schedule": "plateau", "plateau_patience": 3, "plateau_delta": 0.01} | changes
    )


def rates(settings: OptimiserSettings, losses: list[float]) -> list[float]:
    """The rate after each held-out loss."""
    progress, found = Progress(), []
    for step, loss in enumerate(losses, 1):
        progress.step = step
        note_held_out(settings, progress, loss)
        found.append(rate_of(settings, RECOVERY, progress))
    return found


def test_a_plateau_halves_the_rate_after_so_many_measurements_without_a_gain() -> None:
    losses = [1.0, 0.5, 0.495, 0.6, 0.5, 0.5, 0.5, 0.45, 0.45, 0.45, 0.45]
    # 0.495 is no gain of 0.01; the third measurement without one halves, and counting begins again
    assert rates(plateau(), losses) == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]


def test_a_plateau_never_goes_below_the_lowest_rate() -> None:
    assert rates(plateau(plateau_patience=1, lowest=0.3), [1, 1, 1, 1, 1]) == pytest.approx([1, 0.5, 0.3, 0.3, 0.3])


def test_a_plateau_warms_up_too_and_other_schedules_do_not_look_at_the_loss() -> None:
    settings = plateau(warmup=10)
    assert settings.learning_rate(4, None) == 0.5
    assert rates(plateau(schedule="constant"), [1.0] * 9) == [1.0] * 9


def test_a_plateau_goes_on_from_a_saved_state() -> None:
    losses = [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9]
    settings, progress, found = plateau(), Progress(), []
    for step, loss in enumerate(losses, 1):
        progress = Progress.from_dict(progress.to_dict())
        progress.step = step
        note_held_out(settings, progress, loss)
        found.append(rate_of(settings, RECOVERY, progress))
    assert found == rates(settings, losses)
    assert found[-1] == 0.25


def test_the_polynomial_falls_to_nothing() -> None:
    settings = OptimiserSettings(lr=2.0, warmup=0, schedule="poly")
    assert settings.learning_rate(0, 100) == 2.0
    assert settings.learning_rate(50, 100) == pytest.approx(2 * 0.5**0.9)
    assert settings.learning_rate(100, 100) == 0.0
    assert settings.learning_rate(7, None) == 2.0


def test_recoveries_lower_every_schedule() -> None:
    settings, progress = OptimiserSettings(lr=1.0, warmup=0, schedule="constant"), Progress(recoveries=2)
    assert rate_of(settings, RecoverySettings(factor=0.1), progress) == pytest.approx(0.01)
    assert rate_of(settings, RECOVERY, Progress()) == 1.0
