"""Which device, number format and memory layout a training uses: asked for, or measured once at its start.

bfloat16 is used only where a self-test finds it right and faster: some processors emulate it slowly, and some builds
computed 3D convolutions wrongly in it.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["Hardware", "choose_hardware", "default_threads", "find_device"]

Precision = Literal["auto", "32", "bf16"]
# bf16 keeps 8 bits of mantissa: products of a 3x3x3 convolution agree to a few thousandths of their scale.
_AGREEMENT = 0.02
# What must be gained before the simpler choice is left; below it a timing is noise.
_GAIN = 1.15


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


def default_threads() -> int:
    """Return the threads for torch: OMP_NUM_THREADS where set, else all cores that this process may use but one."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def find_device(wanted: str) -> torch.device:
    """Return the device called ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``; raises ConfigError if not there."""
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return torch.device("cuda:0" if cuda else "mps" if mps else "cpu")
    device = torch.device("cuda:0" if wanted == "cuda" else wanted)
    if device.type == "cuda" and not (cuda and (device.index or 0) < torch.cuda.device_count()):
        raise ConfigError(
            f"device: expected one of this machine's, got {wanted}, which torch {torch.__version__} lacks"
        )
    if device.type == "mps" and not mps:
        raise ConfigError(
            f"device: expected one of this machine's, got {wanted}, which torch {torch.__version__} lacks"
        )
    return device


def choose_hardware(device: torch.device, precision: Precision, width: int = 8) -> Hardware:
    """Return what to compute with on ``device`` for convolutions of about ``width`` channels.

    ``32`` and ``bf16`` are taken as asked, with a fixed memory layout, so that two runs agree bit for bit; ``auto``
    measures for a fraction of a second.
    """
    if precision != "auto":
        return Hardware(str(device), precision, device.type == "cpu", "as asked")
    if device.type == "mps":
        return Hardware(str(device), "32", False, "32 bits: bfloat16 is not tried on this device")
    return _measured(device, width)


def _measured(device: torch.device, width: int) -> Hardware:
    step = _trial(device, width)
    plain, last = _best_time(step, device, False, False), _best_time(step, device, False, True)
    channels_last, exact = last * _GAIN < plain, min(plain, last)
    agree = _bf16_agrees(step)
    if not agree:
        return Hardware(str(device), "32", channels_last, "32 bits: bfloat16 failed its self-test here")
    half_plain, half_last = _best_time(step, device, True, False), _best_time(step, device, True, True)
    half = min(half_plain, half_last)
    if half * _GAIN < exact:
        reason = f"bfloat16: self-test passed, {exact / half:.1f} times as fast as 32 bits"
        return Hardware(str(device), "bf16", half_last < half_plain, reason)
    return Hardware(str(device), "32", channels_last, f"32 bits: bfloat16 is {half / exact:.1f} times as slow here")


def _trial(device: torch.device, width: int) -> Callable[[bool, bool], torch.Tensor]:
    """Return a function (bf16, channels_last) -> gradient of a small 3D convolution stack."""
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, width, 16, 32, 32, generator=generator).to(device)
    a = (torch.randn(2 * width, width, 3, 3, 3, generator=generator) / (27 * width) ** 0.5).to(device)
    b = (torch.randn(2 * width, 2 * width, 3, 3, 3, generator=generator) / (54 * width) ** 0.5).to(device)

    def run(half: bool, channels_last: bool) -> torch.Tensor:
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        leaves = [t.clone(memory_format=layout).requires_grad_() for t in (x, a, b)]
        with torch.enable_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            y = functional.conv3d(functional.conv3d(leaves[0], leaves[1], padding=1).relu(), leaves[2], padding=1)
            loss = y.float().square().mean()
        return torch.autograd.grad(loss, leaves)[1]

    return run


def _best_time(step: Callable[[bool, bool], Any], device: torch.device, half: bool, channels_last: bool) -> float:
    import torch

    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        step(half, channels_last)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return best


def _bf16_agrees(step: Callable[[bool, bool], torch.Tensor]) -> bool:
    try:
        exact, half = step(False, False), step(True, True)
    except RuntimeError:  # a build without this kernel
        return False
    return bool((exact - half.float()).norm() <= _AGREEMENT * exact.norm())


def _device_name(device: str) -> str:
    import torch

    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine() or 'cpu'}, {torch.get_num_threads()} threads"
