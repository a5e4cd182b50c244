"""Figures of an anomaly map on a scan of boxes: what counts, what is missed, what is found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genesis3d.errors import GeometryError
from genesis3d.evaluation.anomaly import Truth, anomaly_figures
from genesis3d.volume import Geometry, Volume

GRID = Geometry((20, 20, 20), (5.0, 5.0, 5.0))  # voxels of 1/8 mL


def box(*ranges: tuple[int, int], value: float = 1.0) -> Volume:
    data = np.zeros((1, *GRID.shape), np.float32)
    data[(0, *(slice(*one) for one in ranges))] = value
    return Volume(data, GRID)


LUNGS = box((0, 20), (0, 20), (0, 10))
LESION = box((2, 8), (2, 8), (2, 8))  # 216 voxels, 27 mL


def test_a_map_that_finds_all_of_it() -> None:
    found = anomaly_figures(LESION, LESION, LUNGS, Truth(LESION, LUNGS), threshold=0.5)
    assert (found["ap"], found["auroc"], found["dice"], found["oracle_dice"]) == (1, 1, 1, 1)
    assert (found["regions"], found["region_recall"], found["volume_error_percent"]) == (1, 1, 0)
    assert found["flagged_percent"] == found["lesion_percent"] == pytest.approx(100 * 216 / 4000)
    assert found["threshold"] == 0.5
    assert math.isnan(found["auroc_body"])


def test_what_the_mask_leaves_out_is_missed() -> None:
    narrow = box((0, 20), (0, 20), (0, 5))
    score = LESION.with_data(LESION.data * narrow.data)
    found = anomaly_figures(score, score, narrow, Truth(LESION, LUNGS, body=box((0, 20), (0, 20), (0, 15))))
    assert found["lesion_kept_percent"] == pytest.approx(50)
    assert found["sensitivity"] == pytest.approx(0.5)
    assert found["dice"] == pytest.approx(2 / 3)
    assert found["volume_error_percent"] == pytest.approx(-100 * 108 / 4000)
    assert found["auroc"] == pytest.approx(0.75)  # half above all others, half tied with them
    assert found["auroc_body"] == pytest.approx(0.75)


def test_lesions_outside_the_reference_lungs_count_nowhere() -> None:
    beyond = box((2, 8), (2, 8), (2, 14))
    found = anomaly_figures(LESION, LESION, LUNGS, Truth(beyond, LUNGS))
    inside = box((2, 8), (2, 8), (2, 10))
    assert found["sensitivity"] == pytest.approx(LESION.data.sum() / inside.data.sum())


def test_regions_count_from_5_ml_and_a_quarter_flagged() -> None:
    large, small = box((0, 4), (0, 4), (0, 4)), box((10, 13), (10, 13), (0, 3))  # 8 and 3.4 mL
    both = large.with_data(large.data + small.data)
    quarter, less = box((0, 1), (0, 4), (0, 4)), box((0, 1), (0, 4), (0, 3))
    for hot, recall in ((quarter, 1.0), (less, 0.0)):
        found = anomaly_figures(hot, hot, LUNGS, Truth(both, LUNGS))
        assert (found["regions"], found["region_recall"]) == (1, recall)


def test_a_healthy_scan_has_a_share_flagged_without_what_is_excluded() -> None:
    hot = LESION.with_data(LESION.data + box((12, 14), (2, 4), (2, 4)).data)
    found = anomaly_figures(hot, hot, LUNGS, Truth(excluded=LESION))
    assert found["flagged_percent"] == pytest.approx(100 * 8 / (4000 - 216))
    assert math.isnan(found["dice"])
    assert found["lesion_percent"] == 0


def test_another_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match="expected the grid of"):
        anomaly_figures(LESION, LESION, LUNGS.crop((0, 0, 0), (10, 20, 20)), Truth())
