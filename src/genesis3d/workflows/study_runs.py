"""One run of a study: trained, tested, its result one JSON file; what is there is not done again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.corruption import corrupted_cases
from genesis3d.errors import RunError
from genesis3d.events import Control, Event, Failed, Finished, Saved, Warned
from genesis3d.files import write_atomic
from genesis3d.training.lock import DirectoryLock
from genesis3d.workflows.evaluate_table import as_json
from genesis3d.workflows.study_measure import measure_on
from genesis3d.workflows.study_settings import agrees, identity, run_settings

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.workflows.finetune import FinetuneConfig
    from genesis3d.workflows.study_config import StudyConfig
    from genesis3d.workflows.study_plan import Run

__all__ = ["Busy", "Runner", "Stopped", "mean_test_dice"]

Result = dict[str, Any]
# Said by every training without held-out cases, as most of a study's are meant to be.
_EXPECTED = "nothing is held out"


class Busy(Exception):
    """Another process works on the run."""


class Stopped(Exception):
    """The study was told to stop."""


@dataclass
class Runner:
    """Does the runs of a study in ``folder`` on ``cases``; ``said`` holds what was warned of before."""

    config: StudyConfig
    cases: LabelledCases
    folder: Path
    control: Control
    said: set[str] = field(default_factory=set)

    def result(self, run: Run, rate: float | None) -> Result | None:
        """Return the stored result of ``run`` if it was made with these very settings and did not fail."""
        found = self._read(run)
        if found is None or found.get("failed"):
            return None
        return found if agrees(found["identity"], self._identity(run, rate)) else None

    def failure(self, run: Run) -> str:
        """Return why ``run`` has no result, in one sentence; empty when it was not tried."""
        return str((self._read(run) or {}).get("failed", ""))

    def best_rate(self, trials: tuple[Run, ...]) -> float | None:
        """Return the rate of the best mean Dice over ``trials``, all of them done; None without any."""
        scores: dict[float, list[float]] = {}
        for trial in trials:
            found = self.result(trial, trial.rate)
            scores.setdefault(float(trial.rate or 0), []).append(mean_test_dice(found) if found else 0.0)
        means = {
            rate: float(np.nanmean([0.0 if np.isnan(v) else v for v in values])) for rate, values in scores.items()
        }
        return max(means, key=lambda rate: means[rate]) if means else None

    def perform(self, run: Run, rate: float | None) -> Iterator[Event]:
        """Train and test ``run`` and write its result; go on where a killed process left it.

        Yields what its training warns of.  Raises Busy when another process is at it, Stopped when told to stop; a
        training that fails is written down as failed.
        """
        settings = run_settings(self.config, run, rate, self.cases)
        work = self.folder / run.key
        work.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(DirectoryLock(work))
            except RunError as error:
                raise Busy(str(error)) from error
            if self.result(run, rate) is None:
                yield from self._work(run, rate, settings, work)
        self.tidy(run)

    def tidy(self, run: Run) -> None:
        """Remove the run directory of a finished run, unless it is to be kept."""
        if not self.config.keep_runs:
            shutil.rmtree(self.folder / run.key, ignore_errors=True)

    def _work(self, run: Run, rate: float | None, settings: FinetuneConfig, work: Path) -> Iterator[Event]:
        began, told = time.perf_counter(), list[str]()
        mark = self._identity(run, rate)
        curve = self._curve(work, mark)
        finished: Finished | None = None
        failed = ""
        for event in self._training(run, settings, work, mark):
            if isinstance(event, Saved) and event.what == "checkpoint" and event.step is not None:
                path = work / "run" / event.path
                curve[str(event.step)] = self._tested(path, run)
                path.unlink(missing_ok=True)
                write_atomic(work / "curve.json", as_json({"identity": mark, "curve": curve}), durable=False)
            elif isinstance(event, Warned) and _EXPECTED not in event.message:
                told.append(event.message)
                if event.message not in self.said:  # hundreds of runs say the same
                    yield Warned(message=f"{run.key}: {event.message}")
                self.said.add(event.message)
            elif isinstance(event, Failed):
                failed = event.message
            elif isinstance(event, Finished):
                finished = event
        if finished is not None and finished.cancelled:
            raise Stopped
        test = {} if failed else self._final(work / "run" / "checkpoints", run, curve)
        trained = (finished.result if finished else {}).get("seconds")
        written = self._described(run, rate if rate is not None else settings.optimiser.lr) | {
            "identity": mark, "test": test, "curve": curve, "warnings": told, "failed": failed,
            "training_seconds": trained, "seconds": round(time.perf_counter() - began, 2),
        }  # fmt: skip
        write_atomic(self.path(run), as_json(written))

    def _training(self, run: Run, settings: FinetuneConfig, work: Path, mark: dict[str, Any]) -> Iterator[Event]:
        from genesis3d.workflows.finetune import finetune

        place, note = work / "run", work / "identity.json"
        resume = (place / "status.json").is_file() and agrees(_read(note), mark)
        if not resume:
            shutil.rmtree(place, ignore_errors=True)
            write_atomic(note, as_json(mark), durable=False)
        training = corrupted_cases(self.cases.subset(run.training), run.corruption)
        data = _joined(training, self.cases.subset(run.held_out))
        return finetune(None if resume else settings, place, resume=resume, control=self.control, data=data)

    def _final(self, checkpoints: Path, run: Run, curve: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the figures of the model that is tested; those of the last step may be known already."""
        if self.config.tested == "last" and str(run.steps) in curve:
            found: Mapping[str, Any] = curve[str(run.steps)]
            return found
        return self._tested(checkpoints / f"{self.config.tested}.safetensors", run)

    def _tested(self, model: Path, run: Run) -> Mapping[str, Any]:
        found = measure_on(
            model, self.cases, run.test, self.config.segment, distances=self.config.distances, control=self.control
        )
        if found is None:
            raise Stopped
        return found

    def path(self, run: Run) -> Path:
        """Return the file of a run's result."""
        return self.folder / f"{run.key}.json"

    def _read(self, run: Run) -> Result | None:
        found = _read(self.path(run))
        return found if isinstance(found, dict) and "identity" in found else None

    def _curve(self, work: Path, mark: dict[str, Any]) -> dict[str, Any]:
        """Return what a killed process had measured along this very run."""
        found = _read(work / "curve.json")
        return dict(found["curve"]) if found and agrees(found.get("identity"), mark) else {}

    def _identity(self, run: Run, rate: float | None) -> dict[str, Any]:
        return identity(self.config, run, run_settings(self.config, run, rate, self.cases), self.cases)

    def _described(self, run: Run, rate: float) -> Result:
        names = {side: [self.cases.cases[i].name for i in getattr(run, side)] for side in ("training", "held_out")}
        return {
            "key": run.key, "arm": run.arm, "count": run.count, "corruption": run.corruption, "fold": run.fold,
            "seed": run.seed, "steps": run.steps, "rate": rate, "trial": run.trial, **names,
        }  # fmt: skip


def _read(path: Path) -> Any:
    """Return the JSON values of a file, None where there is none that is whole."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _joined(first: LabelledCases, second: LabelledCases) -> LabelledCases:
    return replace(
        first,
        cases=[*first.cases, *second.cases],
        volumes=[*first.volumes, *second.volumes],
        scales=[*first.scales, *second.scales],
        labels=[*first.labels, *second.labels],
        patients=[*first.patients, *second.patients],
        warnings=(),
    )


def mean_test_dice(result: Mapping[str, Any], step: int | None = None) -> float:
    """Return the mean over test cases of the mean Dice over classes, at the end or after ``step``; nan without any."""
    tests = result["test"] if step is None else result["curve"].get(str(step), {})
    values = [case_dice(figures) for figures in tests.values()]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def case_dice(figures: Mapping[str, Mapping[str, float | None]]) -> float:
    """Return the mean Dice over the classes of one case, those without a value left out; nan without any."""
    known = [one["dice"] for one in figures.values() if one["dice"] is not None]
    return float(np.mean(known)) if known else float("nan")
