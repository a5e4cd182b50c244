"""Arms of a study against its reference: differences, labels saved, steps saved, each with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.savings import labels_needed, steps_needed
from genesis3d.evaluation.statistics import Interval, paired_bootstrap, percentiles, resampled_means, t_test
from genesis3d.workflows.study_results import Cell, Results

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["Comparison", "Difference", "LabelSaving", "StepSaving", "compare", "differences"]


@dataclass(frozen=True)
class Difference:
    """Mean Dice of ``arm`` at ``count`` labels minus that of ``reference`` at ``reference_count``.

    ``interval`` is over seeds and test cases, ``p`` that of the independent two-sample t-test over runs.
    """

    arm: str
    reference: str
    count: int
    reference_count: int
    corruption: float
    interval: Interval
    p: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"excludes_zero": self.interval.excludes_zero}


@dataclass(frozen=True)
class LabelSaving:
    """The labels with which ``reference`` has the Dice of ``arm`` at ``count``; infinite: more than were tried."""

    arm: str
    reference: str
    count: int
    needed: Interval
    most: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"saved": asdict(self.saved)}

    @property
    def saved(self) -> Interval:
        """The share of the reference's labels that the arm does not need; at least that where it is infinite."""
        found = (self.needed.estimate, self.needed.low, self.needed.high)
        return Interval(*(1.0 - self.count / min(value, self.most) for value in found))


@dataclass(frozen=True)
class StepSaving:
    """Steps to come within ``tolerance`` of ``reference``'s final Dice: those of ``arm``, and of ``reference`` itself.

    ``saved`` is the difference, with the interval over seeds and test cases.
    """

    arm: str
    reference: str
    count: int
    corruption: float
    target: float
    arm_steps: Interval
    reference_steps: Interval
    saved: Interval

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"excludes_zero": self.saved.excludes_zero}


@dataclass(frozen=True)
class Comparison:
    """All arms against the reference: with the same labels, with ``fewer`` than it, labels saved, steps saved."""

    reference: str
    same: tuple[Difference, ...]
    fewer: tuple[Difference, ...]
    labels: tuple[LabelSaving, ...]
    steps: tuple[StepSaving, ...]


def compare(results: Results, reference: str, tolerance: float) -> Comparison:
    """Compare all arms with ``reference``; ``tolerance`` in Dice is that of :class:`StepSaving`."""
    return Comparison(
        reference,
        tuple(differences(results, reference)),
        tuple(differences(results, reference, fewer=True)),
        tuple(label_savings(results, reference)),
        tuple(step_savings(results, reference, tolerance)),
    )


def differences(results: Results, reference: str, *, fewer: bool = False) -> list[Difference]:
    """Return every other arm against the reference at the same number of labels, or with ``fewer`` against more."""
    others = [arm for arm in results.arms if arm != reference]
    found = [
        _difference(results, Cell(arm, count, corruption), Cell(reference, other, corruption))
        for corruption in results.corruptions
        for arm in others
        for count in results.counts
        for other in results.counts
        if ((other > count) if fewer else (other == count))
    ]
    return [one for one in found if one is not None]


def _difference(results: Results, cell: Cell, against: Cell) -> Difference | None:
    ours, theirs = results.values(cell), results.values(against)
    both = ~np.isnan(ours).all(axis=1) & ~np.isnan(theirs).all(axis=1)
    if not both.any() or np.isnan(ours[both] - theirs[both]).all():
        return None
    interval = paired_bootstrap(ours[both] - theirs[both])
    p = t_test(results.run_means(cell), results.run_means(against)).p
    return Difference(cell.arm, against.arm, cell.count, against.count, cell.corruption, interval, p, int(both.sum()))


def label_savings(results: Results, reference: str) -> Iterator[LabelSaving]:
    """Yield for each arm and number of labels those that the reference needs for the same Dice, on clean labels."""
    clean = min(results.corruptions, key=abs)
    for arm in results.arms:
        for count in results.counts[:-1] if arm != reference else ():  # more than the most was never tried
            cells = [Cell(reference, one, clean) for one in results.counts]
            found = _together(results, [(Cell(arm, count, clean), None), *((cell, None) for cell in cells)])
            if found is not None:
                means, draws = found
                needed = labels_needed(results.counts, means[1:, None], means[:1])[0]
                drawn = labels_needed(results.counts, draws[1:], draws[0])
                yield LabelSaving(arm, reference, count, _interval(needed, drawn), max(results.counts))


def step_savings(results: Results, reference: str, tolerance: float) -> Iterator[StepSaving]:
    """Yield for each arm, number of labels and corruption how much sooner it is where the reference ends."""
    for corruption in results.corruptions:
        for arm in results.arms:
            for count in results.counts if arm != reference and len(results.steps) > 1 else ():
                found = _step_saving(
                    results, Cell(arm, count, corruption), Cell(reference, count, corruption), tolerance
                )
                if found is not None:
                    yield found


def _step_saving(results: Results, cell: Cell, against: Cell, tolerance: float) -> StepSaving | None:
    ours, theirs = (_measured_steps(results, one) for one in (cell, against))
    if len(ours) < 2 or len(theirs) < 2:
        return None
    wanted = [(cell, step) for step in ours] + [(against, step) for step in theirs] + [(against, None)]
    found = _together(results, wanted)
    if found is None:
        return None
    means, draws = found[0][:, None], found[1]
    split = len(ours)
    first, second = (
        (
            steps_needed(ours, part[:split], part[-1] - tolerance),
            steps_needed(theirs, part[split:-1], part[-1] - tolerance),
        )
        for part in (means, draws)
    )
    # An arm that never gets there has saved nothing, however short it is.
    never = float(max(ours[-1], theirs[-1]))
    arm, own = (np.where(np.isinf(part), never, part) for part in (second[0], second[1]))
    estimate = float(min(first[1][0], never) - min(first[0][0], never))
    return StepSaving(
        cell.arm, against.arm, cell.count, cell.corruption, float(means[-1, 0] - tolerance),
        _interval(first[0][0], second[0]), _interval(first[1][0], second[1]), percentiles(estimate, own - arm),
    )  # fmt: skip


def _measured_steps(results: Results, cell: Cell) -> list[int]:
    return [step for step in results.steps if not np.isnan(results.values(cell, step)).all()]


def _together(results: Results, wanted: Sequence[tuple[Cell, int | None]]) -> tuple[Values, Values] | None:
    """Return means (T,) and resampled means (T, B) of several cells over the seeds that all of them have."""
    tables = [results.values(cell, step) for cell, step in wanted]
    both = np.all([~np.isnan(table).all(axis=1) for table in tables], axis=0)
    if not both.any():
        return None
    tables = [table[both] for table in tables]
    return np.array([np.nanmean(table) for table in tables]), resampled_means(tables)


def _interval(estimate: float, draws: Values) -> Interval:
    """Return the percentile interval of draws some of which may be infinite."""
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return Interval(float(estimate), float(low), float(high))
