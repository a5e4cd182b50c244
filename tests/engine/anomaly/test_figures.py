"""Figures of regions, zones and classes on a phantom of boxes and balls whose sizes and places are known."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import pytest

from genesis3d.anomaly.classes import class_rows
from genesis3d.anomaly.figures import RegionRow, region_rows, region_table, table
from genesis3d.anomaly.pleura import FAR, Pleura
from genesis3d.anomaly.zones import ProfileRow, ZoneRow, profile_rows, thirds, zone_rows
from genesis3d.volume import Geometry, Volume

SPACING = (3.0, 1.5, 1.5)
VOXEL = 3.0 * 1.5 * 1.5 / 1000


@dataclass
class Made:
    """A map of two box-shaped lungs; right from column 10 to 40, left from 50 to 80, slices 6 to 36."""

    scan: Volume
    lungs: Volume
    score: Volume
    labels: Volume
    difference: Volume | None = None
    z: Volume | None = None


@pytest.fixture
def made() -> Made:
    """Region 1: a box of 6x10x10 in the upper left lung, 3 to 5 voxels in; region 2: a plate on the right pleura."""
    shape = (40, 60, 90)
    geometry = Geometry(shape, SPACING, (100.0, -50.0, 20.0))
    lungs = np.zeros(shape, np.uint8)
    lungs[6:36, 10:50, 10:40] = 2
    lungs[6:36, 10:50, 50:80] = 1
    hu = np.full(shape, 40, np.int16)
    hu[lungs > 0] = -860
    labels = np.zeros(shape, np.int32)
    labels[29:33, 20:30, 55:65] = 1
    labels[8:20, 10:14, 12:20] = 2
    hu[labels == 1], hu[labels == 2] = -500, -100
    score = np.zeros(shape, np.float32)
    score[labels == 1], score[labels == 2] = 300, 700
    score[30, 25, 60] = 900
    scan = Volume(hu[None], geometry, "CT", "HU", "boxes")
    return Made(scan, *(Volume(a[None], geometry, name="boxes") for a in (lungs, score, labels)))


def test_regions(made: Made) -> None:
    made.z = made.score.with_data(made.score.data / 100)
    first, second = region_rows(made)
    assert (first.region, first.lung, first.third) == (1, "left", "upper")
    assert (second.region, second.lung, second.third) == (2, "right", "lower")
    assert first.volume_ml == pytest.approx(400 * VOXEL)
    assert second.volume_ml == pytest.approx(384 * VOXEL)
    assert first.share_of_lungs_percent == pytest.approx(100 * 400 / (2 * 30 * 40 * 30))
    assert first.mean_value == -500
    assert second.mean_value == -100
    assert first.mean_score == pytest.approx(300 + 600 / 400)
    assert first.peak_score == 900
    assert first.mean_z == pytest.approx(3.015)
    assert second.mean_z == pytest.approx(7)
    assert first.mean_difference is None
    assert (first.centroid_s_mm, first.centroid_p_mm, first.centroid_l_mm) == pytest.approx(
        (100 + 3 * 30.5, -50 + 1.5 * 24.5, 20 + 1.5 * 59.5)
    )


def test_distances_to_the_pleura(made: Made) -> None:
    first, second = region_rows(made)
    assert first.pleura_mm == pytest.approx(5 * 1.5, abs=1.6)  # 5 columns in, 3 slices of 3 mm below the top
    assert second.pleura_mm == pytest.approx(0.75, abs=0.8)  # on it
    slices, rows, columns = np.indices((4, 10, 10))
    sides = [3 * (6.5 - slices), 1.5 * (rows + 10.5), 1.5 * (29.5 - rows), 1.5 * (columns + 5.5)]
    assert first.depth_mm == pytest.approx(np.minimum.reduce(sides).mean(), abs=1)
    assert second.depth_mm == pytest.approx(3, abs=1)
    assert region_rows(made, Pleura.of(made.lungs)) == [first, second]


def test_a_ball_of_lung_is_as_deep_as_it_is() -> None:
    z, y, x = np.meshgrid(*(np.arange(64) - 31.5,) * 3, indexing="ij")
    radius = np.sqrt(z**2 + y**2 + x**2)
    lungs = Volume((radius <= 28).astype(np.uint8)[None], Geometry((64, 64, 64), (1.0, 1.0, 1.0)))
    index = np.nonzero(lungs.data[0])
    wrong = Pleura.of(lungs).at(index) - (28.5 - radius[index])
    assert np.abs(wrong).max() < 3
    assert abs(wrong.mean()) < 1
    everywhere = lungs.with_data(np.ones_like(lungs.data))
    assert (Pleura.of(everywhere).at(index) == FAR).all()


def test_zones_add_up(made: Made) -> None:
    rows = {(row.lung, row.third): row for row in zone_rows(made)}
    assert list(rows) == [
        ("both", "all"),
        ("left", "all"), ("left", "upper"), ("left", "middle"), ("left", "lower"),
        ("right", "all"), ("right", "upper"), ("right", "middle"), ("right", "lower"),
    ]  # fmt: skip
    one_lung = 30 * 40 * 30 * VOXEL
    assert rows["both", "all"].volume_ml == pytest.approx(2 * one_lung)
    assert rows["left", "upper"].volume_ml == pytest.approx(one_lung / 3)
    assert rows["left", "upper"].flagged_ml == pytest.approx(400 * VOXEL)
    assert rows["left", "upper"].flagged_percent == pytest.approx(100 * 400 / 12000)
    assert rows["left", "middle"].flagged_ml == 0
    assert rows["right", "lower"].flagged_ml == pytest.approx(8 * 4 * 8 * VOXEL)  # slices 8 to 16 of 8 to 20
    assert rows["right", "middle"].flagged_ml == pytest.approx(4 * 4 * 8 * VOXEL)
    assert rows["both", "all"].flagged_ml == pytest.approx((400 + 384) * VOXEL)
    assert rows["right", "upper"].mean_value == -860
    assert rows["right", "all"].mean_score == pytest.approx(384 * 700 / 36000)
    for lung in ("left", "right"):
        parts = [rows[lung, third] for third in ("upper", "middle", "lower")]
        assert sum(part.flagged_ml for part in parts) == pytest.approx(rows[lung, "all"].flagged_ml)


def test_thirds_are_of_the_lungs_box(made: Made) -> None:
    assert thirds(made.lungs).tolist() == [-1] * 6 + [0] * 10 + [1] * 10 + [2] * 10 + [-1] * 4


def test_the_profile_runs_from_the_lowest_slice_up(made: Made) -> None:
    rows = profile_rows(made)
    assert len(rows) == 30
    assert [rows[0].height_mm, rows[-1].height_mm] == [0, 29 * 3.0]
    assert rows[0].flagged_percent == 0
    assert rows[2].flagged_percent == pytest.approx(100 * 32 / 2400)
    assert rows[24].flagged_percent == pytest.approx(100 * 100 / 2400)
    assert sum(row.volume_ml for row in rows) == pytest.approx(zone_rows(made)[0].volume_ml)


def test_classes_of_density() -> None:
    geometry = Geometry((1, 2, 10), (10.0, 10.0, 10.0))  # a voxel is a millilitre
    values = [-1000, -951, -950, -751, -750, -401, -400, -1, 0, 300]
    scan = Volume(np.array([[values, values]], np.int16)[None][:, 0][None], geometry, "CT", "HU")
    lungs = Volume(np.array([[[1] * 10, [2] * 5 + [0] * 5]], np.uint8)[None], geometry)
    rows = {(row.lung, row.name): row for row in class_rows(scan, lungs)}
    assert [rows["left", name].volume_ml for name in ("emphysema", "inflated", "infiltrated", "collapsed")] == [2] * 4
    assert rows["left", "vessels and denser"].volume_ml == 2
    assert rows["right", "emphysema"].share_percent == 40
    assert rows["right", "infiltrated"].volume_ml == 1
    assert rows["both", "inflated"].volume_ml == 4
    assert (rows["both", "emphysema"].low, rows["both", "emphysema"].high) == (None, -950)
    assert ("other", "inflated") not in rows
    assert class_rows(Volume(scan.data, geometry, "MR"), lungs) == []


def test_tables_name_units_and_leave_out_what_is_not_there(made: Made) -> None:
    header, rows = region_table(made)
    assert header == [
        "region", "lung", "third", "volume_ml", "share_of_lungs_percent", "mean_hu", "mean_score_hu", "peak_score_hu",
        "pleura_mm", "depth_mm", "centroid_s_mm", "centroid_p_mm", "centroid_l_mm",
    ]  # fmt: skip
    assert rows[0][:4] == [1, "left", "upper", round(400 * VOXEL, 3)]
    made.difference, made.z = made.score, made.score
    header, _ = region_table(made, "probability")
    assert {"mean_difference_hu", "mean_z", "peak_score_probability"} <= set(header)
    made.labels = made.labels.with_data(np.zeros_like(made.labels.data))
    assert region_table(made, "probability") == (header, [])
    assert table(ZoneRow, zone_rows(made), None)[0][-2:] == ["mean_value", "mean_score_value"]
    assert len(table(ProfileRow, profile_rows(made), "HU")[1]) == 30
    assert table(RegionRow, [], "HU")[1] == []


def test_a_lung_without_a_side_and_no_lung_at_all(made: Made) -> None:
    made.lungs.data[made.lungs.data == 1] = 255
    assert region_rows(made)[0].lung == "other"
    assert [row.lung for row in zone_rows(made) if row.third == "all"] == ["both", "right", "other"]
    made.lungs = made.lungs.with_data(np.zeros_like(made.lungs.data))
    assert [row.volume_ml for row in zone_rows(made)] == [0]
    assert profile_rows(made) == []


def test_figures_of_a_large_scan_take_no_loop_over_voxels() -> None:
    geometry = Geometry((66, 256, 256), (5.0, 1.4, 1.4))  # an eighth of a chest's voxels
    lungs = np.zeros(geometry.shape, np.uint8)
    lungs[5:61, 65:195, 30:120] = 2
    lungs[5:61, 65:195, 135:225] = 1
    labels = np.zeros(geometry.shape, np.int32)
    labels[20:60, 100:130, 50:80] = 1
    scan, score = (np.zeros(geometry.shape, dtype) for dtype in (np.int16, np.float32))
    made = Made(*(Volume(a[None], geometry, "CT", "HU") for a in (scan, lungs, score, labels)))
    began = time.process_time()
    region_rows(made)
    zone_rows(made)
    class_rows(made.scan, made.lungs)
    assert time.process_time() - began < 1
