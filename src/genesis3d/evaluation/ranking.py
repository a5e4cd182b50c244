"""How well a score ranks voxels: areas under ROC and precision-recall curves and the best Dice, exact, of one sort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]
    Values = NDArray[np.float64]

__all__ = ["Ranking", "ranking"]

NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Positive and negative voxels at each different score of a positive one, from the highest down.

    Attributes
    ----------
    scores : (K,) different scores of positive voxels
    true, false : (K,) positive, negative voxels at or above each
    above : (K,) negative voxels above each
    positives, negatives : voxels in all

    Between two of these scores only negative voxels lie: precision and Dice fall there, and the ROC curve runs level,
    so nothing is lost.  Without voxels of both kinds every figure is nan.
    """

    scores: Values
    true: Values
    false: Values
    above: Values
    positives: int
    negatives: int

    @property
    def known(self) -> bool:
        """Whether there are voxels of both kinds."""
        return self.positives > 0 and self.negatives > 0

    @property
    def auroc(self) -> float:
        """The chance that a positive voxel scores above a negative one, ties counted by half."""
        if not self.known:
            return NAN
        gained = np.diff(self.true, prepend=0.0)
        below = self.negatives - 0.5 * (self.false + self.above)
        return float((gained * below).sum() / (self.positives * self.negatives))

    @property
    def average_precision(self) -> float:
        """The sum over falling scores of precision times gain in recall, ties taken together, no interpolation."""
        if not self.known:
            return NAN
        gained = np.diff(self.true, prepend=0.0)
        return float((gained * self.true / (self.true + self.false)).sum() / self.positives)

    def partial_auroc(self, most: float = 0.3) -> float:
        """Return the area under the ROC curve up to the false positive rate ``most``, over ``most``.

        So a perfect score has 1, and one that says nothing ``most / 2``.  Ties are straight pieces of the curve.
        """
        if not self.known:
            return NAN
        false = np.stack([self.above, self.false], axis=1).ravel() / self.negatives
        true = np.stack([np.concatenate([[0.0], self.true[:-1]]), self.true], axis=1).ravel() / self.positives
        false, true = np.concatenate([[0.0], false, [1.0]]), np.concatenate([[0.0], true, [1.0]])
        end = int(np.searchsorted(false, most, side="right"))
        x = np.concatenate([false[:end], [most]])
        y = np.concatenate([true[:end], [np.interp(most, false[end - 1 :], true[end - 1 :])]])
        return float(np.trapezoid(y, x) / most)

    @property
    def oracle(self) -> tuple[float, float]:
        """The highest Dice of any threshold, and that threshold: chosen with the truth in view, no method's result."""
        if not self.known:
            return NAN, NAN
        dice = 2 * self.true / (self.true + self.false + self.positives)
        best = int(dice.argmax())
        return float(dice[best]), float(self.scores[best])


def ranking(scores: NDArray[Any], positive: Mask) -> Ranking:
    """Return the :class:`Ranking` of finite ``scores`` (N,) with the truth ``positive`` (N,): one sort of each kind."""
    ours, others = np.sort(scores[positive]), np.sort(scores[~positive])
    values, first = np.unique(ours, return_index=True)
    true = len(ours) - first
    false = len(others) - np.searchsorted(others, values, side="left")
    above = len(others) - np.searchsorted(others, values, side="right")
    falling = [np.asarray(part[::-1], dtype=np.float64) for part in (values, true, false, above)]
    return Ranking(falling[0], falling[1], falling[2], falling[3], len(ours), len(others))
