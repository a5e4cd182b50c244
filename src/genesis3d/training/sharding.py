"""Weights and optimiser split over processes (FSDP), and whole again for files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["parts_of", "shard", "whole"]

# Below this many weights a part is not worth a collective operation of its own.
_LEAST = 50_000


def shard(task: nn.Module, world: int, device: torch.device) -> None:
    """Split the weights of ``task`` over ``world`` processes, a part for each large child of its network.

    Raises
    ------
    ConfigError
        When this torch cannot.
    """
    try:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise ConfigError(f"strategy: expected torch 2.6 or newer for fsdp, got {torch.__version__}") from error
    # All that fully_shard splits.
    task.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # torch's stubs lack it
    mesh = init_device_mesh(device.type, (world,))
    for child in task.network.children():  # type: ignore[union-attr]  # a task's network
        if sum(p.numel() for p in child.parameters()) >= _LEAST:
            fully_shard(child, mesh=mesh)
    fully_shard(task, mesh=mesh)


def whole(value: Any) -> Any:
    """Return a copy of a state dictionary in which sharded tensors are whole; a collective operation if any is."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [whole(item) for item in value]
    return value.full_tensor() if _sharded(value) else value


def parts_of(state: dict[str, Any], task: nn.Module, optimiser: Optimizer) -> dict[str, Any]:
    """Return a resume file's ``state`` with this process's parts of weights and optimiser in place of whole ones."""
    own = task.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    weights = {name: _like(value, own.get(name)) for name, value in state["weights"].items()}
    kept = {
        index: {name: _like(value, parameters[index]) for name, value in values.items()}
        for index, values in state["optimiser"]["state"].items()
        if index < len(parameters)
    }
    return state | {"weights": weights, "optimiser": state["optimiser"] | {"state": kept}}


def _like(value: Any, own: Tensor | None) -> Any:
    """Return this process's part of ``value`` where ``own`` is sharded and of its shape, else ``value``."""
    if own is None or not _sharded(own) or not isinstance(value, Tensor) or value.shape != own.shape:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(own.device), own.device_mesh, own.placements)  # type: ignore[attr-defined]


def _sharded(value: Any) -> bool:
    return hasattr(value, "full_tensor")
