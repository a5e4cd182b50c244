"""How far a training is, how fast it goes, and how many steps a budget in minutes buys."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

__all__ = ["MEASURED_STEPS", "Pace", "Progress"]

MEASURED_STEPS = 20
# Not representative: the first steps build caches and start threads.
_COLD_STEPS = 5
# What going back to an earlier state leaves as it is.
_KEPT = ("total", "minutes", "seconds", "recoveries", "portions", "parent", "leg", "leg_seconds", "labels", "budget")


@dataclass
class Progress:
    """What a resumed run must know beside weights and optimiser; plain values.

    ``leg`` and ``leg_seconds`` are step and time at which the present budget began (0 unless a finished run was trained
    on), ``budget`` and ``labels`` what that budget was and a fingerprint of the labels learnt from, ``hard`` the places
    that were found hard.
    """

    step: int = 0
    total: int | None = None
    minutes: float | None = None
    seconds: float = 0.0
    best: float | None = None
    best_step: int | None = None
    stale: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    figures_step: int = 0
    plateau_factor: float = 1.0
    plateau_best: float | None = None
    plateau_stale: int = 0
    recoveries: int = 0
    good_step: int = 0
    guard: dict[str, float] = field(default_factory=dict)
    portions: dict[str, int] = field(default_factory=dict)
    parent: str = ""
    leg: int = 0
    leg_seconds: float = 0.0
    labels: str = ""
    budget: str = ""
    hard: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for the resume file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """Return the progress of a resume file, passing over names of other versions."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def note_held_out(self, loss: float) -> bool:
        """Take note of a held-out ``loss``, or of what is to fall in its place; return whether it is the best so far.

        That of an untrained network never is.
        """
        best = self.step > 0 and (self.best is None or loss < self.best)
        self.stale = 0 if best or self.step == 0 else self.stale + 1
        if best:
            self.best, self.best_step = loss, self.step
        return best

    def begin_leg(self, steps: int | None, minutes: float | None) -> None:
        """Go on from here with a new budget: so many steps, or minutes, more."""
        self.leg, self.leg_seconds, self.good_step = self.step, self.seconds, self.step
        self.total = None if steps is None else self.step + steps
        self.minutes = minutes
        self.stale, self.recoveries, self.guard = 0, 0, {}
        self.plateau_factor, self.plateau_best, self.plateau_stale = 1.0, None, 0

    def go_back(self, good: Progress) -> None:
        """Take the values of an earlier state, but for the budget and what was learnt about memory and recovery."""
        for item in fields(self):
            if item.name not in _KEPT:
                setattr(self, item.name, getattr(good, item.name))

    @property
    def over(self) -> bool:
        """Whether the budget is used."""
        return self.total is not None and self.step >= self.total


class Pace:
    """Measures steps; from ``minutes`` and the first measured steps it finds the total, once."""

    def __init__(self, progress: Progress, validate_every: int) -> None:
        self.progress = progress
        self.every = validate_every
        self.validation_seconds = 0.0
        self._durations: list[float] = []
        self._smooth: float | None = None
        self._begin = time.perf_counter() - progress.seconds

    def stepped(self, seconds: float) -> None:
        """Take note of one step that took ``seconds``."""
        self.progress.seconds = self.elapsed
        self._smooth = seconds if self._smooth is None else 0.9 * self._smooth + 0.1 * seconds
        if self.progress.total is None:
            self._durations.append(seconds)
            if len(self._durations) >= MEASURED_STEPS:
                self.progress.total = self._steps_that_fit()

    def paused(self, seconds: float) -> None:
        """Leave ``seconds`` of waiting out of the budget."""
        self._begin += seconds

    @property
    def elapsed(self) -> float:
        """Seconds of training so far, those before a resume included."""
        return time.perf_counter() - self._begin

    @property
    def rate(self) -> float | None:
        """Steps per second, smoothed."""
        return 1 / self._smooth if self._smooth else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end, validations included; None while unknown."""
        if self.progress.total is None or self._smooth is None:
            return None
        return (self.progress.total - self.progress.step) * (self._smooth + self.validation_seconds / self.every)

    def _steps_that_fit(self) -> int:
        warm = self._durations[_COLD_STEPS:]
        # Saving takes up to a twentieth of the time; the last validation comes on top.
        each = 1.03 * sum(warm) / len(warm) + self.validation_seconds / self.every
        used = self.elapsed - self.progress.leg_seconds
        left = 60 * (self.progress.minutes or 0) - used - self.validation_seconds
        return self.progress.step + max(1, int(left / each))
