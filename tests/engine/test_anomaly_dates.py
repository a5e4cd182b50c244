"""Two dates of one patient: the motion between them, what grew, shrank, went and came, and what is doubted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from genesis3d.data.phantoms import thorax
from genesis3d.errors import DomainError
from genesis3d.events import Started, Stepped, Warned
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.io.itk_filters.moving import moved
from genesis3d.io.itk_filters.regions import find_regions
from genesis3d.io.itk_filters.registration import register
from genesis3d.volume import Volume
from genesis3d.workflows.anomaly_dates import GONE, NEW, STILL, compare_dates
from genesis3d.workflows.anomaly_dates_config import DatesSettings
from genesis3d.workflows.anomaly_dates_regions import change_rows

SHAPE = (48, 72, 72)
RIGID = DatesSettings(motion="rigid")
# world (S, P, L) in mm and radius in mm: one stays, one grows, one shrinks, one goes, one comes
BALLS = {"same": ((0, 10, 75), 15, 15), "grown": ((40, 0, -75), 12, 20), "shrunk": ((-30, 20, -80), 20, 12),
         "gone": ((60, 10, 70), 12, 0), "new": ((-45, 30, 80), 0, 14)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Map:
    """What a comparison needs of a map."""

    scan: Volume
    lungs: Volume
    score: Volume
    labels: Volume
    threshold: float = 100.0
    recipe: Any = "difference"
    card: Any = None


def motion() -> np.ndarray:
    """From the first scan's world to the second's: some degrees about S and L, and a shift of 27 mm."""
    a, b = 0.07, 0.04
    about_s = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_l = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_s @ about_l
    matrix[:3, 3] = (12.0, -9.0, 22.0)
    return matrix


def balls(scan: Volume, which: int) -> np.ndarray:
    index = np.stack(np.indices(scan.geometry.shape), axis=-1)
    world = scan.geometry.to_world(index)
    inside = np.zeros(scan.geometry.shape, bool)
    for centre, *radii in BALLS.values():
        inside |= ((world - centre) ** 2).sum(axis=-1) <= radii[which] ** 2 if radii[which] else False
    return inside


def mapped(scan: Volume, lungs: Volume, inside: np.ndarray) -> Map:
    score = scan.with_data(np.where(inside, 200, 0).astype(np.float32), name="score")
    labels, _ = find_regions(score, {})
    return Map(scan, lungs, score, labels)


@pytest.fixture(scope="module")
def dates() -> tuple[Map, Map]:
    """A phantom with balls of opacity, and the same patient later: other balls, moved."""
    plain = thorax(SHAPE)
    lungs = lung_mask(plain).mask
    there = np.linalg.inv(motion())
    first = plain.with_data(np.where(balls(plain, 0), -300, plain.data[0]).astype(np.float32))
    later = plain.with_data(np.where(balls(plain, 1), -300, plain.data[0]).astype(np.float32))
    second = moved(later, there, plain.geometry, -1000.0)
    ill = moved(plain.with_data(balls(plain, 1).astype(np.uint8)), there, plain.geometry, 0, labels=True)
    return (
        mapped(first, lungs, balls(plain, 0)),
        mapped(second, moved(lungs, there, plain.geometry, 0, labels=True), ill.data[0] > 0),
    )


def ended(work: Any) -> tuple[list[Any], Any]:
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


@pytest.mark.parametrize("kind", ["rigid", "affine"])
def test_a_known_motion_is_found_within_a_voxel(dates: tuple[Map, Map], kind: Any) -> None:
    first, second = dates
    found = register(first.scan, second.scan, first.lungs, second.lungs, kind)
    assert found is not None
    points = first.scan.geometry.to_world(np.argwhere(first.lungs.data[0] > 0)[::40])
    points = np.c_[points, np.ones(len(points))]
    error = np.linalg.norm((points @ np.asarray(found.matrix).T - points @ motion().T)[:, :3], axis=1)
    assert error.max() < min(first.scan.geometry.spacing)
    assert found.dice > 0.92 > 0.8 > found.dice_before
    assert found.surface_mm < 5
    assert found.volume_ratio == pytest.approx(1, abs=0.02)
    assert found == register(first.scan, second.scan, first.lungs, second.lungs, kind)


def test_what_grew_shrank_went_and_came(dates: tuple[Map, Map]) -> None:
    first, second = dates
    events, result = ended(compare_dates(first, second))
    assert isinstance(events[0], Started)
    assert [e.step for e in events if isinstance(e, Stepped)] == [1, 2, 3]
    assert sorted(one.state for one in result.regions) == sorted(BALLS)
    for one in result.regions:
        centre, *radii = BALLS[one.state]
        np.testing.assert_allclose(one.centroid, centre, atol=4)
        for ml, radius in zip((one.first_ml, one.second_ml), radii, strict=True):
            assert ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.25, abs=0.1)
        assert one.lung == ("left" if centre[2] > 0 else "right")
    at = {one.state: result.change.data[0][one.centre] for one in result.regions}
    assert at == {"gone": GONE, "new": NEW, "same": STILL, "grown": STILL, "shrunk": STILL}
    assert result.change.geometry == first.scan.geometry == result.scan.geometry
    assert any("phase of breath" in text for text in result.warnings)
    assert not any("well" in text for text in result.warnings)
    header, rows = change_rows(result.regions)
    assert len(rows) == 5
    assert all(len(row) == len(header) for row in rows)
    larger = sum(one.difference_ml for one in result.regions)
    assert larger == pytest.approx(sum(float(row[4]) for row in rows), abs=0.01)  # type: ignore[arg-type]


def test_the_same_map_twice_shows_no_change(dates: tuple[Map, Map]) -> None:
    _, result = ended(compare_dates(dates[0], dates[0], settings=RIGID))
    assert {one.state for one in result.regions} == {"same"}
    assert result.registration.dice > 0.99
    assert result.registration.surface_mm < 2.5
    assert abs(np.asarray(result.registration.shift_mm)).max() < 0.5


def test_what_one_scan_does_not_show_is_not_called_gone_or_new(dates: tuple[Map, Map]) -> None:
    first, _ = dates

    def lower(one: Map, start: int, depth: int) -> Map:
        parts = {
            name: getattr(one, name).crop((start, 0, 0), (depth, *SHAPE[1:]))
            for name in ("scan", "lungs", "score", "labels")
        }
        return replace(one, **parts)

    half = lower(first, 0, 26)
    _, less = ended(compare_dates(first, half, settings=RIGID))
    assert {one.state for one in less.regions} == {"same", "not in view"}
    assert not any("well" in text for text in less.warnings)
    _, more = ended(compare_dates(half, first, settings=RIGID))
    assert {one.state for one in more.regions} == {"same"}
    assert any("does not reach" in text for text in more.warnings)


def test_maps_that_differ_otherwise_and_scans_that_do_not_fit_are_told(dates: tuple[Map, Map]) -> None:
    first, second = dates
    other = replace(second, threshold=50.0, recipe="hu")
    messages = [e.message for e in ended(compare_dates(first, other, settings=RIGID))[0] if isinstance(e, Warned)]
    assert any("differ in their threshold (100, then 50)" in text for text in messages)
    assert any("differ in their recipe (difference, then hu)" in text for text in messages)
    strict = DatesSettings(good_dice=0.9999, motion="rigid")
    _, doubted = ended(compare_dates(first, second, settings=strict))
    assert any("do not lie on each other well" in text for text in doubted.warnings)
    with pytest.raises(DomainError, match="expected a scan of the kind of"):
        next(compare_dates(first, replace(second, scan=replace(second.scan, modality="MR", unit=None))))
    empty = replace(second, lungs=second.lungs.with_data(np.zeros_like(second.lungs.data)))
    with pytest.raises(DomainError, match="expected lungs"):
        ended(compare_dates(first, empty))


@pytest.mark.parametrize("after", [0, 30])
def test_stopped_it_ends_at_the_next_step(dates: tuple[Map, Map], after: int) -> None:
    asked = [0]

    def control() -> Any:
        asked[0] += 1
        return "stop" if asked[0] > after else "run"

    _, result = ended(compare_dates(*dates, control))
    assert result is None
    assert asked[0] < after + 12
