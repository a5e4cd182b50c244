from __future__ import annotations

import math

import pytest

from genesis3d import events


@pytest.mark.parametrize(
    "event",
    [
        events.Started(what="pretrain", total=10, device="cpu", detail={"threads": 1}),
        events.Stepped(step=3, total=10, metrics={"loss": 0.25}, rate=1.5, seconds_left=4.7, memory_bytes=1024),
        events.Stepped(step=4, metrics={"loss": math.inf}),
        events.Validated(step=3, metrics={"mse": 0.01}, best=True),
        events.Sampled(step=3, path="samples/step-000003.npz"),
        events.Saved(path="last.safetensors", step=3, what="checkpoint"),
        events.Warned(message="slow"),
        events.Failed(message="out of memory", expected=False, trace="..."),
        events.Finished(cancelled=True, result={"best": "x"}),
    ],
)
def test_an_event_survives_its_line_of_json(event: events.Event) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert events.read_event(line) == event


@pytest.mark.parametrize("line", ["", '{"kind": "stepped", "st', "[]", '{"kind": "unknown"}', "nonsense"])
def test_a_torn_or_foreign_line_is_nothing(line: str) -> None:
    assert events.read_event(line) is None


def test_a_later_versions_field_is_ignored() -> None:
    assert events.read_event('{"kind":"warned","message":"m","new":1}') == events.Warned(message="m")


def test_nobody_interrupts_by_default() -> None:
    assert events.keep_running() == "run"
