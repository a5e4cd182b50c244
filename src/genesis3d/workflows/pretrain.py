"""Pre-training: a configuration in, events out, and a run directory that holds everything.

>>> for event in pretrain(PRETRAIN_PRESETS["quick"].replaced(cases=("scans",)), "runs/first"):
...     print(event.to_json())
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, RunError
from genesis3d.events import Control, Event, Finished, Validated, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.training.processes import Processes
from genesis3d.training.recorder import failure, follow, record
from genesis3d.training.rundir import RunDir, WatchedRun
from genesis3d.workflows.pretrain_config import NETWORK_SIZES, PRETRAIN_PRESETS, PretrainConfig, pretrain_preset
from genesis3d.workflows.running import asked, hardware_for, meet, opened, result_of, started, worked

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.training.loop import Training

__all__ = ["NETWORK_SIZES", "PRETRAIN_PRESETS", "PretrainConfig", "pretrain", "pretrain_preset"]


def pretrain(
    config: PretrainConfig | None,
    run_dir: str | Path,
    *,
    resume: bool = False,
    control: Control = keep_running,
    cases: Sequence[Case] | None = None,
) -> Iterator[Event]:
    """Train a network to restore transformed sub-volumes (Models Genesis, section 2.1); yield what happens.

    Parameters
    ----------
    config : the settings; None on resuming takes those of the run
    run_dir : a new folder, or with ``resume`` that of a run
    resume : go on from the last saved state; with a budget in steps, one thread and 32 bits on the CPU the result
        equals bit for bit that of a run that never stopped
    control : asked between two steps: run, pause or stop (saves); the file ``control`` of the run is asked as well
    cases : scans in memory, in place of ``config.cases``

    Yields
    ------
    Event
        Started, Warned, Validated, Sampled, Stepped, Saved, and at the end Finished or Failed: nothing is raised.
        All are recorded in the run directory first; paths in them are relative to it.

    Notes
    -----
    Started by torchrun, ``srun`` or ``--processes``, every process calls this and they train together; the first one
    writes and yields, the others yield but their own failure.
    """
    with ExitStack() as held:
        try:
            processes = meet(lambda: config or _stored(RunDir(run_dir)))
            run = RunDir(run_dir) if processes.main else WatchedRun(run_dir)
            config = opened(run, PretrainConfig, lambda: _open(run, config, resume), processes, held)
        except (ConfigError, RunError, OSError) as error:
            yield failure(error)
            return
        hidden = [*config.cases, *([config.start] if config.start else [])]
        training = _train(run, config, asked(control, run), cases, processes)
        events = worked(run, config, training, processes, list(config.cases))
        yield from record(run, events, hidden) if processes.main else follow(events, hidden)


def _stored(run: RunDir) -> PretrainConfig:
    return PretrainConfig.parse(run.config(), str(run.config_path))


def _open(run: RunDir, config: PretrainConfig | None, resume: bool) -> PretrainConfig:
    """Make the folder, or take the run that is there; return its configuration."""
    if not resume:
        if config is None:
            raise ConfigError("pretrain: expected a configuration for a new run, got none")
        run.create(config.to_dict())
        return config
    if not run.begun():
        raise RunError(f"{run.path}: expected a run to resume, found none")
    stored = _stored(run)
    if config is not None and config != stored:
        write_atomic(run.config_path, json.dumps(config.to_dict(), indent=1).encode())
    return config or stored


def _train(
    run: RunDir, config: PretrainConfig, control: Control, cases: Sequence[Case] | None, processes: Processes
) -> Iterator[Event]:
    from genesis3d.training.checkpoint import read_state
    from genesis3d.workflows.pretrain_setup import build_training, read_cases
    from genesis3d.workflows.pretrain_start import begin_with

    state = read_state(run.resume_path) if run.resume_path.exists() else None
    processes.same("the run's last saved state", "" if state is None else state["weights_sha256"])
    run.rewind(-1 if state is None else int(state["progress"]["step"]))
    task = config.task.build(config.network, config.seed)
    parent = begin_with(config.start, config.network, task) if state is None and config.start else None
    patch = config.sampling.patch
    hardware = hardware_for(config, config.network, patch, state, task, processes)
    step = 0 if state is None else int(state["progress"]["step"])
    total = config.steps if state is None or config.steps else state["progress"]["total"]
    yield started("pretrain", config, config.network, patch, hardware, step, total, processes)
    run.set_status("running", phase="reading scans", device=hardware["device"], precision=hardware["precision"])
    loaded = read_cases(config, cases, control)
    if processes.any(loaded is None) or loaded is None:
        yield Finished(cancelled=True, result={"step": step})
        return
    processes.same("cases", " ".join(case.key for case in loaded.cases))
    training, facts, warnings = build_training(run, config, loaded, task, hardware, state, parent, processes)
    for sentence in warnings:
        yield Warned(message=sentence)
    run.set_status("running", phase="training", **facts)
    for event in training.run(lambda: processes.order(control)):
        if isinstance(event, Validated) and processes.main:
            _write_report(run, config, training, facts)
        yield event
    yield Finished(cancelled=training.stopped, result=result_of(training))


def _write_report(run: RunDir, config: PretrainConfig, training: Training, facts: dict[str, Any]) -> None:
    """Write what the run has reached: errors on held-out sub-volumes, beside what costs nothing."""
    from genesis3d.workflows.pretrain_setup import YARDSTICKS, measured_patch

    progress = training.progress
    figures = progress.figures
    prefixes = tuple(f"{name}_" for name in YARDSTICKS)
    report = {
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "best_step": progress.best_step,
        "chain": {name: value for name, value in figures.items() if not name.startswith(prefixes)},
        **{
            prefix[:-1]: {name.removeprefix(prefix): v for name, v in figures.items() if name.startswith(prefix)}
            for prefix in prefixes
        },
        "windows": config.validation.windows,
        "patch": list(measured_patch(config)),
        "hardware": training.hardware,
        **facts,
    }
    write_atomic(run.report_path, json.dumps(report, indent=1).encode(), durable=False)
