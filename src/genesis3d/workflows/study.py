"""A study: the papers' questions on the user's own data, answered by many small trainings and their tests.

Does a pre-trained start gain over random weights, how many labels does it save, how much sooner does it get there, how
does it bear wrong labels, which pre-training scheme helps most (Models Genesis, sections 4 and 5)?
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.workflows.evaluate import prepared_folder
from genesis3d.workflows.study_config import ArmSettings, SearchSettings, StudyConfig, TestSettings
from genesis3d.workflows.study_helpers import Helpers
from genesis3d.workflows.study_plan import Plan, Run, make_plan
from genesis3d.workflows.study_runs import Busy, Runner, Stopped, mean_test_dice
from genesis3d.workflows.study_settings import identity, run_settings

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases

__all__ = ["ArmSettings", "SearchSettings", "StudyConfig", "TestSettings", "helped", "study"]

_POLL = 1.0


def study(
    config: StudyConfig,
    out_dir: str | Path,
    control: Control = keep_running,
    *,
    jobs: int = 1,
    train: bool = True,
    cases: LabelledCases | None = None,
) -> Iterator[Event]:
    """Do the runs of a study that are missing in ``out_dir`` (a step is a run), then write its report.

    Parameters
    ----------
    config : what is compared; runs of other settings that lie in ``out_dir`` are left out of the report
    out_dir : folder of the study; begun there, it goes on, also within a run that was killed
    jobs : processes that work at the same time
    train : False: only the report, of what is there
    cases : in place of ``config.target``'s (not with several jobs)

    Raises
    ------
    ConfigError, ScanError, ModelError
        When the study cannot be made.
    """
    if cases is not None and jobs > 1:
        raise ConfigError(f"jobs: expected 1 with cases in memory, got {jobs}")
    out = Path(out_dir)
    prepared_folder(str(out))
    loaded = _loaded(config, control) if cases is None else cases
    if loaded is None:
        yield Finished(cancelled=True)
        return
    plan = _planned(config, loaded, out)
    yield Started(what="study", total=plan.total, unit="training", detail={"arms": list(config.arms)})
    yield from (Warned(message=sentence) for sentence in loaded.warnings)
    runner, stopped = Runner(config, loaded, out, control), False
    if train:
        try:
            with Helpers(config, out, jobs - 1):
                yield from _work(runner, plan)
        except Stopped:
            stopped = True
    yield from _reported(config, runner, plan, out, stopped)


def _planned(config: StudyConfig, cases: LabelledCases, out: Path) -> Plan:
    """Return the runs of the study, every arm's settings checked, and write its settings."""
    plan = make_plan(config, cases)
    _check_arms(config, plan, cases)
    write_atomic(out / "study.json", json.dumps(config.to_dict(), indent=1).encode() + b"\n")
    return plan


def helped(config: StudyConfig, out: Path, control: Control) -> None:
    """Do runs of a study that another process leads, until none is left or ``control`` says stop; no report."""
    loaded = _loaded(config, control)
    if loaded is None:
        return
    try:
        for _ in _work(Runner(config, loaded, out, control), make_plan(config, loaded)):
            pass
    except Stopped:
        return


def _loaded(config: StudyConfig, control: Control) -> LabelledCases | None:
    from genesis3d.data.targets import load_targets

    return load_targets(config.target, control=control)


def _check_arms(config: StudyConfig, plan: Plan, cases: LabelledCases) -> None:
    """Refuse an arm whose settings or model cannot be, before hours of training of the others."""
    for run in {run.arm: run for run in plan.runs}.values():
        identity(config, run, run_settings(config, run, run.rate, cases), cases)


def _work(runner: Runner, plan: Plan) -> Iterator[Event]:
    """Do what is missing, in order; what another process is at is looked at again later.  Raises Stopped."""
    waiting, done = list(plan.runs), set[str]()
    while waiting:
        later = []
        for run in waiting:
            if runner.control() == "stop":
                raise Stopped
            try:
                yield from _with_trials(runner, plan, run, done)
            except Busy:
                later.append(run)
        if len(later) == len(waiting):
            time.sleep(_POLL)
        waiting = later


def _with_trials(runner: Runner, plan: Plan, run: Run, done: set[str]) -> Iterator[Event]:
    """Do the trials of ``run`` that are missing, then ``run`` itself at the rate they show."""
    trials = plan.trials.get(run, ())
    busy: Busy | None = None
    for trial in trials:
        try:
            yield from _one(runner, trial, trial.rate, plan.total, done)
        except Busy as other:
            busy = other
    if busy is not None:
        raise busy
    yield from _one(runner, run, runner.best_rate(trials) if trials else run.rate, plan.total, done)


def _one(runner: Runner, run: Run, rate: float | None, total: int, done: set[str]) -> Iterator[Event]:
    if run.key in done:
        return
    if runner.result(run, rate) is None:
        yield from runner.perform(run, rate)
    else:
        runner.tidy(run)  # a process may have been killed just before
    done.add(run.key)
    found = runner.result(run, rate)
    if found is None:
        yield Warned(message=f"{run.key} failed: {runner.failure(run)}")
    yield Stepped(step=len(done), total=total, metrics={"dice": mean_test_dice(found)} if found else {})


def _reported(config: StudyConfig, runner: Runner, plan: Plan, out: Path, stopped: bool) -> Iterator[Event]:
    from genesis3d.workflows.study_report import report_files
    from genesis3d.workflows.study_results import collect

    results = collect(runner, plan)
    if not results.runs:
        yield Finished(cancelled=stopped, result={"trainings": 0, "of": len(plan.runs)})
        return
    files, said = report_files(config, results)
    for name, content in files.items():
        write_atomic(out / name, content)
        yield Saved(path=str(out / name), what="report")
    yield Finished(
        cancelled=stopped,
        result={"trainings": len(results.runs), "of": len(plan.runs), "findings": said},
    )
