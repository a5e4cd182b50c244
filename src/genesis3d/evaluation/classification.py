"""The figures of a classification: what scores say of the classes of cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ConfigError
from genesis3d.evaluation.overlap import overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Values = NDArray[np.float64]

__all__ = ["OVERALL", "auc", "average_precision", "classification_figures", "roc_curve"]

OVERALL = "overall"
Figures = dict[str, float]


def auc(scores: NDArray[Any], positive: Mask) -> float:
    """Return the area under the ROC curve of ``scores`` (N,) for ``positive`` (N,); nan without both kinds.

    The chance that a positive case scores above a negative one, ties counted by half (Mann and Whitney 1947).
    """
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    ranks = np.asarray(rankdata(scores), dtype=np.float64)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def average_precision(scores: NDArray[Any], positive: Mask) -> float:
    """Return the sum of precision times gain in recall over the falling scores, ties taken together; nan without both.

    No interpolation: the step-wise area under the precision-recall curve.
    """
    if not positive.any() or positive.all():
        return float("nan")
    true, flagged = _cumulated(scores, positive)
    recall = true / true[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * true / flagged))


def roc_curve(scores: NDArray[Any], positive: Mask) -> tuple[Values, Values]:
    """Return false positive rate and sensitivity (M,) from (0, 0) to (1, 1), one point for each different score."""
    true, flagged = _cumulated(scores, positive)
    false = flagged - true
    rates = [np.concatenate([[0.0], part / max(part[-1], 1.0)]) for part in (false, true)]
    return rates[0], rates[1]


def classification_figures(
    scores: NDArray[Any], targets: NDArray[Any], names: Sequence[str] = (), threshold: float = 0.5
) -> dict[str, Figures]:
    """Return figures by class name, one class against the rest, and :data:`OVERALL` ones.

    Parameters
    ----------
    scores : (N,) score of the second of two classes, or (N, K) a score for each class
    targets : (N,) class indices
    names : of the K classes; by default their indices
    threshold : with two classes, the score of the second from which on a case is one of it; with more the class of the
        highest score is taken

    Returns
    -------
    For each class AUC, average precision, F1, sensitivity, specificity, precision, number of cases; of two classes the
    second alone.  Overall: accuracy, number of cases, and with more than two classes the plain means of AUC, average
    precision, F1 and sensitivity (balanced accuracy) over the classes.

    Raises
    ------
    ConfigError
        When scores, targets and names do not fit each other.
    """
    table = scores[:, None] if scores.ndim == 1 else scores
    count = max(table.shape[1], 2)
    named = tuple(names) or tuple(str(index) for index in range(count))
    _check(table, targets, named, count)
    chosen = (table[:, -1] >= threshold).astype(int) if count == 2 else table.argmax(axis=1)
    wanted = [1] if count == 2 else list(range(count))
    found = {
        named[k]: _one_against_rest(table[:, min(k, table.shape[1] - 1)], targets == k, chosen == k) for k in wanted
    }
    overall = {"accuracy": float((chosen == targets).mean()), "n": float(len(targets))}
    if count > 2:
        for figure in ("auc", "average_precision", "f1", "sensitivity"):
            known = [one[figure] for one in found.values() if not np.isnan(one[figure])]
            overall[figure] = float(np.mean(known)) if known else float("nan")
    return {OVERALL: overall} | found


def _one_against_rest(scores: NDArray[Any], positive: Mask, chosen: Mask) -> Figures:
    counts = overlap(chosen, positive)
    return {
        "auc": auc(scores, positive),
        "average_precision": average_precision(scores, positive),
        "f1": counts.dice,  # of sets the two are one formula
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "precision": counts.precision,
        "n": float(positive.sum()),
    }


def _cumulated(scores: NDArray[Any], positive: Mask) -> tuple[Values, Values]:
    """Return true positives and flagged cases at each different score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
    true = np.cumsum(positive[order], dtype=np.float64)[ends]
    return true, (ends + 1).astype(np.float64)


def _check(table: NDArray[Any], targets: NDArray[Any], names: Sequence[str], count: int) -> None:
    if table.ndim != 2 or len(table) != len(targets) or len(targets) == 0:
        raise ConfigError(f"scores: expected (N,) or (N, K) for {len(targets)} cases, got {table.shape}")
    if len(names) != count or len(set(names)) != count:
        raise ConfigError(f"classes: expected {count} different names, got {', '.join(names)}")
    if not np.isfinite(table).all():
        raise ConfigError("scores: expected finite numbers, got some that are not")
    if targets.min() < 0 or targets.max() >= count:
        raise ConfigError(f"targets: expected class indices 0 to {count - 1}, got {targets.min()} to {targets.max()}")
