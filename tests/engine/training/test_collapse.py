from __future__ import annotations

import pytest
import torch

from genesis3d.training.collapse import Collapsed, CollapseGuard, vitals

TARGET = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
FLAT = torch.full_like(TARGET, 0.5)


def seen(
    loss: float = 0.1, norm: float = 1.0, output: torch.Tensor = TARGET, target: torch.Tensor = TARGET
) -> dict[str, float]:
    return {"loss": loss, "gradient_norm": norm} | vitals(output, target)


def take(guard: CollapseGuard, steps: range, values: dict[str, float]) -> None:
    for step in steps:
        guard.check(step, values)


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan"))])
def test_what_is_no_number_stops_at_once(loss: float, norm: float) -> None:
    with pytest.raises(Collapsed, match="stopped at step 9: expected a finite loss and gradient"):
        CollapseGuard().check(9, seen(loss, norm))


def test_a_constant_output_stops_after_a_while_and_a_flat_start_does_not() -> None:
    guard = CollapseGuard()
    for step in range(1, 50):
        guard.check(step, seen(output=FLAT))
    guard.check(50, seen())
    assert guard.healthy
    for step in range(51, 110):
        guard.check(step, seen(output=FLAT))
        assert not guard.healthy
    with pytest.raises(Collapsed, match="stopped at step 110: the output has been constant for 60 steps"):
        guard.check(110, seen(output=FLAT))


def test_an_output_that_has_not_come_to_life_may_be_flat_but_not_constant() -> None:
    guard = CollapseGuard()
    nearly = FLAT + 1e-3 * TARGET
    take(guard, range(1, 300), seen(output=nearly))
    assert not guard.healthy  # nothing to go back to yet
    guard.check(300, seen())
    assert guard.healthy
    with pytest.raises(Collapsed, match="step 360: the output has been constant"):
        take(guard, range(301, 400), seen(output=nearly))


def test_a_flat_output_for_a_flat_target_is_right() -> None:
    guard = CollapseGuard()
    flat = torch.zeros_like(TARGET)
    for step in range(200):
        guard.check(step, seen(0.0, output=flat, target=flat))


def test_an_exploding_loss_is_noticed_in_ten_steps_and_a_spike_forgiven() -> None:
    guard = CollapseGuard()
    wrong = 1 - (TARGET > 0.5).float()
    for step in range(0, 50, 10):
        take(guard, range(step, step + 1), seen(0.1))
        take(guard, range(step + 1, step + 10), seen(3.0, output=wrong))
    guard.check(50, seen(0.1))
    with pytest.raises(Collapsed, match="step 60: the loss is 3, more than 10 times the first one"):
        take(guard, range(51, 70), seen(3.0, output=wrong))


def test_a_loss_that_rises_while_better_than_a_constant_is_no_explosion() -> None:
    guard = CollapseGuard()
    guard.check(1, seen(1e-4))
    for step in range(2, 200):
        guard.check(step, seen(5e-3, output=TARGET * 0.9))


def test_an_output_worse_than_an_untrained_one_is_noticed() -> None:
    guard = CollapseGuard()
    wrong = 1 - (TARGET > 0.5).float()
    guard.check(1, seen(output=FLAT))
    with pytest.raises(Collapsed, match="step 61: the output has been worse than that of an untrained network"):
        take(guard, range(2, 100), seen(0.4, output=wrong))


def test_a_resumed_guard_counts_on() -> None:
    guard = CollapseGuard()
    for step in range(1, 60):
        guard.check(step, seen(output=FLAT))
    again = CollapseGuard.from_dict(guard.to_dict())
    assert again == guard
    with pytest.raises(Collapsed, match="step 60"):
        again.check(60, seen(output=FLAT))
    assert CollapseGuard.from_dict({}) == CollapseGuard()


def test_a_gradient_far_longer_than_usual_is_suspicious() -> None:
    guard = CollapseGuard()
    assert not guard.suspicious(seen(0.1, 2.0))
    assert not guard.suspicious(seen(0.1, 8.0))
    assert guard.suspicious(seen(0.1, 1e9))
    assert guard.suspicious(seen(0.1, float("inf")))
    assert guard.suspicious(seen(float("nan"), 1.0))
    assert not guard.suspicious(seen(0.1, 3.0))


def test_weights_that_are_no_numbers_are_refused() -> None:
    layer = torch.nn.BatchNorm1d(2)
    CollapseGuard().check_weights(3, layer)
    layer.running_var.fill_(float("inf"))
    with pytest.raises(Collapsed, match="step 3: expected finite weights and statistics"):
        CollapseGuard().check_weights(3, layer)
    with pytest.raises(Collapsed, match="step 3: expected a finite loss on held-out sub-volumes, got nan"):
        CollapseGuard().check_held_out(3, float("nan"))
