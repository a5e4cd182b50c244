"""What the runs of a study came to: values by arm, number of labels, corruption, seed and case."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.workflows.study_runs import case_dice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.workflows.study_plan import Plan
    from genesis3d.workflows.study_runs import Runner

    Values = NDArray[np.float64]

__all__ = ["Cell", "Results", "collect"]

MEAN = "mean"


@dataclass(frozen=True)
class Cell:
    """One arm at one number of labels and one corruption of these."""

    arm: str
    count: int
    corruption: float = 0.0


@dataclass(frozen=True)
class Results:
    """The finished runs of a study, and what is missing.

    Attributes
    ----------
    runs, trials : results of the runs that are finished, and of the trials that chose their rates
    failed : key and sentence of each run whose training failed
    planned : how many runs there are to be
    seeds, counts, arms, corruptions, classes : what the values are ordered by
    folds : parts of the test, all of which a seed needs to count
    """

    runs: tuple[dict[str, Any], ...]
    trials: tuple[dict[str, Any], ...]
    failed: tuple[tuple[str, str], ...]
    planned: int
    seeds: tuple[int, ...]
    counts: tuple[int, ...]
    arms: tuple[str, ...]
    corruptions: tuple[float, ...]
    classes: tuple[str, ...]
    folds: int

    @cached_property
    def cases(self) -> tuple[str, ...]:
        """Names of all test cases."""
        return tuple(dict.fromkeys(name for run in self.runs for name in run["test"]))

    @cached_property
    def steps(self) -> tuple[int, ...]:
        """Steps after which runs were tested on the way."""
        return tuple(sorted({int(step) for run in self.runs for step in run["curve"]}))

    def of(self, cell: Cell) -> list[dict[str, Any]]:
        """Return the runs of ``cell``."""
        return [
            run
            for run in self.runs
            if (run["arm"], run["count"], run["corruption"]) == (cell.arm, cell.count, cell.corruption)
        ]

    def values(self, cell: Cell, step: int | None = None, label: str = MEAN, figure: str = "dice") -> Values:
        """Return the figure (seeds, cases) of a class, or the mean Dice over classes; nan where there is none.

        At the end, or after ``step``.  A seed of which a part of the test is missing is nan throughout.
        """
        table = np.full((len(self.seeds), len(self.cases)), np.nan)
        place = {name: number for number, name in enumerate(self.cases)}
        for row, seed in enumerate(self.seeds):
            tests = [
                run["test"] if step is None else run["curve"].get(str(step))
                for run in self.of(cell)
                if run["seed"] == seed
            ]
            if len(tests) < self.folds or any(test is None for test in tests):
                continue
            for test in tests:
                for name, figures in (test or {}).items():
                    table[row, place[name]] = _value(figures, label, figure)
        return table

    def run_means(self, cell: Cell, step: int | None = None, label: str = MEAN) -> list[float]:
        """Return the mean over test cases of each finished seed."""
        table = self.values(cell, step, label)
        return [float(np.nanmean(row)) for row in table if not np.isnan(row).all()]

    def rates(self, cell: Cell) -> list[float]:
        """Return the learning rates its runs were trained at."""
        return sorted({float(run["rate"]) for run in self.of(cell)})


def collect(runner: Runner, plan: Plan) -> Results:
    """Return the results that lie in the study's folder and belong to ``plan`` as it is now."""
    runs, failed = [], []
    trials: dict[str, dict[str, Any]] = {}
    for run in plan.runs:
        tried = plan.trials.get(run, ())
        done = {trial.key: runner.result(trial, trial.rate) for trial in tried}
        trials |= {key: one for key, one in done.items() if one is not None}
        waiting = any(done[trial.key] is None and not runner.failure(trial) for trial in tried)
        found = None if waiting else runner.result(run, runner.best_rate(tried) if tried else run.rate)
        if found is not None:
            runs.append(found)
        elif runner.failure(run):
            failed.append((run.key, runner.failure(run)))
    config = runner.config
    return Results(
        tuple(runs), tuple(trials.values()), tuple(failed), len(plan.runs), config.seeds, plan.counts,
        tuple(config.arms), config.corruptions, tuple(one.name for one in runner.cases.classes[1:]), len(plan.folds),
    )  # fmt: skip


def _value(figures: dict[str, dict[str, Any]], label: str, figure: str) -> float:
    if label == MEAN:
        return case_dice(figures)
    value = figures.get(label, {}).get(figure)
    return np.nan if value is None else float(value)
