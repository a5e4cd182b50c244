"""Labels made worse on purpose: grown or shrunk by a radius, to see what a training bears."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.volume import Volume

__all__ = ["corrupted", "corrupted_cases"]


def corrupted(labels: Volume, radius: float) -> Volume:
    """Return class indices (1, D, H, W) dilated by a ball of ``radius`` mm, eroded where it is negative.

    Every class is eroded by itself, what it loses becomes background; a dilated class takes background alone, that
    nearest to it where two meet.  Voxels that nobody labelled (255) stay so and erode nothing.  Zhou et al. (Models
    Genesis) trained on such labels to compare how initialisations bear with noise.
    """
    if radius == 0:
        return labels
    data, spacing = labels.data[0], labels.geometry.spacing
    classes = [int(value) for value in np.unique(data) if value not in (BACKGROUND, IGNORE)]
    result = data.copy()
    if radius < 0:
        from genesis3d.io.itk_filters.morphology import eroded

        for index in classes:
            kept = eroded((data == index) | (data == IGNORE), spacing, -radius)
            result[(data == index) & ~kept] = BACKGROUND
    else:
        from genesis3d.io.itk_filters.morphology import distance_to

        nearest = np.full(data.shape, radius, dtype=np.float32)
        for index in classes:
            distance = distance_to(data == index, spacing)
            wins = (data == BACKGROUND) & (distance <= nearest)
            result[wins], nearest[wins] = index, distance[wins]
    return labels.with_data(result)


def corrupted_cases(cases: LabelledCases, radius: float) -> LabelledCases:
    """Return ``cases`` with the labels of each :func:`corrupted`."""
    return cases if radius == 0 else replace(cases, labels=[corrupted(labels, radius) for labels in cases.labels])
