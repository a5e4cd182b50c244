from __future__ import annotations

import pytest
import torch

from genesis3d.errors import RunError
from genesis3d.training.collapse import CollapseGuard

TARGET = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("loss", "norm"), [(float("nan"), 1.0), (float("inf"), 1.0), (1.0, float("nan"))])
def test_what_is_no_number_stops_at_once(loss: float, norm: float) -> None:
    with pytest.raises(RunError, match="stopped at step 9: expected a finite loss and gradient"):
        CollapseGuard().check(9, loss, norm, TARGET, TARGET)


def test_a_constant_output_stops_after_a_while_and_a_flat_start_does_not() -> None:
    guard = CollapseGuard()
    flat = torch.full_like(TARGET, 0.5)
    for step in range(1, 50):
        guard.check(step, 0.1, 1.0, flat, TARGET)
    guard.check(50, 0.1, 1.0, TARGET, TARGET)
    for step in range(51, 110):
        guard.check(step, 0.1, 1.0, flat, TARGET)
    with pytest.raises(RunError, match="stopped at step 110: the output has been constant for 60 steps"):
        guard.check(110, 0.1, 1.0, flat, TARGET)


def test_a_flat_output_for_a_flat_target_is_right() -> None:
    guard = CollapseGuard()
    flat = torch.zeros_like(TARGET)
    for step in range(200):
        guard.check(step, 0.0, 1.0, flat, flat)


def test_a_gradient_far_longer_than_usual_is_suspicious() -> None:
    guard = CollapseGuard()
    assert not guard.suspicious(0.1, 2.0)
    assert not guard.suspicious(0.1, 8.0)
    assert guard.suspicious(0.1, 1e9)
    assert guard.suspicious(0.1, float("inf"))
    assert guard.suspicious(float("nan"), 1.0)
    assert not guard.suspicious(0.1, 3.0)
