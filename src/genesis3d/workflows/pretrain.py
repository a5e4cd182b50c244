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
from genesis3d.training.recorder import failure, record
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain_config import NETWORK_SIZES, PRETRAIN_PRESETS, PretrainConfig, pretrain_preset

if TYPE_CHECKING:
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
    """
    run = RunDir(run_dir)
    with ExitStack() as held:
        try:
            config = _open(run, config, resume)
            held.enter_context(run.lock())
        except (ConfigError, RunError, OSError) as error:
            yield failure(error)
            return
        yield from record(
            run,
            _work(run, config, _both(control, run), cases),
            hidden=[*config.cases, *([config.start] if config.start else [])],
        )


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


def _work(run: RunDir, config: PretrainConfig, control: Control, cases: Sequence[Case] | None) -> Iterator[Event]:
    """Train; raises whatever goes wrong."""
    run.set_status("running", phase="starting", message="")
    with _threads(config.threads or default_threads()):
        yield from _train(run, config, control, cases)


def _train(run: RunDir, config: PretrainConfig, control: Control, cases: Sequence[Case] | None) -> Iterator[Event]:
    from genesis3d.training.checkpoint import read_state
    from genesis3d.workflows.pretrain_setup import build_training, read_cases
    from genesis3d.workflows.pretrain_start import begin_with

    state = read_state(run.resume_path) if run.resume_path.exists() else None
    run.rewind(-1 if state is None else int(state["progress"]["step"]))
    task = config.task.build(config.network, config.seed)
    parent = begin_with(config.start, config.network, task) if state is None and config.start else None
    hardware = _hardware(config, state, task)
    yield _started(config, hardware, state)
    run.set_status("running", phase="reading scans", device=hardware["device"], precision=hardware["precision"])
    loaded = read_cases(config, cases, control)
    if loaded is None:
        yield Finished(cancelled=True, result={"step": 0 if state is None else state["progress"]["step"]})
        return
    training, facts, warnings = build_training(run, config, loaded, task, hardware, state, parent)
    for sentence in warnings:
        yield Warned(message=sentence)
    run.set_status("running", phase="training", **facts)
    for event in training.run(control):
        if isinstance(event, Validated):
            _write_report(run, config, training, facts)
        yield event
    yield Finished(cancelled=training.stopped, result=_result(training))


def _hardware(config: PretrainConfig, state: dict[str, Any] | None, task: nn.Module) -> dict[str, Any]:
    """Return what computes: on resuming what the run began with, so that its numbers go on the same way."""
    device = find_device(config.device)
    if state is not None and state["hardware"]["device"] == str(device):
        before: dict[str, Any] = state["hardware"]
        if config.precision in ("auto", before["precision"]):
            return before
    shape = (config.network.in_channels, *config.sampling.patch)
    config.network.check(shape)
    portions = Portions("the self-test", -(-config.batch // config.accumulate), {}, "network.width or sampling.patch")
    return portions.fit(lambda size: choose_hardware(device, config.precision, task, (size, *shape))).describe()


def _started(config: PretrainConfig, hardware: dict[str, Any], state: dict[str, Any] | None) -> Started:
    step = 0 if state is None else int(state["progress"]["step"])
    total = config.steps if state is None or config.steps else state["progress"]["total"]
    detail = hardware | {
        "resumed_from": step,
        "parameters": config.network.parameters(),
        "threads": config.threads or default_threads(),
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
