"""Joining the other processes: the process group by Lightning Fabric, and the network in each of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning_fabric.strategies import DDPStrategy
from torch import nn

from genesis3d.errors import ConfigError, RunError
from genesis3d.training.processes import ALONE, Processes
from genesis3d.training.ranks import Place
from genesis3d.training.sharding import shard
from genesis3d.training.watch import Watch

__all__ = ["Strategy", "fabric_of", "join", "together"]

Strategy = Literal["auto", "ddp", "fsdp"]
# Others may still be starting, or reading scans from a slower disk; one that died is noticed sooner.
_PATIENCE = timedelta(minutes=30)


class _Group(DDPStrategy):  # type: ignore[misc]  # Fabric carries no types here
    """Fabric's data-parallel strategy without torch's wrapper: gradients are summed when all have theirs.

    A process that runs out of memory in backward can then say so and try a smaller batch, instead of leaving the
    others in a reduction that it will never join.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:
        return module


def join(place: Place, device: torch.device, strategy: Strategy) -> Processes:
    """Return the processes of ``place``, all of them met; ``device`` is this process's own.

    Raises
    ------
    ConfigError
        When they cannot train together as asked.
    RunError
        When the others do not come.
    """
    if place.world == 1:
        return ALONE
    if device.type == "mps":
        raise ConfigError(f"device: expected cpu or cuda for {place.world} processes, got mps")
    with _quiet("lightning_fabric"):
        fabric = _fabric(place, device)
        try:
            fabric.launch()
        except RuntimeError as error:
            raise RunError(
                f"expected {place.world} processes to meet, but they did not ({_first_line(error)})"
            ) from error
    watch = Watch(_store(), place.rank, place.world)
    watch.start()
    return Processes(place, fabric, watch, sharded=strategy == "fsdp")


def fabric_of(processes: Processes, device: str) -> Fabric:
    """Return the Fabric of ``processes``, or of one alone on ``device`` (cpu, cuda:N or mps)."""
    if processes.fabric is not None:
        return processes.fabric
    kind, _, index = device.partition(":")
    with _quiet("lightning_fabric"):
        return Fabric(
            accelerator=kind,
            devices=[int(index or 0)] if kind == "cuda" else 1,
            precision="32-true",  # bfloat16 is the loop's own, which can leave it while running
        )


def together(processes: Processes, task: nn.Module, device: str, batch: int) -> list[str]:
    """Make ``task`` one network of all processes; return what a user should know about its normalisation.

    On GPUs batch normalisation takes its statistics over all processes; on processors each keeps its own.

    Raises
    ------
    ConfigError
        When the ``batch`` cannot be dealt out as the network or the strategy asks.
    """
    if processes.world == 1:
        return []
    processes.equalise(task, weights=True)
    synchronised = device.startswith("cuda") and _synchronise(task)
    processes.lockstep = processes.sharded or synchronised
    if processes.lockstep and batch % processes.world:
        why = "for strategy fsdp" if processes.sharded else "for batch normalisation on GPUs"
        raise ConfigError(f"batch: expected a multiple of {processes.world} processes {why}, got {batch}")
    if processes.sharded:
        shard(task, processes.world, torch.device(device))
    if not any(isinstance(module, nn.BatchNorm3d) for module in task.modules()):
        return []
    return [
        f"batch normalisation: each of the {processes.world} processes normalises by its own sub-volumes, so the "
        "training differs from that of one process with the whole batch; norm: group makes the two equal"
    ]


def _synchronise(task: nn.Module) -> bool:
    """Let plain batch normalisations of ``task`` share their statistics between processes; whether there are any."""
    found = False
    for parent in list(task.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm3d:
                setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
                found = True
    return found


def _fabric(place: Place, device: torch.device) -> Fabric:
    strategy = _Group(
        # One device each: a scheduler may show a process its own GPU alone.
        parallel_devices=[device] * place.local_world,
        cluster_environment=_environment(place),
        process_group_backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        timeout=_PATIENCE,
    )
    return Fabric(strategy=strategy, devices=1, num_nodes=place.nodes, precision="32-true")


def _environment(place: Place) -> ClusterEnvironment:
    if not place.slurm:
        return TorchElasticEnvironment()
    try:
        return SLURMEnvironment(auto_requeue=False)
    except RuntimeError as error:
        raise ConfigError(
            f"srun: expected --nodes and --ntasks-per-node, got an allocation without ({error})"
        ) from error


def _store() -> Any:
    """Return a connection of our own to the store that the processes met by: those of torch wait while they work."""
    distributed: Any = torch.distributed
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = distributed.TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=_PATIENCE)
    return distributed.PrefixStore("genesis3d", store)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
