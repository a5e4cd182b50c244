"""Pre-training: a configuration in, events out, and a run directory that holds everything.

>>> for event in pretrain(PRETRAIN_PRESETS["quick"].replaced(cases=("scans",)), "runs/first"):
...     print(event.to_json())
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, RunError
from genesis3d.events import Control, Event, Finished, Order, Started, Validated, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.training.memory import Portions
from genesis3d.training.precision import choose_hardware, default_threads, find_device
from genesis3d.training.processes import ALONE, Processes
from genesis3d.training.ranks import own_place
from genesis3d.training.recorder import failure, follow, record, record_failure
from genesis3d.training.rundir import RunDir, WatchedRun
from genesis3d.workflows.pretrain_config import NETWORK_SIZES, PRETRAIN_PRESETS, PretrainConfig, pretrain_preset

if TYPE_CHECKING:
    import torch
    from torch import nn

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
            processes = _meet(config, run_dir)
            run = RunDir(run_dir) if processes.main else WatchedRun(run_dir)
            config = _opened(run, config, resume, processes, held)
        except (ConfigError, RunError, OSError) as error:
            yield failure(error)
            return
        events = _work(run, config, _both(control, run), cases, processes)
        hidden = [*config.cases, *([config.start] if config.start else [])]
        yield from record(run, events, hidden) if processes.main else follow(events, hidden)


def _meet(config: PretrainConfig | None, run_dir: str | Path) -> Processes:
    """Return the processes that train together, all of them met where there are several."""
    place = own_place()
    if place.world == 1:
        return ALONE
    from genesis3d.training.joining import join

    if config is None:
        run = RunDir(run_dir)
        config = PretrainConfig.parse(run.config(), str(run.config_path))
    return join(place, find_device(config.device, place), config.strategy)


def _opened(
    run: RunDir, config: PretrainConfig | None, resume: bool, processes: Processes, held: ExitStack
) -> PretrainConfig:
    """Make or take the run and hold it, in the first process; return its configuration in all of them."""

    def opened() -> dict[str, Any]:
        made = _open(run, config, resume)
        held.enter_context(run.lock())
        return made.to_dict()

    try:
        values = processes.first(opened)
    except (ConfigError, RunError, OSError) as error:
        raise processes.explain(error) from error
    return PretrainConfig.parse(values, str(run.config_path))


def _open(run: RunDir, config: PretrainConfig | None, resume: bool) -> PretrainConfig:
    """Make the folder, or take the run that is there; return its configuration."""
    if not resume:
        if config is None:
            raise ConfigError("pretrain: expected a configuration for a new run, got none")
        run.create(config.to_dict())
        return config
    if not run.begun():
        raise RunError(f"{run.path}: expected a run to resume, found none")
    stored = PretrainConfig.parse(run.config(), str(run.config_path))
    if config is not None and config != stored:
        write_atomic(run.config_path, json.dumps(config.to_dict(), indent=1).encode())
    return config or stored


def _both(control: Control, run: RunDir) -> Control:
    """Ask the caller and the run directory; the stronger order holds."""
    run.forget_old_order()

    def ask() -> Order:
        orders = (control(), run.control())
        return "stop" if "stop" in orders else "pause" if "pause" in orders else "run"

    return ask


def _work(
    run: RunDir, config: PretrainConfig, control: Control, cases: Sequence[Case] | None, processes: Processes
) -> Iterator[Event]:
    """Train; raises whatever goes wrong, in every process."""
    run.set_status("running", phase="starting", message="")
    if processes.main and processes.watch is not None:
        processes.watch.last_words = lambda why: record_failure(run, failure(RunError(why), config.cases))
    try:
        with _threads(config.threads or default_threads(processes.place)):
            yield from _train(run, config, control, cases, processes)
        processes.close()
    except Exception as error:
        raise processes.explain(error) from error


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
    hardware = _hardware(config, state, task, processes)
    yield _started(config, hardware, state, processes)
    run.set_status("running", phase="reading scans", device=hardware["device"], precision=hardware["precision"])
    loaded = read_cases(config, cases, control)
    if processes.any(loaded is None) or loaded is None:
        yield Finished(cancelled=True, result={"step": 0 if state is None else state["progress"]["step"]})
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
    yield Finished(cancelled=training.stopped, result=_result(training))


def _hardware(
    config: PretrainConfig, state: dict[str, Any] | None, task: nn.Module, processes: Processes
) -> dict[str, Any]:
    """Return what computes, in all processes as the first one measured it, each on a device of its own."""
    device = find_device(config.device, processes.place)
    chosen = processes.first(lambda: _chosen_hardware(config, state, task, device))
    return chosen | {"device": str(device)}


def _chosen_hardware(
    config: PretrainConfig, state: dict[str, Any] | None, task: nn.Module, device: torch.device
) -> dict[str, Any]:
    """Return what computes: on resuming what the run began with, so that its numbers go on the same way."""
    if state is not None and state["hardware"]["device"] == str(device):
        before: dict[str, Any] = state["hardware"]
        if config.precision in ("auto", before["precision"]):
            return before
    shape = (config.network.in_channels, *config.sampling.patch)
    config.network.check(shape)
    portions = Portions("the self-test", -(-config.batch // config.accumulate), {}, "network.width or sampling.patch")
    return portions.fit(lambda size: choose_hardware(device, config.precision, task, (size, *shape))).describe()


def _started(
    config: PretrainConfig, hardware: dict[str, Any], state: dict[str, Any] | None, processes: Processes
) -> Started:
    step = 0 if state is None else int(state["progress"]["step"])
    total = config.steps if state is None or config.steps else state["progress"]["total"]
    detail = hardware | {
        "resumed_from": step,
        "parameters": config.network.parameters(),
        "threads": config.threads or default_threads(processes.place),
        "processes": processes.world,
        "batch": config.batch,
        "patch": list(config.sampling.patch),
        "saves_every_seconds": config.keep.seconds,
    }
    return Started(
        what="pretrain", total=total, device=hardware["device"], precision=hardware["precision"], detail=detail
    )


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


def _result(training: Training) -> dict[str, Any]:
    progress = training.progress
    best = training.run_dir.checkpoints / "best.safetensors"
    model = "best" if best.is_file() else "last"
    return {
        "step": progress.step,
        "total": progress.total,
        "seconds": round(progress.seconds, 1),
        "best_step": progress.best_step,
        "model": f"checkpoints/{model}.safetensors",
        "figures": progress.figures,
    }


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch use ``count`` threads, and give it back its own number afterwards."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(min(count, os.cpu_count() or count))
    try:
        yield
    finally:
        torch.set_num_threads(before)
