"""What a job is doing, as one evented record, and the pure function that folds a run's events into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Literal

from psygnal import SignalGroupDescriptor

from genesis3d.events import Event, Failed, Finished, Sampled, Saved, Started, Stepped, Validated, Warned

__all__ = ["Curve", "JobState", "Phase", "fold", "fold_all"]

Phase = Literal["idle", "running", "cancelling", "finished", "failed", "cancelled"]
Curve = tuple[list[int], list[float]]


@dataclass
class JobState:
    """A job as people see it; ``state.events`` (psygnal) tells which field changed.

    Attributes
    ----------
    state : idle, running, cancelling, finished, failed or cancelled
    what, step, total, unit : the work, units done, units in all (None: not known), their name
    rate, seconds_left : units per second, seconds
    device, precision, memory : where it runs and bytes in use
    curves : metric name to (steps, values); validation figures are named ``validation <metric>``
    best : step of the best validation so far, None before the first
    message : the error, or one sentence about the end
    result : what the work returned
    samples, saved : path of the newest samples and of the newest complete file
    warnings : sentences, oldest first
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    state: Phase = "idle"
    what: str = ""
    step: int = 0
    total: int | None = None
    unit: str = "step"
    rate: float | None = None
    seconds_left: float | None = None
    device: str = ""
    precision: str = ""
    memory: int | None = None
    curves: dict[str, Curve] = field(default_factory=dict)
    best: int | None = None
    message: str = ""
    expected: bool = True
    trace: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    samples: str = ""
    saved: str = ""
    detail: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        """Whether the job is under way."""
        return self.state in ("running", "cancelling")

    @property
    def ended(self) -> bool:
        """Whether the job has come to an end, good or bad."""
        return self.state in ("finished", "failed", "cancelled")

    def become(self, other: JobState) -> None:
        """Take every value of ``other``, telling listeners of those that differ."""
        for item in fields(self):
            setattr(self, item.name, getattr(other, item.name))


def fold(state: JobState, event: Event) -> JobState:
    """Return the state after ``event``; ``state`` itself is left as it was."""
    return fold_all(state, [event])


def fold_all(state: JobState, events: Iterable[Event]) -> JobState:
    """Return the state after ``events``; curves are copied once however many events come together."""
    curves = {name: (list(steps), list(values)) for name, (steps, values) in state.curves.items()}
    state = replace(state, curves=curves)
    for event in events:
        _fold_into(state, event)
    return state


def _fold_into(state: JobState, event: Event) -> None:
    match event:
        case Started():
            _start(state, event)
        case Stepped():
            _step(state, event)
        case Validated(step=step, metrics=metrics, best=best):
            _append(state.curves, step, {f"validation {name}": value for name, value in metrics.items()})
            state.best = step if best else state.best
        case Sampled(path=path):
            state.samples = path
        case Saved(path=path):
            state.saved = path
        case Warned(message=message):
            state.warnings = (*state.warnings, message)
        case Failed(message=message, expected=expected, trace=trace):
            state.state, state.message, state.expected, state.trace = "failed", message, expected, trace
            state.seconds_left = None
        case Finished(cancelled=cancelled, result=result):
            state.state, state.result = ("cancelled" if cancelled else "finished"), result
            state.seconds_left = None


def _start(state: JobState, event: Started) -> None:
    state.state = "cancelling" if state.state == "cancelling" else "running"
    state.what, state.total, state.unit = event.what, event.total, event.unit
    state.device, state.precision, state.detail = event.device, event.precision, event.detail
    state.message, state.trace, state.result, state.warnings = "", "", {}, ()


def _step(state: JobState, event: Stepped) -> None:
    state.step = event.step
    state.total = event.total if event.total is not None else state.total
    state.rate, state.seconds_left = event.rate, event.seconds_left
    state.memory = event.memory_bytes if event.memory_bytes is not None else state.memory
    _append(state.curves, event.step, event.metrics)


def _append(curves: dict[str, Curve], step: int, metrics: dict[str, float]) -> None:
    for name, value in metrics.items():
        steps, values = curves.setdefault(name, ([], []))
        while steps and steps[-1] >= step:  # a resumed run repeats the steps after its checkpoint
            steps.pop()
            values.pop()
        steps.append(step)
        values.append(value)
