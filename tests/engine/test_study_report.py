"""What a study makes of its results: made-up curves with known answers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from genesis3d.workflows.study_compare import Comparison, compare
from genesis3d.workflows.study_config import StudyConfig
from genesis3d.workflows.study_findings import chance, findings
from genesis3d.workflows.study_report import report_files
from genesis3d.workflows.study_results import Cell, Results

SEEDS, COUNTS, STEPS = (0, 1, 2, 3, 4), (1, 2, 4), (25, 50, 75, 100)
Curve = Callable[[int, int], float]  # Dice from labels and step


def made_up(arms: dict[str, Curve], steps: dict[str, tuple[int, ...]] | None = None, noise: float = 0.004) -> Results:
    """Return results whose Dice is ``arms`` plus what seed, case and chance add."""
    rng = np.random.default_rng(0)
    of_case, of_seed = rng.normal(0, 0.03, 12), rng.normal(0, 0.005, 5)
    runs: list[dict[str, Any]] = []
    for arm, curve in arms.items():
        measured = (steps or {}).get(arm, STEPS)
        for count in COUNTS:
            for seed in SEEDS:

                def test(step: int, seed: int = seed, count: int = count, curve: Curve = curve) -> dict[str, Any]:
                    values = curve(count, step) + of_case + of_seed[seed] + rng.normal(0, noise, 12)
                    return {f"case-{i}": {"a": {"dice": v}, "b": {"dice": v}} for i, v in enumerate(values.tolist())}

                runs.append({
                    "arm": arm, "count": count, "corruption": 0.0, "fold": 0, "seed": seed, "steps": measured[-1],
                    "rate": 0.001, "trial": False, "test": test(measured[-1]),
                    "curve": {str(step): test(step) for step in measured},
                })  # fmt: skip
    return Results(tuple(runs), (), (), len(runs), SEEDS, COUNTS, tuple(arms), (0.0,), ("a", "b"), 1)


def scratch(count: int, step: int) -> float:
    return 0.4 + 0.1 * float(np.log2(count)) + 0.002 * (step - 100)


def better(count: int, step: int) -> float:
    return scratch(2 * count, step)


def sooner(count: int, step: int) -> float:
    return scratch(count, min(100, 2 * step))


def compared(**arms: Curve) -> tuple[Results, Comparison]:
    results = made_up({"scratch": scratch} | arms)
    return results, compare(results, "scratch", 0.01)


def test_an_arm_that_needs_half_the_labels_is_said_to() -> None:
    results, found = compared(better=better)
    one = found.same[0]
    assert (one.arm, one.count, one.runs) == ("better", 1, 5)
    assert one.interval.estimate == pytest.approx(0.1, abs=0.01)
    assert one.interval.excludes_zero
    assert one.p < 1e-4
    saving = found.labels[0]
    assert saving.needed.estimate == pytest.approx(2, rel=0.1)
    assert saving.needed.low > 1.5
    assert saving.saved.estimate == pytest.approx(0.5, abs=0.05)
    fewer = next(one for one in found.fewer if (one.count, one.reference_count) == (1, 2))
    assert abs(fewer.interval.estimate) < 0.01
    said = findings(results, found)
    assert any("better with 1 label: scratch needs 2." in sentence for sentence in said)


def test_an_arm_that_needs_half_the_steps_is_said_to() -> None:
    results, found = compared(sooner=sooner)
    for one in found.steps:
        assert one.arm_steps.estimate == pytest.approx(47, abs=4)
        assert one.reference_steps.estimate == pytest.approx(95, abs=4)
        assert one.saved.low > 35
    assert not any(one.interval.excludes_zero and abs(one.interval.estimate) > 0.005 for one in found.same)
    assert any("sooner than scratch" in sentence for sentence in findings(results, found))


def test_an_equal_arm_gains_nothing_and_the_page_says_so() -> None:
    results = made_up({"scratch": scratch, "same": scratch}, noise=0.03)
    found = compare(results, "scratch", 0.01)
    assert findings(results, found) == [
        "same: nothing is gained or lost against scratch; every interval contains zero."
    ]


def test_a_short_arm_that_never_gets_there_saves_no_step() -> None:
    results = made_up({"scratch": scratch, "short": scratch}, {"short": (25, 50)})
    found = compare(results, "scratch", 0.01)
    assert all(math.isinf(one.arm_steps.estimate) and one.saved.estimate <= 0.0 for one in found.steps)
    assert any("never reaches Dice" in sentence for sentence in findings(results, found))


def test_values_are_by_seed_and_case_and_unfinished_seeds_do_not_count() -> None:
    whole = made_up({"scratch": scratch})
    assert whole.values(Cell("scratch", 2)).shape == (5, 12)
    assert len(whole.run_means(Cell("scratch", 2))) == 5
    parts = Results(whole.runs, (), (), 15, SEEDS, COUNTS, ("scratch",), (0.0,), ("a", "b"), folds=2)
    assert parts.run_means(Cell("scratch", 2)) == []


def test_a_report_of_nothing_but_one_arm_is_a_page() -> None:
    config = StudyConfig.parse({"target": {"images": ["x"]}, "arms": {"scratch": {}}, "counts": COUNTS, "seeds": SEEDS})
    files, said = report_files(config, made_up({"scratch": scratch}))
    assert said == ["scratch is the only arm: there is nothing to compare."]
    assert b"| 4 | 0." in files["report.md"]
    assert b"15 of 15 runs are in: 1 arm, 1, 2, 4 labels, 5 seeds" in files["report.md"]


def test_small_chances_are_not_written_as_none() -> None:
    assert (chance(0.0000001), chance(0.0123), chance(float("nan"))) == ("<0.001", "0.012", "-")
