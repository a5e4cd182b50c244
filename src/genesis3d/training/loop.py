"""The loop: one readable page on Lightning Fabric, which carries device and number format.

A step takes the pairs of its address, so that a resumed loop sees what a never-stopped one would have seen.  The order
within a step is fixed: what happened is yielded (and recorded) before the state that contains it is saved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genesis3d.events import Control, Event, Sampled, Saved, Stepped, Validated, Warned
from genesis3d.training.checkpoint import prune
from genesis3d.training.collapse import Collapsed, CollapseGuard
from genesis3d.training.memory import Portions, out_of_memory
from genesis3d.training.pairs import Maker, Pairs, Prefetch
from genesis3d.training.processes import Processes
from genesis3d.training.progress import Pace, Progress
from genesis3d.training.recovery import go_back
from genesis3d.training.schedule import note_held_out, rate_of
from genesis3d.training.settings import RecoverySettings
from genesis3d.training.statistics import measure_statistics
from genesis3d.training.validation import prefixed

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.training.averaging import Averaging
    from genesis3d.training.checkpoint import Checkpoints
    from genesis3d.training.hardness import Hardness
    from genesis3d.training.holdout import Part
    from genesis3d.training.live import Live
    from genesis3d.training.rundir import RunDir
    from genesis3d.training.settings import KeepSettings, OptimiserSettings, ValidationSettings
    from genesis3d.training.stepping import Stepper
    from genesis3d.training.target_settings import TargetValidation
    from genesis3d.training.validation import HeldOut

__all__ = ["Training"]

_PAUSE_POLL = 0.1


def _loss(figures: Mapping[str, float]) -> float:
    return figures["loss"]


@dataclass
class Training:
    """One training: live objects and settings; :meth:`run` is the loop.

    ``stepper`` computes gradients and holds task and optimiser, ``averaging`` the average of the weights, if any;
    ``pairs`` makes what is learnt from, ``statistics`` what batch normalisation is measured on before each validation;
    ``windows`` are the fixed held-out sub-volumes by the prefix of their figures, and ``goal``, which is to fall, of
    those without a prefix (their ``loss``) decides which checkpoint is the best; ``measuring`` says how many are
    computed at once.  ``hardness`` finds what is hard, ``live`` shows the network to whoever asks meanwhile.
    """

    run_dir: RunDir
    stepper: Stepper
    averaging: Averaging | None
    pairs: Maker
    statistics: Maker
    windows: Mapping[str, HeldOut]
    measuring: Portions
    held_out: Part
    settings: OptimiserSettings
    validation: ValidationSettings | TargetValidation
    keep: KeepSettings
    recovery: RecoverySettings
    checkpoints: Checkpoints
    progress: Progress = field(default_factory=Progress)
    goal: Callable[[Mapping[str, float]], float] = _loss
    hardness: Hardness | None = None
    live: Live | None = None
    stopped: bool = False

    def __post_init__(self) -> None:
        self.guard = CollapseGuard.from_dict(self.progress.guard)

    @property
    def hardware(self) -> dict[str, Any]:
        """What computes, as plain values."""
        return self.stepper.hardware

    @property
    def processes(self) -> Processes:
        """Those that train together."""
        return self.stepper.processes

    @property
    def kept(self) -> nn.Module:
        """The task whose network is measured, shown and kept: the average where there is one."""
        return self.stepper.task if self.averaging is None else self.averaging.task

    def run(self, control: Control) -> Iterator[Event]:
        """Train until the budget is used, patience is at its end, or ``control`` says stop; yield what happens."""
        pace = Pace(self.progress, self.validation.every)
        if self.checkpoints.saved_step is None:  # nothing to go on from
            yield from self._validate(pace)
            yield self._sample()
        # The second: a process killed between saving a good state and marking it.
        self._save(good=not self.checkpoints.good_path.exists() or self.progress.good_step == self.progress.step)
        while True:
            try:
                yield from self._advance(control, pace)
                break
            except Collapsed as collapse:
                sentence = go_back(collapse, self.checkpoints, self.progress, self.recovery, self.hardware)
            self.guard = CollapseGuard.from_dict(self.progress.guard)
            self.run_dir.rewind(self.progress.step)
            yield Warned(message=sentence)
        if self.checkpoints.saved_step != self.progress.step:
            self._save()
        if not self.stopped:
            yield from self._shown_live(last=True)

    def _advance(self, control: Control, pace: Pace) -> Iterator[Event]:
        """Take steps from where the progress stands to the end; raises Collapsed when the training dies on the way."""
        progress = self.progress
        with Prefetch(self.pairs.pairs, progress.step, workers=self.pairs.workers) as stream:
            while not progress.over and not self._out_of_patience():
                if self._told_to_stop(control, pace):
                    self.stopped = True
                    break
                start = time.perf_counter()
                undecided, metrics = progress.total is None, self._step(self._taken(stream))
                pace.stepped(time.perf_counter() - start)
                if undecided:  # every process has its own clock
                    progress.total = self.processes.first(lambda: progress.total)
                yield self._stepped(metrics, pace)
                yield from self._after_step(pace)
                yield from self._shown_live()
                yield from self._said()
                good = progress.figures_step == progress.step and self.guard.healthy
                if good or self.checkpoints.due():
                    self._save(good=good)

    def _save(self, good: bool = False) -> None:
        """Save the state to go on from, and say so in the status; ``good``: also the one to go back to."""
        self.guard.check_weights(self.progress.step, *self.checkpoints.tasks)
        self.progress.guard = self.guard.to_dict()
        self.progress.good_step = self.progress.step if good else self.progress.good_step
        self.checkpoints.save_last(self.progress, self.hardware)
        if good:
            self.checkpoints.mark_good()
        self.run_dir.set_status("running", step=self.progress.step, total=self.progress.total,
                                saved_step=self.progress.step, save_interval=self.checkpoints.interval)  # fmt: skip

    def _taken(self, stream: Prefetch) -> Pairs:
        """Return the pairs of the step; those that found no memory beside the last step are made again."""
        try:
            return stream.take()
        except Exception as error:
            if not out_of_memory(error) or self.processes.world > 1:
                raise
        return self.stepper.portions.fit(lambda _: self.pairs.pairs(self.progress.step))

    def _step(self, pairs: Pairs) -> dict[str, float]:
        """Take one step of the optimiser; raises Collapsed, before the weights change, when the training has died."""
        progress = self.progress
        lr = rate_of(self.settings, self.recovery, progress)
        self.stepper.begin(progress.step, progress.total, progress.leg)
        found = self.stepper.gradient(pairs, progress.step + 1, self.guard)
        self.guard.check(progress.step + 1, found)
        self.stepper.step(lr)
        if self.averaging is not None:
            self.averaging.update(self.checkpoints.task, progress.step)
        progress.step += 1
        figures = {name: found[name] for name in getattr(self.checkpoints.task, "figures", ()) if name in found}
        return {"loss": found["loss"], "lr": lr, "gradient_norm": found["gradient_norm"]} | figures

    def _stepped(self, metrics: dict[str, float], pace: Pace) -> Stepped:
        return Stepped(
            step=self.progress.step, total=self.progress.total, metrics=metrics, rate=pace.rate,
            seconds_left=pace.seconds_left, memory_bytes=_memory(self.stepper.device),
        )  # fmt: skip

    def _said(self) -> Iterator[Warned]:
        """Yield what stepping and measuring had to say."""
        for said in (self.stepper.said, self.stepper.portions.said, self.measuring.said):
            while said:
                yield Warned(message=said.pop(0))

    def _after_step(self, pace: Pace) -> Iterator[Event]:
        step, last = self.progress.step, self.progress.over
        if step % self.validation.every == 0 or last:
            yield from self._validate(pace)
        if step % self.keep.samples_every == 0 or last:
            yield self._sample()
        if step % self.keep.every == 0 and self.keep.checkpoints:
            self.guard.check_weights(step, *self.checkpoints.tasks)
            yield Saved(path=self.checkpoints.save_step(self.progress), step=step, what="checkpoint")

    def _validate(self, pace: Pace) -> Iterator[Event]:
        start, progress, device, half = time.perf_counter(), self.progress, self.stepper.device, self.stepper.half
        if progress.step > 0:
            frozen = self.stepper.frozen
            self.stepper.portions.fit(
                lambda size: measure_statistics(self.kept, self.statistics, device, half, size, frozen=frozen)
            )
            self.processes.equalise(self.kept)
        figures: dict[str, float] = {}
        for prefix in self.windows:
            figures |= prefixed(self._measure(prefix), prefix)
        figures = self.processes.first(lambda: figures)
        self.guard.check_weights(progress.step, *self.checkpoints.tasks)
        self.guard.check_held_out(progress.step, figures["loss"])
        progress.figures, progress.figures_step = figures, progress.step
        goal = self.goal(figures)
        best = progress.note_held_out(goal)
        if progress.step > 0:
            note_held_out(self.settings, progress, goal)
            self._find_hard()
        if best:
            path = self.checkpoints.save_model("best", progress)
        yield Validated(step=progress.step, metrics=figures, best=best)
        if best:
            yield Saved(path=path, step=progress.step, what="best")
        pace.validation_seconds = time.perf_counter() - start

    def _measure(self, prefix: str) -> dict[str, float]:
        device, half = self.stepper.device, self.stepper.half
        return self.measuring.fit(lambda size: self.windows[prefix].measure(self.kept, device, half, size))

    def _sample(self) -> Sampled:
        step, windows = self.progress.step, self.windows[""]
        shown = self.measuring.fit(lambda size: windows.shown(self.kept, self.stepper.device, self.stepper.half, size))
        path = self.run_dir.samples / f"step-{step:06d}.npz"
        if self.processes.main:
            windows.write(path, step, *shown, self.held_out)
            prune(self.run_dir.samples, "step-*.npz", self.keep.samples)
        return Sampled(step=step, path=path.relative_to(self.run_dir.path).as_posix())

    def _find_hard(self) -> None:
        """Look for places that the network gets wrong, to draw from them in the steps to come."""
        if self.hardness is not None:
            seek, device, half = self.hardness, self.stepper.device, self.stepper.half
            found = self.measuring.fit(lambda size: seek.find(self.kept, self.progress, device, half, size))
            self.progress.hard = self.processes.first(lambda: found)

    def _shown_live(self, last: bool = False) -> Iterator[Event]:
        if self.live is not None and self.processes.world == 1:
            step, device, half = self.progress.step, self.stepper.device, self.stepper.half
            yield from self.live.answered(self.kept, step, device, half, last=last)

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
