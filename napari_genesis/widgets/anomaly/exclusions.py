"""Regions that a person takes out of a map, with undo and redo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.workflows.anomaly_map import FoundRegion

__all__ = ["Exclusions"]

MOST_OF = 0.5  # a region that another threshold made is out when this share of it was taken out


class Exclusions:
    """What was taken out, kept as voxels: numbers of regions change with the threshold, places do not.

    A region counts as taken out while at least half of its voxels are.  So a higher threshold, which leaves a part of
    it, does not bring it back; a lower one, which joins it to something larger, does.
    """

    def __init__(self) -> None:
        self._states: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._at = 0

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return self._at > 0

    @property
    def can_redo(self) -> bool:
        """Whether a change was taken back."""
        return self._at + 1 < len(self._states)

    def exclude(self, labels: NDArray[Any], number: int) -> None:
        """Take the voxels of region ``number`` of ``labels`` (D, H, W) out."""
        self._push(np.union1d(self._states[self._at], np.flatnonzero(labels == number)))

    def include(self, labels: NDArray[Any], number: int) -> None:
        """Bring them back."""
        out = self._states[self._at]
        self._push(out[labels.reshape(-1)[out] != number])

    def undo(self) -> bool:
        """Take the last change back; False when there is none."""
        if not self.can_undo:
            return False
        self._at -= 1
        return True

    def redo(self) -> bool:
        """Make the change again that was taken back last; False when there is none."""
        if not self.can_redo:
            return False
        self._at += 1
        return True

    def numbers(self, labels: NDArray[Any], regions: Sequence[FoundRegion], voxel_ml: float) -> frozenset[int]:
        """Return which of ``regions``, numbered in ``labels``, are out; ``voxel_ml`` is the volume of a voxel."""
        out = self._states[self._at]
        if not out.size:
            return frozenset()
        counts = np.bincount(labels.reshape(-1)[out], minlength=1)
        taken = dict(enumerate(counts.tolist()))
        return frozenset(
            item.region.label
            for item in regions
            if taken.get(item.region.label, 0) >= MOST_OF * item.region.volume_ml / voxel_ml
        )

    def _push(self, state: NDArray[np.int64]) -> None:
        self._states[self._at + 1 :] = [state]
        self._at += 1
