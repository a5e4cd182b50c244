"""What a reader should check in a mask of the lungs: size, balance, and where the scan ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.io.itk_filters.morphology import bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = tuple[float, float, float]

__all__ = ["AGREE", "LEFT", "RIGHT", "disagreement", "lung_doubts"]

LEFT, RIGHT = 1, 2
SMALL = 1500.0  # mL of both lungs of an adult
UNEQUAL = 0.55  # of the larger lung, below which the smaller one is doubtful
AGREE = 0.9  # Dice of two ways of finding the lungs


def lung_doubts(labels: NDArray[np.uint8], spacing: Vector) -> list[str]:
    """Return one sentence for each doubt about ``labels`` (D, H, W), not empty: 1 left, 2 right; none is a good sign.

    ``spacing`` is in mm along D, H, W; D runs from feet to head.
    """
    millilitre = float(np.prod(spacing)) / 1000
    left, right = (float((labels == side).sum()) * millilitre for side in (LEFT, RIGHT))
    total, doubts = left + right, []
    box = bounds(labels > 0)
    cut = [name for name, on in (("lowest", box[0].start == 0), ("highest", box[0].stop == labels.shape[0])) if on]
    if cut:
        doubts.append(f"The scan shows the lungs in part only: they reach its {' and its '.join(cut)} slice.")
    if total < SMALL and not cut:
        doubts.append(f"The lungs found are small for an adult chest: {total:.0f} mL together. Check the mask.")
    if min(left, right) < UNEQUAL * max(left, right):
        small, large = ("left", "right") if left < right else ("right", "left")
        doubts.append(
            f"The {small} lung found has {min(left, right):.0f} mL, the {large} one {max(left, right):.0f} mL: "
            "dense or missing lung is not in the mask. Check it."
        )
    sides = [labels[:, 0].any(), labels[:, -1].any(), labels[:, :, 0].any(), labels[:, :, -1].any()]
    if any(sides):
        doubts.append("The lungs found touch the side of the scan: the mask may have run out of the body. Check it.")
    return doubts


def disagreement(network: NDArray[np.uint8], classical: NDArray[np.uint8]) -> list[str]:
    """Return a sentence when two masks of the same lungs (labels on one grid) overlap by a Dice below AGREE."""
    a, b = network > 0, classical > 0
    both = float(a.sum() + b.sum())
    dice = 2 * float((a & b).sum()) / both if both else 1.0
    if dice >= AGREE:
        return []
    return [f"The lungs found by network and by rules overlap by {dice:.2f} only (Dice). Check the mask."]
