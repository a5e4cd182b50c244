"""What the benchmarks of training share: sub-volumes of a phantom, our step, and the plain step of a published loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from genesis3d.data.cases import case_of, load_cases
from genesis3d.data.loading import LoadedCases
from genesis3d.data.phantoms import thorax
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.restoration import Restoration
from genesis3d.training.collapse import CollapseGuard
from genesis3d.training.joining import fabric_of
from genesis3d.training.memory import Portions
from genesis3d.training.pairs import PairMaker, Pairs, Prefetch
from genesis3d.training.precision import choose_hardware, find_device
from genesis3d.training.processes import ALONE
from genesis3d.training.settings import OptimiserSettings
from genesis3d.training.stepping import Stepper
from genesis3d.transforms import chain_preset

Triple = tuple[int, int, int]
FULL = UNet3d(width=32)
# Gentle enough that both ways of computing stay together over the steps of a benchmark.
OPTIMISER = OptimiserSettings(name="sgd", lr=0.01, momentum=0.9, weight_decay=0, schedule="constant", warmup=0)


@dataclass(frozen=True)
class Setting:
    """Network, sub-volume and batch of a benchmark."""

    network: UNet3d = FULL
    patch: Triple = (32, 64, 64)
    batch: int = 2
    shape: Triple = (96, 192, 192)

    def task(self) -> torch.nn.Module:
        return Restoration().build(self.network, 0)


def phantom(setting: Setting, scans: int = 1) -> LoadedCases:
    return load_cases([case_of(thorax(setting.shape, seed=seed)) for seed in range(scans)])


def maker(setting: Setting, loaded: LoadedCases, device: torch.device | None = None) -> PairMaker:
    sampler = Sampler(SamplingConfig(patch=setting.patch), loaded.volumes, loaded.scales)
    return PairMaker(sampler, chain_preset("official"), 0, setting.batch, device=device)


class Ours:
    """Our step, with the precision and memory layout that the self-test chose."""

    def __init__(self, setting: Setting, device: str = "auto", precision: str = "auto") -> None:
        where = find_device(device)
        task = setting.task()
        shape = (setting.batch, setting.network.in_channels, *setting.patch)
        self.hardware = choose_hardware(where, precision, task, shape)  # type: ignore[arg-type]
        if self.hardware.channels_last:
            task = task.to(memory_format=torch.channels_last_3d)
        task = task.to(where)
        fabric = fabric_of(ALONE, str(where))
        portions = Portions("training", setting.batch, {}, "the batch")
        live = fabric.setup(task, OPTIMISER.build(task.parameters()))
        self.stepper = Stepper(fabric, *live, None, self.hardware.describe(), portions)
        self.guard = CollapseGuard()
        self.device = where
        self.steps = 0

    def step(self, pairs: Pairs) -> float:
        """Take one step; return the loss."""
        self.steps += 1
        found = self.stepper.gradient(pairs, self.steps, self.guard)
        self.stepper.step(OPTIMISER.lr)
        return found["loss"]


class Plain:
    """The step of a published training: 32 bits, contiguous memory, nothing else."""

    def __init__(self, setting: Setting, device: torch.device) -> None:
        self.task = setting.task().to(device).train()
        self.optimiser = torch.optim.SGD(self.task.parameters(), lr=OPTIMISER.lr, momentum=0.9)
        self.device = device

    def step(self, input: torch.Tensor, target: torch.Tensor) -> float:
        self.optimiser.zero_grad()
        loss = self.task(input.to(self.device), target.to(self.device))["loss"]
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())


def gradients(task: torch.nn.Module) -> torch.Tensor:
    """All gradients as one vector on the processor."""
    return torch.cat([p.grad.float().cpu().reshape(-1) for p in task.parameters() if p.grad is not None])


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    """Length of the difference over the length of ``b``."""
    return float((a - b).norm() / b.norm())


def timed(work: Callable[[int], object], repeats: int, warm: int = 1) -> list[float]:
    """Seconds of each of ``repeats`` calls; a GPU has finished when the clock stops."""
    for k in range(warm):
        work(k)
    seconds = []
    for k in range(repeats):
        start = time.perf_counter()
        work(warm + k)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds


def streamed(ours: Ours, pairs: PairMaker, steps: int, warm: int = 2) -> tuple[float, float]:
    """Train ``steps`` steps on pairs made ahead; return seconds per step and the share spent waiting for pairs."""
    with Prefetch(pairs.pairs, 0, workers=pairs.workers) as stream:
        for _ in range(warm):
            ours.step(stream.take())
        waited, start = stream.waited, time.perf_counter()
        for _ in range(steps):
            ours.step(stream.take())
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        return seconds / steps, (stream.waited - waited) / seconds


def plain_pairs(
    pairs: PairMaker, published: Callable[[np.ndarray, np.random.Generator], Sequence[np.ndarray]], step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of ``step`` by the plain numpy reference, made here and now as the published loop does."""
    made = []
    for slot in pairs.slots:
        address = pairs.address(step, slot)
        voxels = pairs.sampler.cut(pairs.sampler.locate(address / "location"))
        made.append(published(voxels, np.random.default_rng(address.key())))
    input, target = (torch.from_numpy(np.stack(part)) for part in zip(*made, strict=True))
    return input, target


def bf16_instructions() -> bool:
    """Whether the processor says that it multiplies in bfloat16."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    return any(flag in text for flag in ("avx512_bf16", "amx_bf16", " bf16"))
