"""What every training workflow does around its loop: meet, open the run, choose hardware, say how it went."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from genesis3d.errors import ConfigError, RunError
from genesis3d.events import Control, Event, Order, Started
from genesis3d.training.memory import Portions
from genesis3d.training.precision import choose_hardware, default_threads, find_device
from genesis3d.training.processes import ALONE, Processes
from genesis3d.training.ranks import own_place
from genesis3d.training.recorder import failure, record_failure

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesis3d.networks import Network
    from genesis3d.training.loop import Training
    from genesis3d.training.rundir import RunDir
    from genesis3d.workflows.finetune_config import FinetuneConfig
    from genesis3d.workflows.pretrain_config import PretrainConfig

    AnyConfig = PretrainConfig | FinetuneConfig

__all__ = ["asked", "hardware_for", "meet", "opened", "result_of", "started", "worked"]

Triple = tuple[int, int, int]
C = TypeVar("C", bound="AnyConfig")


def meet(settings: Callable[[], AnyConfig]) -> Processes:
    """Return the processes that train together, all of them met where there are several."""
    place = own_place()
    if place.world == 1:
        return ALONE
    from genesis3d.training.joining import join

    config = settings()
    return join(place, find_device(config.device, place), config.strategy)


def opened(run: RunDir, kind: type[C], make: Callable[[], C], processes: Processes, held: ExitStack) -> C:
    """Let the first process ``make`` or take the run and hold it; return its configuration, a ``kind``, in all."""

    def hold() -> dict[str, Any]:
        made = make()
        held.enter_context(run.lock())
        return made.to_dict()

    try:
        values = processes.first(hold)
    except (ConfigError, RunError, OSError) as error:
        raise processes.explain(error) from error
    return kind.parse(values, str(run.config_path))  # type: ignore[return-value]  # of the kind that was asked for


def asked(control: Control, run: RunDir) -> Control:
    """Ask the caller and the run directory; the stronger order holds."""
    run.forget_old_order()

    def ask() -> Order:
        orders = (control(), run.control())
        return "stop" if "stop" in orders else "pause" if "pause" in orders else "run"

    return ask


def worked(
    run: RunDir, config: AnyConfig, events: Iterator[Event], processes: Processes, hidden: list[str]
) -> Iterator[Event]:
    """Yield ``events`` of a training, with its number of threads; raises whatever goes wrong, in every process."""
    run.set_status("running", phase="starting", message="")
    if processes.main and processes.watch is not None:
        processes.watch.last_words = lambda why: record_failure(run, failure(RunError(why), hidden))
    try:
        with _threads(config.threads or default_threads(processes.place)):
            yield from events
        processes.close()
    except Exception as error:
        raise processes.explain(error) from error


def hardware_for(
    config: AnyConfig,
    network: Network,
    patch: Triple,
    state: dict[str, Any] | None,
    task: nn.Module,
    processes: Processes,
) -> dict[str, Any]:
    """Return what computes, in all processes as the first one measured it, each on a device of its own."""
    device = find_device(config.device, processes.place)
    chosen = processes.first(lambda: _chosen_hardware(config, network, patch, state, task, device))
    return chosen | {"device": str(device)}


def _chosen_hardware(
    config: AnyConfig, network: Network, patch: Triple, state: dict[str, Any] | None, task: nn.Module,
    device: torch.device,
) -> dict[str, Any]:  # fmt: skip
    """Return what computes: on resuming what the run began with, so that its numbers go on the same way."""
    if state is not None and state["hardware"]["device"] == str(device):
        before: dict[str, Any] = state["hardware"]
        if config.precision in ("auto", before["precision"]):
            return before
    shape = (network.in_channels, *patch)
    network.check(shape)
    portions = Portions("the self-test", -(-config.batch // config.accumulate), {}, "network.width or sampling.patch")
    return portions.fit(lambda size: choose_hardware(device, config.precision, task, (size, *shape))).describe()


def started(
    what: str, config: AnyConfig, network: Network, patch: Triple, hardware: dict[str, Any], step: int,
    total: int | None, processes: Processes,
) -> Started:  # fmt: skip
    """Return the event with which a training begins, after ``step`` of ``total`` steps."""
    detail = hardware | {
        "resumed_from": step,
        "parameters": network.parameters(),
        "threads": config.threads or default_threads(processes.place),
        "processes": processes.world,
        "batch": config.batch,
        "patch": list(patch),
        "saves_every_seconds": config.keep.seconds,
    }
    return Started(what=what, total=total, device=hardware["device"], precision=hardware["precision"], detail=detail)


def result_of(training: Training) -> dict[str, Any]:
    """Return what a finished training has reached, as plain values."""
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
