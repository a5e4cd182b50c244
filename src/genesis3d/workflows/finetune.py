"""Fine-tuning: labelled scans in, events out, and a run directory that holds everything.

>>> config = FINETUNE_PRESETS["quick"].replaced(data=TargetData(images=("folder",)), model="genesis-chest-ct")
>>> for event in finetune(config, "runs/lesions"):
...     print(event.to_json())
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, ModelError, RunError
from genesis3d.events import Control, Event, Finished, Validated, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.training.processes import Processes
from genesis3d.training.recorder import failure, follow, record
from genesis3d.training.rundir import RunDir, WatchedRun
from genesis3d.workflows.finetune_config import FINETUNE_PRESETS, FinetuneConfig, finetune_preset
from genesis3d.workflows.running import asked, hardware_for, meet, opened, result_of, started, worked

if TYPE_CHECKING:
    from genesis3d.training.loop import Training
    from genesis3d.workflows.finetune_learning import TargetCases

__all__ = ["FINETUNE_PRESETS", "FinetuneConfig", "finetune", "finetune_preset"]


def finetune(
    config: FinetuneConfig | None,
    run_dir: str | Path,
    *,
    resume: bool = False,
    control: Control = keep_running,
    data: TargetCases | None = None,
) -> Iterator[Event]:
    """Train a network on labelled scans, beginning with a pre-trained model or none; yield what happens.

    Parameters
    ----------
    config : the settings; None on resuming takes those of the run
    run_dir : a new folder, or with ``resume`` that of a run
    resume : go on from the last saved state; with a budget in steps, one thread and 32 bits on the CPU the result
        equals bit for bit that of a run that never stopped.  With another budget or other labels than the run had, or
        with a ``config`` where its budget is used, the run is trained on: its best model so far stays as a version
        (``versions.json``), and the budget, its learning rates from their beginning, comes on top
    control : asked between two steps: run, pause or stop (saves); the file ``control`` of the run is asked as well
    data : labelled (or classified) scans in memory, in place of those that ``config`` names; its split still holds

    Yields
    ------
    Event
        As :func:`genesis3d.workflows.pretrain.pretrain`; figures are ``loss``, ``dice`` and ``dice_NAME`` of a
        class, or of a classification ``loss``, ``accuracy`` and ``auc``.
        ``Sampled(path="live/prediction.npz")`` answers :func:`genesis3d.training.live.ask`.
    """
    with ExitStack() as held:
        again = resume and config is not None
        try:
            processes = meet(lambda: config or _stored(RunDir(run_dir)))
            run = RunDir(run_dir) if processes.main else WatchedRun(run_dir)
            config = opened(run, FinetuneConfig, lambda: _open(run, config, resume), processes, held)
        except (ConfigError, ModelError, RunError, OSError) as error:
            yield failure(error)
            return
        hidden = _paths(config)
        training = _train(run, config, asked(control, run), data, processes, again)
        events = worked(run, config, training, processes, hidden)
        yield from record(run, events, hidden) if processes.main else follow(events, hidden)


def _paths(config: FinetuneConfig) -> list[str]:
    """Return the paths of the configuration: messages show their last parts alone."""
    data, classified = config.data, config.classified
    named = [*data.images, *data.labels, data.dataset, classified.table, classified.folder, config.model]
    named += [path for part in (data.split, classified.split) for path in (part.file, part.patients)]
    return [path for path in named if path]


def _stored(run: RunDir) -> FinetuneConfig:
    return FinetuneConfig.parse(run.config(), str(run.config_path))


def _open(run: RunDir, config: FinetuneConfig | None, resume: bool) -> FinetuneConfig:
    """Make the folder, or take the run that is there; return its configuration."""
    from genesis3d.workflows.finetune_start import as_the_model, as_the_run

    if not resume:
        if config is None:
            raise ConfigError("finetune: expected a configuration for a new run, got none")
        config = as_the_model(config)
        run.create(config.to_dict())
        return config
    if not run.begun():
        raise RunError(f"{run.path}: expected a run to resume, found none")
    stored = _stored(run)
    if config is None:
        return stored
    config = as_the_run(config, stored)
    _write_config(run, config)
    return config


def _write_config(run: RunDir, config: FinetuneConfig) -> None:
    write_atomic(run.config_path, json.dumps(config.to_dict(), indent=1).encode())


def _train(
    run: RunDir,
    config: FinetuneConfig,
    control: Control,
    data: TargetCases | None,
    processes: Processes,
    again: bool,
) -> Iterator[Event]:
    from genesis3d.training.checkpoint import read_state
    from genesis3d.workflows.finetune_learning import load_cases
    from genesis3d.workflows.finetune_setup import build_finetuning
    from genesis3d.workflows.finetune_start import built, resolved, unmirrored

    state = read_state(run.resume_path) if run.resume_path.exists() else None
    step = -1 if state is None else int(state["progress"]["step"])
    processes.same("the run's last saved state", "" if state is None else state["weights_sha256"])
    run.rewind(step)
    run.set_status("running", phase="reading scans")
    loaded = load_cases(config, control) if data is None else data
    if processes.any(loaded is None) or loaded is None:
        yield Finished(cancelled=True, result={"step": max(step, 0)})
        return
    processes.same("cases", " ".join(case.key for case in loaded.cases))
    config, side = unmirrored(resolved(config, loaded, begun=state is not None), loaded)
    if processes.main:
        _write_config(run, config)
    task, start = built(config, begun=state is not None)
    patch = config.sampling.patch or (0, 0, 0)
    hardware = hardware_for(config, config.network, patch, state, task, processes)
    total = config.steps if state is None else state["progress"]["total"]
    yield started("finetune", config, config.network, patch, hardware, max(step, 0), total, processes)
    run.set_status("running", phase="preparing", device=hardware["device"], precision=hardware["precision"])
    training, facts, said = build_finetuning(run, config, loaded, task, hardware, state, start, processes, again)
    for sentence in [*([side] if side else []), *said]:
        yield Warned(message=sentence)
    run.set_status("running", phase="training", total=training.progress.total, **facts)
    for event in training.run(lambda: processes.order(control)):
        if isinstance(event, Validated) and processes.main:
            _write_report(run, config, training, facts)
        yield event
    yield Finished(cancelled=training.stopped, result=result_of(training))


def _write_report(run: RunDir, config: FinetuneConfig, training: Training, facts: dict[str, Any]) -> None:
    """Write what the run has reached on what is held out."""
    progress = training.progress
    report = {
        "step": progress.step,
        "seconds": round(progress.seconds, 1),
        "best_step": progress.best_step,
        "figures": progress.figures,
        "patch": list(config.sampling.patch or ()),
        "hardware": training.hardware,
        **facts,
    }
    write_atomic(run.report_path, json.dumps(report, indent=1).encode(), durable=False)
