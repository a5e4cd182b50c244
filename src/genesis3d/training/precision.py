"""Which device, number format and memory layout a training uses: asked for, or measured once at its start.

bfloat16 is used only where a self-test on the very network and batch finds it right and faster: some processors emulate
it slowly, and some builds of torch compute the gradient of small 3D convolutions in it from memory never written.
"""

from __future__ import annotations

import copy
import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from genesis3d.training.ranks import Place

__all__ = ["Hardware", "choose_hardware", "default_threads", "find_device"]

Precision = Literal["auto", "32", "bf16"]
# Sound bfloat16 gradients of the 3D U-Net differ from 32 bits by .05 (batch of 4) to .13 (batch of 1) of their length
# (width 8, 32x64x64, sigmoid and linear); those that some builds take from memory never written by .7 and more.
_AGREEMENT = 0.15
# What must be gained before the simpler choice is left; below it a timing is noise.
_GAIN = 1.15
# Steps longer than this are timed once only.
_SLOW_SECONDS = 2.0


@dataclass(frozen=True)
class Hardware:
    """What computes: ``device`` (cpu, cuda:0, mps), ``precision`` (32, bf16), memory layout, the reason in words."""

    device: str
    precision: str
    channels_last: bool
    reason: str

    def describe(self) -> dict[str, Any]:
        """Return plain values for events and files, with the name of the processor."""
        return asdict(self) | {"name": _device_name(self.device)}


def default_threads(place: Place | None = None) -> int:
    """Return the threads for torch: OMP_NUM_THREADS where set, else all cores that this process may use but one.

    Several processes of a machine (``place``) share its cores; Slurm gives each its own.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if place is None or place.local_world == 1:
        return max(1, cores - 1)
    own = os.environ.get("SLURM_CPUS_PER_TASK", "") if place.slurm else ""
    return int(own) if own.isdigit() and int(own) > 0 else max(1, cores // place.local_world)


def find_device(wanted: str, place: Place | None = None) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; raises ConfigError if not there.

    Each process of a machine (``place``) has a GPU of its own; where a scheduler shows it a single one, that.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    local, world = (place.local_rank, place.local_world) if place is not None else (0, 1)
    gpu = f"cuda:{local % torch.cuda.device_count()}" if cuda else "cuda:0"
    if wanted == "auto":
        return torch.device(gpu if cuda else "mps" if mps and world == 1 else "cpu")
    if wanted.startswith("cuda:") and world > 1:
        raise ConfigError(f"device: expected auto, cuda or cpu for several processes, each of its own, got {wanted}")
    device = torch.device(gpu if wanted == "cuda" else wanted)
    if device.type == "cuda" and not (cuda and (device.index or 0) < torch.cuda.device_count()):
        raise ConfigError(
            f"device: expected one of this machine's, got {wanted}, which torch {torch.__version__} lacks"
        )
    if device.type == "mps" and not mps:
        raise ConfigError(
            f"device: expected one of this machine's, got {wanted}, which torch {torch.__version__} lacks"
        )
    return device


def choose_hardware(
    device: torch.device, precision: Precision, task: nn.Module, shape: tuple[int, int, int, int, int]
) -> Hardware:
    """Return what to compute with on ``device`` for ``task`` (left as it is) and batches of ``shape`` (B, C, D, H, W).

    ``32`` and ``bf16`` are taken as asked, with a fixed memory layout, so that two runs agree bit for bit; ``auto``
    takes a handful of trial steps.
    """
    if precision != "auto":
        return Hardware(str(device), precision, device.type == "cpu", "as asked")
    if device.type == "mps":
        return Hardware(str(device), "32", False, "32 bits: bfloat16 is not tried on this device")
    return _measured(_Trial(device, task, shape), str(device))


def _measured(trial: _Trial, device: str) -> Hardware:
    plain, last = trial.run(False, False), trial.run(False, True)
    channels_last, exact = last.seconds * _GAIN < plain.seconds, min(plain.seconds, last.seconds)
    half_plain, half_last = trial.run(True, False), trial.run(True, True)
    sound = [half for half in (half_plain, half_last) if half.agrees_with(plain)]
    if not sound:
        return Hardware(device, "32", channels_last, "32 bits: bfloat16 failed its self-test here")
    best = min(sound, key=lambda half: half.seconds)
    if best.seconds * _GAIN < exact:
        reason = f"bfloat16: self-test passed, {exact / best.seconds:.1f} times as fast as 32 bits"
        return Hardware(device, "bf16", best is half_last, reason)
    reason = f"32 bits: bfloat16 is only {exact / best.seconds:.2f} times as fast here"
    return Hardware(device, "32", channels_last, reason)


@dataclass(frozen=True, eq=False)
class _Outcome:
    seconds: float
    gradients: list[Tensor]

    def agrees_with(self, other: _Outcome) -> bool:
        """Whether all gradients, as one vector, differ by a small share of their length; False if not finite."""
        if len(self.gradients) != len(other.gradients):
            return False
        difference = sum(float((a - b).square().sum()) for a, b in zip(self.gradients, other.gradients, strict=True))
        length = sum(float(b.square().sum()) for b in other.gradients)
        return difference <= _AGREEMENT**2 * length


class _Trial:
    """Steps of a copy of ``task`` on a smooth random batch of ``shape`` with a noisy box, or its classes."""

    def __init__(self, device: torch.device, task: nn.Module, shape: tuple[int, int, int, int, int]) -> None:
        import torch
        from torch.nn import functional

        self.device = device
        self.task = copy.deepcopy(task).to(device).train()
        generator = torch.Generator().manual_seed(0)
        b, c, d, h, w = shape
        coarse = torch.rand(b, c, *(max(1, n // 8) for n in (d, h, w)), generator=generator)
        target = functional.interpolate(coarse, size=(d, h, w), mode="trilinear")
        noisy = target.clone()
        box = noisy[..., d // 4 : -(d // 4), h // 4 : -(h // 4), w // 4 : -(w // 4)]
        box.copy_(torch.rand(box.shape, generator=generator))
        if hasattr(task, "example"):
            target = task.example(target)  # type: ignore[operator]  # a task's method
        self.batch = (noisy.to(device), target.to(device))

    def _clock(self) -> float:
        """Return seconds: of this process on the CPU, whatever else the machine does, else of the wall."""
        import torch

        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def run(self, half: bool, channels_last: bool) -> _Outcome:
        """Return the shorter time of at most two steps and the gradients of the last one."""
        import torch

        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        task = self.task.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs lack 3d
        seconds: list[float] = []
        while len(seconds) < 2 and not (seconds and seconds[0] > _SLOW_SECONDS):
            task.zero_grad(set_to_none=True)
            _leave_nan_in_free_memory()
            start = self._clock()
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                loss = task(*self.batch)["loss"]
            try:
                loss.backward()
            except RuntimeError as error:
                if not half or "memory" in str(error):
                    raise
                return _Outcome(float("inf"), [])  # a build without this kernel
            seconds.append(self._clock() - start)
        gradients = [p.grad.float().cpu() for p in task.parameters() if p.grad is not None]
        return _Outcome(min(seconds), gradients)


def _leave_nan_in_free_memory() -> None:
    """Fill and free blocks of many sizes: what is computed from memory never written then shows as NaN."""
    import torch

    blocks = [torch.full((1 << power,), float("nan")) for power in range(10, 21) for _ in range(4)]
    del blocks


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine() or 'cpu'}, {torch.get_num_threads()} threads"
