"""What figures of anomaly maps come to: means with intervals over patients, and differences from the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from genesis3d.evaluation.anomaly import FIGURES
from genesis3d.evaluation.statistics import paired_bootstrap, wilcoxon
from genesis3d.workflows.evaluate_anomaly_config import BASELINE

__all__ = ["COMPARED", "difference_rows", "summary_rows"]

COMPARED = ("ap", "dice", "auroc")
Row = dict[str, Any]


def summary_rows(rows: Sequence[Row]) -> list[Row]:
    """Return a record for each lungs, method and figure: n, mean, its 95 % interval, smallest and largest.

    Scans with lesions and those without (``group``) apart; intervals are percentiles of 10,000 draws of patients with
    replacement.  A mean over patients, never over voxels of several.
    """
    found = []
    for lungs, method, group in _groups(rows):
        of = [row for row in rows if (row["lungs"], row["method"], row["group"]) == (lungs, method, group)]
        for figure in FIGURES:
            values = [float(row[figure]) for row in of if math.isfinite(row[figure])]
            if not values:
                continue
            mean = paired_bootstrap(values)
            found.append(
                {"lungs": lungs, "method": method, "group": group, "figure": figure, "n": len(values),
                 "mean": mean.estimate, "low": mean.low, "high": mean.high, "min": min(values), "max": max(values)}
            )  # fmt: skip
    return found


def difference_rows(rows: Sequence[Row], baseline: str = BASELINE) -> list[Row]:
    """Return for each lungs, method and figure of COMPARED the mean of method minus baseline over the same patients.

    With the paired 95 % interval (as in :func:`summary_rows`), Wilcoxon's exact p and in how many the method is ahead.
    """
    found = []
    for lungs, method, group in _groups(rows):
        if method == baseline or group != "lesions":
            continue
        for figure in COMPARED:
            ours, theirs = (_by_case(rows, lungs, one, figure) for one in (method, baseline))
            gains = [ours[case] - theirs[case] for case in ours if case in theirs]
            if not gains:
                continue
            mean = paired_bootstrap(gains)
            found.append(
                {"lungs": lungs, "method": method, "figure": figure, "n": len(gains), "difference": mean.estimate,
                 "low": mean.low, "high": mean.high, "p": wilcoxon(gains), "ahead": sum(gain > 0 for gain in gains)}
            )  # fmt: skip
    return found


def _groups(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    return list(dict.fromkeys((row["lungs"], row["method"], row["group"]) for row in rows))


def _by_case(rows: Sequence[Row], lungs: str, method: str, figure: str) -> dict[str, float]:
    of = (row for row in rows if (row["lungs"], row["method"]) == (lungs, method))
    return {row["case"]: float(row[figure]) for row in of if math.isfinite(row[figure])}
