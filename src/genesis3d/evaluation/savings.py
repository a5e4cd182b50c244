"""How many labels or steps one way of training needs for what another reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["labels_needed", "steps_needed"]


def labels_needed(counts: Sequence[int], means: Values, target: Values) -> Values:
    """Return the number of labels at which a curve reaches ``target``: linear in the logarithm of the number.

    Parameters
    ----------
    counts : numbers of labels, rising
    means : (C, B) the curve's value at each, of B draws; taken as not falling (its running maximum)
    target : (B,) what is to be reached

    Returns
    -------
    (B,) labels; the first count where even that reaches the target, infinity where none does.
    """
    return np.asarray(np.exp(_first_reached(np.log(np.asarray(counts, dtype=np.float64)), means, target)))


def steps_needed(steps: Sequence[int], means: Values, target: Values) -> Values:
    """Return the step at which a curve (as in :func:`labels_needed`) first reaches ``target``, linear in between."""
    return _first_reached(np.asarray(steps, dtype=np.float64), means, target)


def _first_reached(places: Values, means: Values, target: Values) -> Values:
    rising = np.maximum.accumulate(means, axis=0)
    reached = rising >= target[None]
    first = reached.argmax(axis=0)
    draws = np.arange(means.shape[1])
    before = np.maximum(first - 1, 0)
    low, high = rising[before, draws], rising[first, draws]
    share = np.divide(target - low, high - low, out=np.ones_like(target), where=high > low)
    found = places[before] + np.clip(share, 0.0, 1.0) * (places[first] - places[before])
    return np.asarray(np.where(reached.any(axis=0), np.where(first == 0, places[0], found), np.inf))
