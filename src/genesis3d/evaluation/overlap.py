"""How far two masks agree voxel by voxel: Dice, IoU, sensitivity, precision, volumes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

__all__ = ["THRESHOLDS", "Overlap", "iou_over_thresholds", "overlap"]

# .5 to .95 in steps of .05, as the Keras code of Models Genesis has them.
THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))


@dataclass(frozen=True)
class Overlap:
    """Voxels of a predicted and a reference mask: in ``both``, in one of them only, in ``neither``.

    A ratio without anything in its denominator is nan: where both masks are empty Dice and IoU say nothing, and such a
    case is left out of means; where one of the two is empty they are 0.
    """

    both: int
    predicted_only: int
    reference_only: int
    neither: int

    @property
    def predicted(self) -> int:
        """Voxels of the predicted mask."""
        return self.both + self.predicted_only

    @property
    def reference(self) -> int:
        """Voxels of the reference mask."""
        return self.both + self.reference_only

    @property
    def dice(self) -> float:
        """Twice the common voxels over the sum of both masks (Dice 1945); for masks the same as F1."""
        return _ratio(2 * self.both, self.predicted + self.reference)

    @property
    def iou(self) -> float:
        """Common voxels over those of the union (Jaccard)."""
        return _ratio(self.both, self.both + self.predicted_only + self.reference_only)

    @property
    def sensitivity(self) -> float:
        """Share of the reference that was found (recall); nan for an empty reference."""
        return _ratio(self.both, self.reference)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right; nan for an empty prediction."""
        return _ratio(self.both, self.predicted)

    @property
    def specificity(self) -> float:
        """Share of the voxels outside the reference that were left alone."""
        return _ratio(self.neither, self.neither + self.predicted_only)

    @property
    def volume_error_percent(self) -> float:
        """Predicted minus reference volume, in % of the reference; nan for an empty reference."""
        return _ratio(100 * (self.predicted - self.reference), self.reference)


def overlap(prediction: Mask, reference: Mask, counted: Mask | None = None) -> Overlap:
    """Count the voxels of two masks of one shape, of ``counted`` voxels only (None: all).

    Raises
    ------
    GeometryError
        For masks of different shapes.
    """
    if prediction.shape != reference.shape or (counted is not None and counted.shape != reference.shape):
        raise GeometryError(f"prediction: expected the reference's shape {reference.shape}, got {prediction.shape}")
    total = reference.size
    if counted is not None:
        prediction, reference, total = prediction & counted, reference & counted, int(np.count_nonzero(counted))
    both = int(np.count_nonzero(prediction & reference))
    predicted, referred = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    return Overlap(both, predicted - both, referred - both, total - predicted - referred + both)


def iou_over_thresholds(probability: NDArray[Any], reference: Mask, counted: Mask | None = None) -> float:
    """Return the mean of the IoU of ``probability > t`` over the thresholds .5, .55, ..., .95.

    The segmentation metric of the Keras code of Models Genesis, here of the structure alone and of one case (that code
    averages it with the background's and accumulates over batches).  It needs probabilities in [0, 1] of the
    reference's shape: of a mask (0 or 1) it is the IoU.  Where both are empty at every threshold it is nan, where at
    some those are left out.
    """
    values = [overlap(probability > threshold, reference, counted).iou for threshold in THRESHOLDS]
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
