"""Classified scans as labelled ones: every voxel of a case is of the case's class, so that one sampler serves both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.targets import LabelledCases

if TYPE_CHECKING:
    from genesis3d.data.classified import ClassifiedCases

__all__ = ["as_labelled"]


def as_labelled(cases: ClassifiedCases) -> LabelledCases:
    """Return ``cases`` with labels that name the class everywhere; they take no memory."""
    labels = [
        volume.with_data(np.broadcast_to(np.uint8(target), (1, *volume.geometry.shape)), unit=None)
        for volume, target in zip(cases.volumes, cases.targets, strict=True)
    ]
    return LabelledCases(
        cases=cases.cases,
        volumes=cases.volumes,
        scales=cases.scales,
        labels=labels,
        patients=cases.patients,
        intensity=cases.intensity,
        classes=cases.classes,
        working_spacing=cases.working_spacing,
        warnings=cases.warnings,
    )
