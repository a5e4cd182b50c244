"""The lung by classes of density, as radiologists are used to: no network, no threshold of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.anomaly.zones import LUNGS, side_codes

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["BORDERS", "CLASSES", "ClassRow", "class_rows"]

BORDERS = (-950, -750, -400, 0)  # HU; a voxel on a border belongs to the denser class
CLASSES = ("emphysema", "inflated", "infiltrated", "collapsed", "vessels and denser")


@dataclass(frozen=True)
class ClassRow:
    """A class of density in a lung (left, right, other or both), from ``low`` (None: any less) to ``high`` HU."""

    lung: str
    name: str
    low: int | None
    high: int | None
    volume_ml: float
    share_percent: float


def class_rows(scan: Volume, lungs: Volume) -> list[ClassRow]:
    """Return volume and share of each class, for both lungs and then each; empty for a scan without HU.

    Single voxels count as they are: noise moves some of a healthy lung into the neighbouring classes.
    """
    if scan.unit != "HU":
        return []
    counts = np.zeros((len(LUNGS), len(CLASSES)))
    for values, slab in zip(scan.data[0], lungs.data[0], strict=True):
        inside = slab > 0
        if inside.any():
            kind = np.searchsorted(np.asarray(BORDERS), np.nan_to_num(values[inside]), side="right")
            code = side_codes(slab[inside]) * len(CLASSES) + kind
            counts += np.bincount(code, minlength=counts.size).reshape(counts.shape)
    voxel = float(np.prod(scan.geometry.spacing)) / 1000
    rows = []
    for lung, own in (("both", counts.sum(axis=0)), *zip(LUNGS, counts, strict=True)):
        if own.any():
            for number, name in enumerate(CLASSES):
                limits = [None, *BORDERS, None][number : number + 2]
                share = float(100 * own[number] / own.sum())
                rows.append(ClassRow(lung, name, limits[0], limits[1], float(own[number]) * voxel, share))
    return rows
