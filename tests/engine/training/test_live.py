from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from genesis3d.events import Sampled, Warned
from genesis3d.training import live
from genesis3d.training.live import PREDICTION, Live, ask, slab, withdraw

SHAPES = [(20, 30, 40), (8, 8, 8)]
PATCH = (8, 16, 16)


class Teller:
    """Stands for a network: answers with the step it was asked at."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, tuple[int, int, int], tuple[int, int, int]]] = []

    def __call__(self, task, case, start, shape, device, half):  # type: ignore[no-untyped-def]
        self.asked.append((case, start, shape))
        index = np.arange(np.prod(shape)).reshape(shape)
        return (index % 5).astype(np.uint16)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Live, Teller, Path]:
    monkeypatch.setattr(live, "_POLL", 0.0)
    teller = Teller()
    return Live(tmp_path, SHAPES, PATCH, teller), teller, tmp_path


def told(made: Live, step: int = 10) -> list[object]:
    return list(made.answered(torch.nn.Identity(), step, torch.device("cpu"), False))


def test_nothing_is_done_unless_asked(made: tuple[Live, Teller, Path]) -> None:
    assert told(made[0]) == []
    assert made[1].asked == []


def test_a_slice_is_answered_with_what_lies_about_it(made: tuple[Live, Teller, Path]) -> None:
    show, teller, folder = made
    ask(folder, 0, 0, 12)
    assert told(show) == [Sampled(step=10, path=PREDICTION)]
    assert teller.asked == [(0, (8, 0, 0), (8, 30, 40))]
    with np.load(folder / PREDICTION) as answer:
        assert answer["labels"].dtype == np.uint16
        assert answer["labels"].shape == (5, 30, 40)
        assert list(answer["start"]) == [10, 0, 0]
        assert int(answer["step"]) == 10
        assert int(answer["case"]) == 0


def test_the_same_slice_is_renewed_only_after_a_while(
    made: tuple[Live, Teller, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    show, teller, folder = made
    ask(folder, 0, 1, 3)
    told(show)
    assert told(show, 11) == []
    monkeypatch.setattr(live, "_RENEW", 0.0)
    show._cost = 0.0
    assert told(show, 12)
    ask(folder, 1, 2, 3)
    show._cost = 0.0
    assert told(show, 13)
    assert teller.asked[-1] == (1, (0, 0, 0), (8, 8, 8))


def test_a_withdrawn_request_is_forgotten(made: tuple[Live, Teller, Path]) -> None:
    show, _, folder = made
    ask(folder)
    withdraw(folder)
    withdraw(folder)
    assert told(show) == []


def test_a_costly_answer_leaves_three_quarters_to_the_training(
    made: tuple[Live, Teller, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    show, _, folder = made
    ask(folder, 0, 0, 1)
    told(show)
    show._cost, show._answered = 10.0, time.perf_counter() - 29
    ask(folder, 0, 0, 2)
    assert told(show) == []
    show._answered = time.perf_counter() - 31
    assert told(show)


def test_before_the_first_steps_there_is_nothing_to_be_seen(made: tuple[Live, Teller, Path]) -> None:
    ask(made[2])
    assert told(made[0], 1) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"case": 9, "axis": 0, "index": 0}', '{"case": 0, "axis": 5}'])
def test_requests_that_make_no_sense_are_passed_over(text: str, made: tuple[Live, Teller, Path]) -> None:
    (made[2] / "live").mkdir()
    (made[2] / "live" / "request.json").write_text(text)
    assert told(made[0]) == []


def test_a_slice_beyond_the_scan_is_its_last(made: tuple[Live, Teller, Path]) -> None:
    show, _, folder = made
    ask(folder, 0, 0, 500)
    told(show)
    with np.load(folder / PREDICTION) as answer:
        assert int(answer["start"][0]) + answer["labels"].shape[0] == 20


def test_too_little_memory_is_said_once_and_the_training_goes_on(made: tuple[Live, Teller, Path]) -> None:
    show, _, folder = made

    def exhausted(*_: object) -> np.ndarray:
        raise MemoryError

    show.predict = exhausted
    ask(folder)
    assert [type(event) for event in told(show)] == [Warned]
    assert told(show, 20) == []


def test_a_slab_is_as_thick_as_the_sub_volume_where_the_scan_is() -> None:
    assert slab((20, 30, 40), PATCH, 0, 1) == ((0, 0, 0), (8, 30, 40))
    assert slab((20, 30, 40), PATCH, 2, 39) == ((0, 0, 24), (20, 30, 16))
    assert slab((4, 30, 40), PATCH, 0, 1) == ((0, 0, 0), (4, 30, 40))


def test_a_request_is_plain_json(tmp_path: Path) -> None:
    ask(tmp_path, 1, 2, 3)
    assert json.loads((tmp_path / "live" / "request.json").read_text()) == {"case": 1, "axis": 2, "index": 3}
