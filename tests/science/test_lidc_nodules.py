"""Readers' contours as a mask (science/lidc_nodules.py)."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from genesis3d.errors import ScanError
from genesis3d.volume import Geometry, Volume

ROI = "<roi><imageZposition>{z}</imageZposition>{edges}</roi>"
EDGE = "<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>"
SCAN = Volume(np.zeros((1, 20, 40, 50), np.int16), Geometry((20, 40, 50), (2.5, 1.0, 1.0), (-100.0, 0.0, 0.0)))


@pytest.fixture
def nodules(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "science"))
    return importlib.import_module("lidc_nodules")


def archive(folder: Path, *rois: tuple[float, list[tuple[int, int]]]) -> Path:
    drawn = "".join(ROI.format(z=z, edges="".join(EDGE.format(x=x, y=y) for y, x in corners)) for z, corners in rois)
    path = folder / "lidc.zip"
    with zipfile.ZipFile(path, "w") as file:
        nodule = f"<readingSession><unblindedReadNodule>{drawn}</unblindedReadNodule></readingSession>"
        file.writestr("069.xml", f'<LidcReadMessage xmlns="http://www.nih.gov">{nodule}</LidcReadMessage>')
    return path


def test_contours_lie_on_their_slice_with_a_margin(nodules: ModuleType, tmp_path: Path) -> None:
    square = [(10, 20), (10, 30), (20, 30), (20, 20)]
    path = archive(tmp_path, (-75.0, square), (-60.0, [(5, 40)]))
    mask = nodules.read_by_readers(path, SCAN).data[0]
    assert mask[10, 15, 25]
    assert mask[10, 15, 35]  # 5 mm beside it
    assert not mask[10, 15, 38]
    assert mask[8, 15, 25]  # 5 mm below
    assert not mask[5, 15, 25]
    assert mask[16, 5, 48]  # the point, its radius and the margin
    assert mask.sum() < 0.2 * mask.size


def test_no_readers_or_another_scan_is_refused(nodules: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="on the slices of the scan"):
        nodules.read_by_readers(archive(tmp_path, (50.0, [(1, 1)])), SCAN)
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("a.dcm", b"")
    with pytest.raises(ScanError, match="readers' XML"):
        nodules.read_by_readers(empty, SCAN)
