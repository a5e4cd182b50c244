"""The rules that judge a sub-volume, as one number: how far it lies beyond a rule's limits (0: taken)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.sampling import SamplingConfig

__all__ = ["excess", "look_ahead", "tissue_score"]

LOOK_AHEAD = 3  # slices that the published generator cuts deeper


def look_ahead(config: SamplingConfig) -> int:
    """Return the slices beyond the sub-volume, along D, that the rule wants to see."""
    return LOOK_AHEAD if config.rule == "official" else 0


def tissue_score(box: NDArray[np.float32], depth: int, level: float) -> float:
    """Return the published generator's tissue score of the first ``depth`` slices of ``box`` (D', H, W), 0 to 1.

    A voxel counts 1 when it reaches ``level``, one half when it does not but the next one along +D does (the nearest
    of three slices counts 1, 1/2, 0); beyond the last slice there is nothing.
    """
    dense = box >= level
    score = dense[:depth].sum(dtype=np.int64) * 1.0
    ahead = dense[1 : depth + 1]
    score += 0.5 * np.count_nonzero(ahead & ~dense[: len(ahead)])
    return float(score / box[:depth].size)


def excess(box: NDArray[np.float32], config: SamplingConfig) -> float:
    """Return how far ``box`` (C, D', H, W) in [0, 1] lies beyond the limits of the rule; at most 0 when taken."""
    depth = config.patch[0]
    if config.rule == "official":
        return tissue_score(box[0], depth, config.tissue) - config.lung_max
    if config.rule == "paper":
        share = float(np.count_nonzero(box[0] >= config.tissue) / box[0].size)
        return max(config.min_tissue - share, share - config.max_tissue)
    if config.rule == "default":
        share = float(np.count_nonzero(box > config.content) / box.size)
        return max(config.min_std - float(box.std(dtype=np.float64)), config.min_content - share)
    return 0.0
