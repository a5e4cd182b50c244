"""How much of healthy lung reaches a threshold: a table of (value, share) read in both directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, model_validator

from genesis3d.config import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SHARES", "Tail", "pooled", "significant"]

# the shares a table is kept at; between two of them it is read linearly in the logarithm of the share
SHARES = (
    1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003,
    0.002, 0.0015, 0.001, 7e-4, 5e-4, 3e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6, 0,
)  # fmt: skip


class Tail(Config):
    """The share of healthy lung whose score is at least a value, for values from low to high.

    :meth:`share` and :meth:`threshold` invert each other between the first and the last value of the table.
    """

    values: tuple[float, ...] = Field((), description="scores, strictly increasing; none: no voxel scored at all")
    shares: tuple[float, ...] = Field((), description="share of the lung at or above each, strictly decreasing, 0 to 1")

    @model_validator(mode="after")
    def _check(self) -> Self:
        steps = len(self.values) == len(self.shares) and bool(
            (np.diff(self.values) > 0).all() and (np.diff(self.shares) < 0).all()
        )
        if not steps or not all(0 < share <= 1 for share in self.shares):
            raise ValueError("expected rising values and falling shares within (0, 1], as many of each")
        return self

    @classmethod
    def of(cls, scores: NDArray[Any], total: int | None = None) -> Tail:
        """Return the table of ``scores`` (n,) among ``total`` voxels (None: n), the rest of which never reach any."""
        total = scores.size if total is None else total
        if not scores.size or not total:
            return cls()
        ordered = np.sort(scores.astype(np.float64, copy=False))
        ranks = np.ceil(np.asarray(SHARES) * total).astype(np.int64)
        ranks = np.clip(ranks, 1, ordered.size)
        values = np.unique(significant(ordered[ordered.size - ranks], 5, np.floor))
        counts = ordered.size - np.searchsorted(ordered, values, side="left")
        return cls._table(values, counts / total)

    @classmethod
    def _table(cls, values: NDArray[np.float64], shares: NDArray[np.float64]) -> Tail:
        """Keep of equal shares the last value, so that both columns are strictly monotone."""
        shares = np.minimum(significant(shares, 6), 1.0)
        keep = (shares > 0) & np.append(np.diff(shares) < 0, True)
        return cls(values=tuple(values[keep].tolist()), shares=tuple(shares[keep].tolist()))

    def share(self, threshold: float) -> float:
        """Return the share (0 to 1) of healthy lung that scores at least ``threshold``."""
        return float(self.share_at(np.asarray(threshold, np.float64)))

    def share_at(self, thresholds: NDArray[Any]) -> NDArray[np.float64]:
        """Return the shares of many ``thresholds``, of any shape, float64; 0 beyond the highest healthy score."""
        if not self.values:
            return np.zeros(np.shape(thresholds))
        logs = np.interp(thresholds, self.values, np.log(self.shares), right=-np.inf)
        return np.asarray(np.exp(logs), np.float64)

    def threshold(self, share: float) -> float:
        """Return the threshold that flags at most ``share`` (0 to 1) of healthy lung.

        For a share smaller than the table knows it lies just above the highest healthy score.
        """
        if not self.values:
            return 0.0
        if share < self.shares[-1]:
            return float(np.nextafter(self.values[-1], np.inf))
        return float(np.interp(np.log(share), np.log(self.shares[::-1]), self.values[::-1]))

    @property
    def smallest(self) -> float:
        """The smallest share the table knows; 1 for an empty one."""
        return self.shares[-1] if self.shares else 1.0


def pooled(tails: Sequence[Tail], weights: Sequence[float] | None = None) -> Tail:
    """Return the table of several scans together, each counting by its weight (None: all the same)."""
    values = np.unique(np.concatenate([np.asarray(tail.values) for tail in tails])) if tails else np.empty(0)
    if not values.size:
        return Tail()
    shares = np.average([tail.share_at(values) for tail in tails], axis=0, weights=weights)
    wanted = [int(np.flatnonzero(shares >= share)[-1]) for share in SHARES if (shares >= share).any()]
    rows = np.unique([0, *wanted])
    return Tail._table(values[rows], shares[rows])


def significant(values: NDArray[Any], digits: int, to_whole: Any = np.rint) -> NDArray[np.float64]:
    """Return ``values`` rounded by ``to_whole`` to that many significant ``digits``, as a file keeps them."""
    values = np.asarray(values, np.float64)
    with np.errstate(divide="ignore"):
        power = digits - 1 - np.floor(np.log10(np.abs(values)))
    power = np.where(np.isfinite(power), power, 0)
    return np.asarray(np.round(to_whole(values * 10.0**power) / 10.0**power, 12), np.float64)
