from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from genesis3d.data.phantoms import FACES, chirality, thorax, thorax_with_opacity
from genesis3d.data.trees import grow
from genesis3d.volume import Volume

SMALL = (48, 80, 80)


@cache
def small() -> tuple[Volume, Volume, Volume]:
    return thorax(SMALL), *thorax_with_opacity(SMALL)


def at(volume: Volume, s: float, p: float, left: float, around: int = 1) -> float:
    """Median HU about a point in mm (up, back, left)."""
    d, h, w = (round(v) for v in volume.geometry.to_index((s, p, left)))
    r = around
    return float(np.median(volume.data[0, d - r : d + r + 1, h - r : h + r + 1, w - r : w + r + 1]))


def test_the_thorax_is_a_ct_in_hu_on_a_plain_grid() -> None:
    scan = small()[0]
    assert (scan.modality, scan.unit, scan.data.dtype) == ("CT", "HU", np.int16)
    assert scan.geometry.canonical_orientation().is_identity
    np.testing.assert_allclose(np.multiply(scan.geometry.spacing, SMALL), (268.8, 360, 360))
    np.testing.assert_allclose(scan.geometry.to_world(np.subtract(SMALL, 1) / 2), 0, atol=1e-9)
    assert -1024 <= scan.data.min() < -950
    assert 300 < scan.data.max() < 1500


@pytest.mark.parametrize(
    ("where", "low", "high"),
    [
        ((20, -20, -90), -920, -780),  # right lung
        ((20, -20, 90), -920, -780),  # left lung
        ((-44, -34, 40), 0, 70),  # heart, to the left
        ((80, 21, 0), -1024, -800),  # trachea
        ((0, 70, 0), 100, 600),  # vertebra, at the back
        ((-100, -10, -80), 20, 80),  # liver, to the right
        ((0, -170, 0), -1024, -950),  # air in front
    ],
)
def test_organs_lie_where_a_radiologist_looks_for_them(where: tuple[float, float, float], low: int, high: int) -> None:
    assert low <= at(small()[0], *where) <= high


def test_lungs_hold_vessels_and_the_chest_wall_holds_ribs() -> None:
    scan = small()[0]
    data = scan.data[0]
    middle = data[:, 24:56, 14:66]
    assert 0.01 < np.mean((middle > -500) & (middle < 200)) < 0.6
    assert np.count_nonzero(data > 300) > 1000


def test_the_same_call_gives_the_same_voxels_and_another_seed_others() -> None:
    np.testing.assert_array_equal(thorax(SMALL).data, small()[0].data)
    assert np.abs(thorax(SMALL, seed=1).data.astype(int) - small()[0].data).mean() > 5


def test_opacity_is_denser_lung_of_the_stated_extent() -> None:
    plain, scan, labels = small()
    assert labels.geometry == scan.geometry
    assert labels.data.dtype == np.uint8
    change = scan.data.astype(int) - plain.data
    inside = labels.data > 0
    lung = (plain.data < -700) & (plain.data > -960)
    assert 150 < np.median(change[inside]) < 360
    assert np.abs(change[~inside & ~lung]).max() < 200
    assert 0.15 < inside.sum() / (inside | lung).sum() < 0.25
    assert np.abs(change[(~inside) & (plain.data > 100)]).max() < 60
    world = labels.geometry.to_world(np.argwhere(labels.data[0]))
    assert world[:, 1].mean() > 10  # more of it at the back


def test_size_and_spacing_are_free() -> None:
    scan = thorax((20, 30, 40), (3.0, 2.0, 2.0))
    assert scan.geometry.shape == (20, 30, 40)
    assert scan.geometry.spacing == (3.0, 2.0, 2.0)
    assert np.isfinite(scan.data).all()


def test_markers_stand_on_their_sides_and_the_helix_is_a_right_handed_screw() -> None:
    phantom = chirality()
    world = phantom.geometry.to_world(np.argwhere(phantom.data[0] > 900))
    for axis, side, _, _ in FACES.values():
        on_face = side * world[:, axis] > 0.75 * (side * world[:, axis]).max()
        assert on_face.sum() > 20
    s, p, left = phantom.geometry.to_world(np.argwhere((phantom.data[0] > 300) & (phantom.data[0] < 500))).T
    turn = 0.6 * 0.5 * 80 * 1.6  # mm that it climbs in one turn
    angle = np.arctan2(p, left)  # from left to back: about +S in the right-handed axes (L, P, S)

    def agreement(sign: float) -> float:
        return abs(np.exp(1j * (angle - sign * 2 * np.pi * s / turn)).mean())

    assert agreement(+1) > 0.7
    assert agreement(-1) < 0.2


def test_no_mirror_image_passes_for_the_chirality_phantom() -> None:
    data = chirality().data[0] > 0
    for axis in range(3):
        assert np.mean(data & np.flip(data, axis)) < 0.75 * np.mean(data)


def test_a_letter_reads_rightly_from_outside() -> None:
    phantom = chirality()
    _, h, w = phantom.geometry.shape
    front = phantom.data[0, :, : h // 6] > 900  # the A, seen from the front: columns run to the patient's left
    picture = front.any(axis=1)[::-1]
    rows = np.flatnonzero(picture.any(axis=1))
    letter = picture[rows[0] : rows[-1] + 1]
    assert letter[-1].sum() < letter[len(letter) // 2].sum()  # the feet of an A are apart, its bar is whole
    right = phantom.data[0, :, :, : w // 6] > 900  # the R, seen from the right: columns run from back to front
    picture = right.any(axis=2)[::-1, ::-1]
    columns = np.flatnonzero(picture.any(axis=0))
    assert picture[:, columns[0]].sum() > 2 * picture[:, columns[-1]].sum()  # its stem is on the left


def test_a_tree_reaches_all_its_region_and_thins_by_murrays_law() -> None:
    rng = np.random.default_rng(0)
    region = rng.uniform(-40, 40, (500, 3))
    branches = grow(np.zeros(3), region, 64, 0.5, rng)
    assert len(branches) == 2 * 64 - 1
    radii = sorted((radius for _, _, radius in branches), reverse=True)
    assert radii[0] == pytest.approx(0.5 * 64 ** (1 / 3))
    assert radii[-1] == 0.5
    starts = {tuple(start) for start, _, _ in branches[1:]}
    ends = {tuple(end) for _, end, _ in branches}
    assert starts <= ends
    assert grow(np.zeros(3), np.zeros((0, 3)), 8, 0.5, rng) == []
