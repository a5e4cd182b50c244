from __future__ import annotations

import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.restoration import Restoration
from genesis3d.training import precision
from genesis3d.training.precision import Hardware, choose_hardware, default_threads, find_device

CPU = torch.device("cpu")
SHAPE = (2, 1, 16, 16, 16)


def test_what_is_asked_for_is_taken_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_measured", None)
    for wanted in ("32", "bf16"):
        assert choose_hardware(CPU, wanted, torch.nn.Identity(), SHAPE).precision == wanted  # type: ignore[arg-type]


def test_auto_measures_and_says_why() -> None:
    task = Restoration().build(UNet3d(width=2))
    before = {name: value.clone() for name, value in task.state_dict().items()}
    found = choose_hardware(CPU, "auto", task, SHAPE)
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert all(p.grad is None for p in task.parameters())
    assert found.precision in ("32", "bf16")
    assert "bfloat16" in found.reason
    assert set(found.describe()) >= {"device", "precision", "channels_last", "reason", "name"}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({(False, False): 1.0, (False, True): 0.5, (True, False): 0.4, (True, True): 0.2}, ("bf16", True)),
        ({(False, False): 1.0, (False, True): 0.5, (True, False): 0.2, (True, True): 0.4}, ("bf16", False)),
        ({(False, False): 1.0, (False, True): 0.5, (True, False): 3.0, (True, True): 2.0}, ("32", True)),
        ({(False, False): 0.5, (False, True): 0.5, (True, False): 0.49, (True, True): 0.48}, ("32", False)),
    ],
)
def test_the_faster_one_wins_when_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[tuple[bool, bool], float], expected: tuple[str, bool]
) -> None:
    found = measured(monkeypatch, seconds, {})
    assert (found.precision, found.channels_last) == expected


@pytest.mark.parametrize("wrong", [[torch.zeros(3)], [torch.full((3,), float("nan"))], [], [torch.ones(3) * 1.2]])
def test_wrong_or_missing_bfloat16_gradients_are_not_used(
    monkeypatch: pytest.MonkeyPatch, wrong: list[torch.Tensor]
) -> None:
    seconds = {(half, last): 0.1 if half else 1.0 for half in (False, True) for last in (False, True)}
    both = measured(monkeypatch, seconds, {(True, False): wrong, (True, True): wrong})
    assert (both.precision, both.reason) == ("32", "32 bits: bfloat16 failed its self-test here")
    one = measured(monkeypatch, seconds, {(True, True): wrong})
    assert (one.precision, one.channels_last) == ("bf16", False)


def measured(
    monkeypatch: pytest.MonkeyPatch,
    seconds: dict[tuple[bool, bool], float],
    gradients: dict[tuple[bool, bool], list[torch.Tensor]],
) -> Hardware:
    def run(trial: object, half: bool, last: bool) -> object:
        return precision._Outcome(seconds[half, last], gradients.get((half, last), [torch.ones(3)]))

    monkeypatch.setattr(precision._Trial, "run", run)
    return choose_hardware(CPU, "auto", torch.nn.Identity(), SHAPE)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device("auto") == CPU
    for wanted in ("cuda", "cuda:3", "mps"):
        with pytest.raises(ConfigError, match="expected one of this machine's"):
            find_device(wanted)


def test_one_core_is_left_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert default_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(precision.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert default_threads() == 7
    monkeypatch.setattr(precision.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert default_threads() == 1
