"""The masks of a map as DICOM Segmentations, where the scan is a DICOM series: they then belong to its study."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.labels import LabelClass

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["SEGMENTATIONS", "mask_of", "write_segmentations"]

SEGMENTATIONS = ("mask.dcm", "lungs.dcm")
ANOMALY = (LabelClass(value=1, name="anomaly", colour="#00bcd4"),)
SIDES = (
    LabelClass(value=1, name="left lung", colour="#8bc34a"),
    LabelClass(value=2, name="right lung", colour="#ffb300"),
)


def write_segmentations(result: AnomalyMap, folder: Path) -> Iterator[Path]:
    """Write :data:`SEGMENTATIONS` into ``folder``, yielding each path; nothing for a scan that is no DICOM series.

    A mask that marks nothing has no file: a DICOM Segmentation holds at least one segment.  What an earlier map left
    under these names goes.

    Raises
    ------
    ScanError, GeometryError
        When the series is no longer there, its headers do not allow for it, or the disk does not take it.
    """
    from genesis3d.io import write_dicom_seg

    for name in SEGMENTATIONS:
        (folder / name).unlink(missing_ok=True)
    source, series = result.scan.source, result.scan.series
    if source is None or not series:
        return
    both = (mask_of(result), ANOMALY), (result.lungs, SIDES)
    for name, (labels, classes) in zip(SEGMENTATIONS, both, strict=True):
        if labels.data.any():
            yield write_dicom_seg(labels, classes, source, folder / name, series)


def mask_of(result: AnomalyMap) -> Volume:
    """Return the regions as a mask, 1 inside."""
    return result.labels.with_data((result.labels.data > 0).astype(np.uint8))
