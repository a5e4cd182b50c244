"""The table of structures: volumes and surfaces of known bodies, intensities, parts, absent classes."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.errors import GeometryError
from genesis3d.evaluation.structures import structure_rows
from genesis3d.labels import LabelClass
from genesis3d.volume import Geometry, Volume

CLASSES = (
    LabelClass(value=0, name="background"),
    LabelClass(value=2, name="ball"),
    LabelClass(value=300, name="absent"),
)
SPACING = (2.0, 1.0, 1.0)


def volumes() -> tuple[Volume, Volume]:
    """A ball of 12 mm radius in voxels of 2 x 1 x 1 mm, a stray voxel, and a box of a class without name."""
    d, h, w = np.ogrid[:20, :40, :60]
    labels = np.zeros((20, 40, 60), np.uint16)
    labels[((d - 9) * 2.0) ** 2 + (h - 19) ** 2 + (w - 19) ** 2 <= 144] = 2
    labels[1, 1, 50] = 2
    labels[10:12, 20:24, 50:55] = 7
    hu = np.where(labels == 2, 40, -100).astype(np.int16)
    hu[labels == 7] = np.tile([10, 30], 20)
    geometry = Geometry(labels.shape, SPACING)
    return Volume(labels[None], geometry), Volume(hu[None], geometry, "CT", "HU", "scan")


def test_classes_and_parts() -> None:
    labels, scan = volumes()
    header, rows = structure_rows(labels, scan, CLASSES, components=True)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["value"], row["component"]) for row in table] == [(2, 0), (2, 1), (2, 2), (300, 0), (7, 0), (7, 1)]
    ball, largest, stray, absent, box, _ = table
    assert ball["name"] == "ball"
    assert ball["volume_ml"] == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.02)
    assert largest["surface_cm2"] == pytest.approx(4 * np.pi * 1.2**2, rel=0.04)
    assert ball["voxels"] == largest["voxels"] + 1
    assert stray["volume_ml"] == pytest.approx(0.002)
    assert (ball["mean"], ball["sd"], ball["unit"]) == (40, 0, "HU")
    assert (box["name"], box["mean"], box["sd"]) == ("label 7", 20, 10)
    assert (absent["voxels"], absent["volume_ml"], absent["mean"]) == (0, 0, None)


def test_without_a_scan_and_with_voxels_without_values() -> None:
    labels, scan = volumes()
    _, rows = structure_rows(labels, None, CLASSES)
    assert [row[6] for row in rows] == [None, None, None]
    data = scan.data.astype(np.float32)
    data[0, 9, 19, 19] = np.nan
    _, rows = structure_rows(labels, scan.with_data(data), CLASSES)
    assert rows[0][6] == 40


def test_another_grid_is_refused() -> None:
    labels, scan = volumes()
    moved = Volume(scan.data, Geometry(scan.geometry.shape, SPACING, (5, 0, 0)), "CT", "HU", "moved")
    with pytest.raises(GeometryError, match="moved: expected the grid of"):
        structure_rows(labels, moved, CLASSES)
