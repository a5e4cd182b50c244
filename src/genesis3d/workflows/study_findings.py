"""What a study says, in sentences: only what an interval shows, and plainly when nothing is shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.evaluation.statistics import Interval
    from genesis3d.workflows.study_compare import Comparison, Difference, LabelSaving, StepSaving
    from genesis3d.workflows.study_results import Results

__all__ = ["chance", "findings", "interval_text", "labels_text", "number"]

# With fewer runs an interval over seeds says little.
FEW = 5


def findings(results: Results, found: Comparison) -> list[str]:
    """Return sentences on each arm: where its interval excludes zero, or that it nowhere does."""
    said = []
    for arm in (arm for arm in results.arms if arm != found.reference):
        clear = [_difference(one) for one in found.same if one.arm == arm and one.interval.excludes_zero]
        clear += [_more(one) for one in found.fewer if one.arm == arm and one.interval.low > 0]
        clear += [_labels(one) for one in found.labels if one.arm == arm and one.needed.low > one.count]
        clear += [_steps(one) for one in found.steps if one.arm == arm and one.saved.excludes_zero]
        known = any(one.arm == arm for one in found.same)
        nothing = f"{arm}: nothing is gained or lost against {found.reference}; every interval contains zero."
        said += clear or [nothing if known else f"{arm}: no run yet that can be compared with {found.reference}."]
    runs = max((one.runs for one in found.same), default=0)
    if 0 < runs < FEW:
        said.append(f"At most {runs} seed{'' if runs == 1 else 's'} can be compared: these intervals are rough.")
    if results.failed:
        said.append(f"{len(results.failed)} runs failed and count nowhere.")
    return said or [f"{found.reference} is the only arm: there is nothing to compare."]


def number(value: float) -> str:
    """Return a figure with three digits after the point, or a dash for none."""
    return f"{value:.3f}" if math.isfinite(value) else "-"


def chance(p: float) -> str:
    """Return a p value with three digits, or that it is smaller."""
    return "<0.001" if p < 0.001 else number(p)


def interval_text(interval: Interval, *, digits: int = 3, sign: bool = False) -> str:
    """Return an estimate with its interval."""
    form = f"{'+' if sign else ''}.{digits}f"
    texts = [format(v, form) if math.isfinite(v) else "never" for v in (interval.estimate, interval.low, interval.high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}]"


def labels_text(saving: LabelSaving) -> str:
    """Return the labels that the reference needs, with their interval."""

    def text(value: float) -> str:
        return f"{value:.1f}" if math.isfinite(value) else f"more than {saving.most}"

    return f"{text(saving.needed.estimate)} [{text(saving.needed.low)}, {text(saving.needed.high)}]"


def _difference(one: Difference) -> str:
    worse = "higher" if one.interval.estimate > 0 else "lower"
    spoiled = f", labels corrupted by {one.corruption:+g} mm" if one.corruption else ""
    return (
        f"{one.arm}: {worse} Dice than {one.reference} with {_labels_word(one.count)}{spoiled}: "
        f"{interval_text(one.interval, sign=True)}."
    )


def _more(one: Difference) -> str:
    return (
        f"{one.arm} with {_labels_word(one.count)} is better than {one.reference} with {one.reference_count}: "
        f"{interval_text(one.interval, sign=True)}."
    )


def _labels(one: LabelSaving) -> str:
    return f"{one.arm} with {_labels_word(one.count)}: {one.reference} needs {labels_text(one)} for the same Dice."


def _steps(one: StepSaving) -> str:
    if not math.isfinite(one.arm_steps.estimate):
        return (
            f"{one.arm} with {_labels_word(one.count)} never reaches Dice {number(one.target)}; {one.reference} does."
        )
    kind = "sooner" if one.saved.estimate > 0 else "later"
    return (
        f"{one.arm} with {_labels_word(one.count)} reaches Dice {number(one.target)} {kind} than {one.reference}: "
        f"after {interval_text(one.arm_steps, digits=0)} steps, not {interval_text(one.reference_steps, digits=0)}."
    )


def _labels_word(count: int) -> str:
    return f"{count} label{'' if count == 1 else 's'}"
