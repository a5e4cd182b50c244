"""The loop: one readable page on Lightning Fabric, which carries device and number format.

A step takes the pairs of its address, so that a resumed loop sees what a never-stopped one would have seen.  The order
within a step is fixed: what happened is yielded (and recorded) before the state that contains it is saved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genesis3d.events import Control, Event, Sampled, Saved, Stepped, Validated
from genesis3d.training.checkpoint import prune
from genesis3d.training.collapse import CollapseGuard
from genesis3d.training.pairs import PairMaker, Pairs, Prefetch
from genesis3d.training.progress import Pace, Progress
from genesis3d.training.validation import prefixed, write_samples

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import nn
    from torch.optim import Optimizer

    from genesis3d.training.checkpoint import Checkpoints
    from genesis3d.training.holdout import Part
    from genesis3d.training.rundir import RunDir
    from genesis3d.training.settings import KeepSettings, OptimiserSettings, ValidationSettings
    from genesis3d.training.validation import FixedWindows

__all__ = ["Training"]

_PAUSE_POLL = 0.1


@dataclass
class Training:
    """One training: live objects and settings; :meth:`run` is the loop.

    ``windows`` are the fixed sub-volumes by the prefix of their figures; ``loss``, of those without a prefix, decides
    which checkpoint is the best.
    """

    run_dir: RunDir
    fabric: Fabric
    task: nn.Module
    optimiser: Optimizer
    pairs: PairMaker
    windows: dict[str, FixedWindows]
    held_out: Part
    settings: OptimiserSettings
    validation: ValidationSettings
    keep: KeepSettings
    checkpoints: Checkpoints
    hardware: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
    stopped: bool = False
    guard: CollapseGuard = field(default_factory=CollapseGuard)

    def run(self, control: Control) -> Iterator[Event]:
        """Train until the budget is used, patience is at its end, or ``control`` says stop; yield what happens."""
        progress, pace = self.progress, Pace(self.progress, self.validation.every)
        if progress.step == 0:
            yield from self._validate(pace)
            yield self._sample()
        self._save()
        with Prefetch(self.pairs.pairs, progress.step) as stream:
            while not progress.over and not self._out_of_patience():
                if self._told_to_stop(control, pace):
                    self.stopped = True
                    break
                start = time.perf_counter()
                metrics = self._step(stream.take())
                pace.stepped(time.perf_counter() - start)
                yield self._stepped(metrics, pace)
                yield from self._after_step(pace)
                if self.checkpoints.due():
                    self._save()
        if self.checkpoints.saved_step != progress.step:
            self._save()

    def _save(self) -> None:
        """Save the state to go on from, and say so in the status."""
        self.checkpoints.save_last(self.progress, self.hardware)
        self.run_dir.set_status("running", step=self.progress.step, total=self.progress.total,
                                saved_step=self.progress.step, save_interval=self.checkpoints.interval)  # fmt: skip

    def _step(self, pairs: Pairs) -> dict[str, float]:
        """Take one step of the optimiser; raises RunError, before the weights change, when the training has died."""
        step, device = self.progress.step, self.fabric.device
        lr = self.settings.learning_rate(step, self.progress.total)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        result = self.task(pairs.input.to(device), pairs.target.to(device))
        self.optimiser.zero_grad(set_to_none=True)
        self.fabric.backward(result["loss"])
        norm = float(self._clip())
        loss = float(result["loss"].detach())
        self.guard.check(step + 1, loss, norm, result["output"], pairs.target)
        self.optimiser.step()
        self.progress.step += 1
        return {"loss": loss, "lr": lr, "gradient_norm": norm}

    def _clip(self) -> Any:
        from torch.nn.utils import clip_grad_norm_

        limit = self.settings.clip if self.settings.clip is not None else float("inf")
        return clip_grad_norm_(self.task.parameters(), limit)

    def _stepped(self, metrics: dict[str, float], pace: Pace) -> Stepped:
        return Stepped(
            step=self.progress.step, total=self.progress.total, metrics=metrics, rate=pace.rate,
            seconds_left=pace.seconds_left, memory_bytes=_memory(self.fabric.device),
        )  # fmt: skip

    def _after_step(self, pace: Pace) -> Iterator[Event]:
        step, last = self.progress.step, self.progress.over
        if step % self.validation.every == 0 or last:
            yield from self._validate(pace)
        if step % self.keep.samples_every == 0 or last:
            yield self._sample()
        if step % self.keep.every == 0 and self.keep.checkpoints:
            yield Saved(path=self.checkpoints.save_step(self.progress), step=step, what="checkpoint")

    def _validate(self, pace: Pace) -> Iterator[Event]:
        start, progress = time.perf_counter(), self.progress
        figures: dict[str, float] = {}
        for prefix, windows in self.windows.items():
            figures |= prefixed(windows.measure(self.task, self.fabric.device), prefix)
        progress.figures, progress.figures_step = figures, progress.step
        # An untrained network is nobody's best.
        best = progress.step > 0 and (progress.best is None or figures["loss"] < progress.best)
        progress.stale = 0 if best or progress.step == 0 else progress.stale + 1
        if best:
            progress.best, progress.best_step = figures["loss"], progress.step
            path = self.checkpoints.save_model("best", progress)
        yield Validated(step=progress.step, metrics=figures, best=best)
        if best:
            yield Saved(path=path, step=progress.step, what="best")
        pace.validation_seconds = time.perf_counter() - start

    def _sample(self) -> Sampled:
        windows = self.windows[""]
        path = self.run_dir.samples / f"step-{self.progress.step:06d}.npz"
        write_samples(path, self.progress.step, *windows.restored(self.task, self.fabric.device), self.held_out)
        prune(self.run_dir.samples, "step-*.npz", self.keep.samples)
        return Sampled(step=self.progress.step, path=path.relative_to(self.run_dir.path).as_posix())

    def _out_of_patience(self) -> bool:
        return self.validation.patience is not None and self.progress.stale >= self.validation.patience

    def _told_to_stop(self, control: Control, pace: Pace) -> bool:
        """Whether to stop; while told to pause, saves once and waits."""
        order = control()
        if order == "pause":
            begin = time.perf_counter()
            self._save()
            self.run_dir.set_status("paused")
            while (order := control()) == "pause":
                time.sleep(_PAUSE_POLL)
            self.run_dir.set_status("running")
            pace.paused(time.perf_counter() - begin)
        return order == "stop"


def _memory(device: Any) -> int:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import psutil

    return int(psutil.Process().memory_info().rss)
