"""Which of several processes this one is, as torchrun, Slurm or ``--processes`` say it in the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from genesis3d.errors import ConfigError

__all__ = ["Place", "own_place"]


@dataclass(frozen=True)
class Place:
    """``rank`` of ``world`` processes, and ``local_rank`` of the ``local_world`` on this machine; all count from 0."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    slurm: bool = False

    @property
    def main(self) -> bool:
        """Whether this is the process that speaks and writes."""
        return self.rank == 0

    @property
    def nodes(self) -> int:
        """Number of machines, each with the same number of processes."""
        return max(1, self.world // self.local_world)


def own_place(environment: Mapping[str, str] = os.environ) -> Place:
    """Return this process's place; alone unless torchrun, ``srun`` or ``--processes`` started several.

    A command within a Slurm allocation but without ``srun`` is alone.

    Raises
    ------
    ConfigError
        When the environment names several processes but not which this one is.
    """
    if int(environment.get("WORLD_SIZE", "1")) > 1 and "RANK" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, world, local, local_world = (_number(environment, name) for name in names)
        return Place(rank, world, local, local_world)
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        rank, world, local = (_number(environment, f"SLURM_{name}") for name in ("PROCID", "STEP_NUM_TASKS", "LOCALID"))
        # "4(x2),3": four tasks on each of the first two machines
        tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", environment.get("SLURM_TASKS_PER_NODE", str(world)))
        counts = {int(count) for count in re.findall(r"(?:^|,)(\d+)", tasks)}
        if len(counts) != 1:
            raise ConfigError(f"srun: expected the same number of tasks on each machine, got {tasks}")
        return Place(rank, world, local, counts.pop(), slurm=True)
    return Place()


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdigit():
        raise ConfigError(f"{name}: expected a number from the program that started the processes, got {text!r}")
    return int(text)
