"""The loop: one readable page on Lightning Fabric, which carries device and number format.

A step takes the pairs of its address, so that a resumed loop sees what a never-stopped one would have seen.  The order
within a step is fixed: what happened is yielded (and recorded) before the state that contains it is saved.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genesis3d.events import Control, Event, Sampled, Saved, Stepped, Validated, Warned
from genesis3d.training.checkpoint import prune
from genesis3d.training.collapse import CollapseGuard
from genesis3d.training.half import autocast
from genesis3d.training.pairs import PairMaker, Pairs, Prefetch
from genesis3d.training.progress import Pace, Progress
from genesis3d.training.statistics import measure_statistics
from genesis3d.training.validation import prefixed, write_samples

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn
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

    ``pairs`` makes what it learns from, ``statistics`` what batch normalisation is measured on before each validation;
    ``windows`` are the fixed held-out sub-volumes by the prefix of their figures, and ``loss``, of those without a
    prefix, decides which checkpoint is the best.
    """

    run_dir: RunDir
    fabric: Fabric
    task: nn.Module
    optimiser: Optimizer
    pairs: PairMaker
    statistics: PairMaker
    windows: dict[str, FixedWindows]
    held_out: Part
    settings: OptimiserSettings
    validation: ValidationSettings
    keep: KeepSettings
    checkpoints: Checkpoints
    hardware: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
    stopped: bool = False
    said: list[str] = field(default_factory=list)
    guard: CollapseGuard = field(default_factory=CollapseGuard)

    def run(self, control: Control) -> Iterator[Event]:
        """Train until the budget is used, patience is at its end, or ``control`` says stop; yield what happens."""
        progress, pace = self.progress, Pace(self.progress, self.validation.every)
        if self.checkpoints.saved_step is None:  # nothing to go on from
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
                while self.said:
                    yield Warned(message=self.said.pop())
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
        batch = (pairs.input.to(device), pairs.target.to(device))
        loss, norm, output = self._gradient(batch)
        if self.half and self.guard.suspicious(loss, norm):
            exact = self._gradient(batch, exact=True)
            self._leave_bf16(step + 1, wrong=not norm < 2 * exact[1])
            loss, norm, output = exact
        self.guard.check(step + 1, loss, norm, output, pairs.target)
        self.optimiser.step()
        self.progress.step += 1
        return {"loss": loss, "lr": lr, "gradient_norm": norm}

    @property
    def half(self) -> bool:
        """Whether the network computes in bfloat16."""
        return bool(self.hardware["precision"] == "bf16")

    def _gradient(self, batch: tuple[Tensor, Tensor], exact: bool = False) -> tuple[float, float, Tensor]:
        """Compute the clipped gradient of (input, target); return the loss, the norm before clipping, the output."""
        from torch.nn.utils import clip_grad_norm_

        self.optimiser.zero_grad(set_to_none=True)
        with autocast(self.fabric.device, self.half and not exact):
            result = self.task(*batch)
        self.fabric.backward(result["loss"])
        limit = self.settings.clip if self.settings.clip is not None else float("inf")
        norm = clip_grad_norm_(self.task.parameters(), limit)
        return float(result["loss"].detach()), float(norm), result["output"]

    def _leave_bf16(self, step: int, wrong: bool) -> None:
        """Go on in 32 bits for good when bfloat16 gave a ``wrong`` gradient; it is said after the step."""
        if wrong:
            self.hardware = self.hardware | {
                "precision": "32",
                "reason": f"32 bits: bfloat16 went wrong at step {step}",
            }
            self.said.append(f"bfloat16 gave a wrong gradient at step {step}: the step was repeated and the training "
                             "goes on in 32 bits")  # fmt: skip

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
        if progress.step > 0:
            measure_statistics(self.task, self.statistics, self.fabric.device, self.half)
        figures: dict[str, float] = {}
        for prefix, windows in self.windows.items():
            figures |= prefixed(windows.measure(self.task, self.fabric.device, self.half), prefix)
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
        write_samples(
            path, self.progress.step, *windows.restored(self.task, self.fabric.device, self.half), self.held_out
        )
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
