"""The parts of a training that follow from its settings whatever it is trained for: checkpoints, portions, progress."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError
from genesis3d.training.averaging import Averaging
from genesis3d.training.checkpoint import Checkpoints
from genesis3d.training.memory import Portions
from genesis3d.training.processes import Processes
from genesis3d.training.progress import Progress
from genesis3d.training.shared_checkpoints import SharedCheckpoints

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.training.rundir import RunDir
    from genesis3d.workflows.running import AnyConfig

__all__ = ["MEASURED_AT_ONCE", "kept_by", "merged", "portions_of", "progress_of"]

# Held-out sub-volumes computed together.
MEASURED_AT_ONCE = 4


def kept_by(
    run: RunDir, bare: nn.Module, config: AnyConfig, hardware: dict[str, Any], card: Any, processes: Processes
) -> tuple[Checkpoints, Averaging | None, list[str]]:
    """Return the checkpoints of the task (one network of all processes), its average, and sentences to be said."""
    plain = copy.deepcopy(bare) if processes.sharded else None
    task, optimiser, said = _placed(bare, config, hardware, processes)
    averaging = Averaging(config.averaging, task) if config.averaging.decay else None
    kept = (run, task, optimiser, card, config.keep, None if averaging is None else averaging.task)
    if processes.world == 1:
        return Checkpoints(*kept), averaging, said
    return SharedCheckpoints(*kept, processes, plain), averaging, said


def portions_of(config: AnyConfig, progress: Progress, processes: Processes) -> tuple[Portions, Portions]:
    """Return how many sub-volumes are computed at once, in training and in measuring; sizes found too large stay so."""
    lower = "network.width or {}, or take precision bf16"
    largest, sizes = -(-config.batch // (config.accumulate * processes.world)), progress.portions
    return (
        Portions("training", largest, sizes, lower.format("sampling.patch"), processes),
        Portions("measuring", MEASURED_AT_ONCE, sizes, lower.format("validation.patch"), processes),
    )


def merged(sentences: Sequence[str]) -> list[str]:
    """Return the sentences, those that many scans share (but for numbers) as one: a hundred scans, one warning."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for sentence in sentences:
        name, _, rest = sentence.partition(": ")
        groups.setdefault(re.sub(r"[-\d.]+", "#", rest) if rest else sentence, []).append((name, sentence))
    said = []
    for group in groups.values():
        if len(group) > 2:
            said.append(f"{len(group)} scans, such as {group[0][1]}")
        else:
            said += [sentence for _, sentence in group]
    return said


def _placed(
    task: nn.Module, config: AnyConfig, hardware: dict[str, Any], processes: Processes
) -> tuple[nn.Module, Any, list[str]]:
    """Return the task on its device and in its memory layout, its optimiser, and sentences to be said."""
    import torch

    from genesis3d.training.joining import together

    if hardware["channels_last"]:
        task = task.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs lack 3d
    if hardware["device"] != "cpu":
        task = task.to(hardware["device"])
    if processes.sharded and config.averaging.decay:
        raise ConfigError("averaging.decay: expected 0 with strategy fsdp, whose weights no process holds whole")
    if processes.sharded and not config.optimiser.plan.plain:
        raise ConfigError("optimiser.plan: expected schedule all and layer_decay 1 with strategy fsdp, got others")
    said = together(processes, task, hardware["device"], config.batch)
    return task, config.optimiser.build(task), said


def progress_of(config: AnyConfig, checkpoints: Checkpoints, state: dict[str, Any] | None, parent: str) -> Progress:
    """Return where to begin; a budget that was changed since is taken as it now stands."""
    progress = Progress() if state is None else checkpoints.load(state)
    if config.steps is not None:
        progress.total = config.steps
    elif progress.minutes != config.minutes:
        progress.total = None
    progress.minutes = config.minutes
    if parent:
        progress.parent = parent
    return progress
