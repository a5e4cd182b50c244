from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from genesis3d.data.hard import AHEAD, errors_of, places_at, with_places
from genesis3d.data.labelled import LabelledSampler, TargetSampling, fitting_patch
from genesis3d.data.sampling import Location
from genesis3d.errors import ConfigError
from genesis3d.intensity import Scale
from genesis3d.labels import IGNORE
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume

SHAPE = (24, 40, 40)


def labelled(labels: np.ndarray, seed: int = 0) -> tuple[Volume, Volume]:
    geometry = Geometry(labels.shape, (2.0, 1.0, 1.0))  # type: ignore[arg-type]
    image = np.random.default_rng(seed).integers(0, 100, (1, *labels.shape)).astype(np.int16)
    return Volume(image, geometry, name=f"scan-{seed}"), Volume(labels[None], geometry)


def sampler(*labels: np.ndarray, **settings: Any) -> LabelledSampler:
    pairs = [labelled(one, i) for i, one in enumerate(labels)]
    config = TargetSampling.parse({"patch": (8, 16, 16)} | settings)
    return LabelledSampler(config, [p[0] for p in pairs], [Scale(0, 100)] * len(pairs), [p[1] for p in pairs])


def blank(fill: int = 0) -> np.ndarray:
    return np.full(SHAPE, fill, np.uint8)


def two_classes() -> np.ndarray:
    labels = blank()
    labels[10:12, 10:30, 10:30] = 1
    labels[20, 35, 35] = 2
    return labels


def drawn(made: LabelledSampler, count: int = 200, **given: Any) -> list[np.ndarray]:
    places = [made.locate(Address(1, step, 0, "test"), **given) for step in range(count)]
    return [made.labels_at(place) for place in places]


def test_a_rare_class_is_seen_as_often_as_a_large_one() -> None:
    seen = drawn(sampler(two_classes(), foreground=1.0, hard=0.0))
    rare = sum(bool((labels == 2).any()) for labels in seen)
    assert 70 <= rare <= 140
    assert all(((labels == 1) | (labels == 2)).any() for labels in seen)


def test_without_oversampling_sub_volumes_lie_anywhere() -> None:
    seen = drawn(sampler(two_classes(), foreground=0.0, hard=0.0))
    assert 20 < sum(not labels.any() for labels in seen) < 180


def test_a_draw_is_a_function_of_its_address() -> None:
    made, again = sampler(two_classes()), sampler(two_classes())
    for step in range(20):
        assert made.locate(Address(3, step)) == again.locate(Address(3, step))


def test_only_places_with_labelled_voxels_are_drawn_from_partial_labels() -> None:
    labels = blank(IGNORE)
    labels[7] = 0
    labels[7, 20:24, 20:24] = 1
    for seen in drawn(sampler(labels, hard=0.0), 100):
        assert (seen != IGNORE).any()


def test_a_single_painted_voxel_can_be_learnt_from() -> None:
    labels = blank(IGNORE)
    labels[5, 6, 7] = 1
    made = sampler(labels)
    places = [made.locate(Address(0, step)) for step in range(50)]
    assert all((made.labels_at(place) == 1).sum() == 1 for place in places)
    assert len({place.start for place in places}) > 10


def test_scans_without_labels_are_named_and_never_drawn() -> None:
    made = sampler(two_classes(), blank(IGNORE))
    assert {made.locate(Address(0, step)).case for step in range(40)} == {0}
    assert any("scan-1: holds no labelled voxel" in sentence for sentence in made.warnings)


def test_nothing_labelled_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match="at least one labelled voxel"):
        sampler(blank(IGNORE))


def test_other_grids_are_refused() -> None:
    volume, _ = labelled(blank())
    _, other = labelled(np.zeros((4, 4, 4), np.uint8))
    with pytest.raises(ConfigError, match="labels on the scan's grid"):
        LabelledSampler(TargetSampling(patch=(8, 8, 8)), [volume], [Scale(0, 1)], [other])


def test_beyond_the_scan_edges_repeat_and_nothing_is_labelled() -> None:
    labels = np.zeros((5, 20, 20), np.uint8)
    made = sampler(labels)
    assert any("smaller than the sub-volume along D" in sentence for sentence in made.warnings)
    place = made.locate(Address(0))
    image, found = made.cut(place)
    assert image.shape == (1, 8, 16, 16)
    assert found.shape == (1, 8, 16, 16)
    assert (found[0, [0, 6, 7]] == IGNORE).all()
    assert (found[0, 1:6] == 0).all()
    np.testing.assert_array_equal(image[0, 0], image[0, 1])


def test_a_larger_cut_has_the_same_centre() -> None:
    made = sampler(two_classes())
    place = Location(0, (8, 10, 10))
    small, large = made.cut(place)[0], made.cut(place, (12, 20, 24))[0]
    np.testing.assert_array_equal(large[:, 2:10, 2:18, 4:20], small)


def test_tiles_cover_all_that_is_labelled() -> None:
    labels = blank(IGNORE)
    labels[3, 2:30, 5:39] = 1
    made = sampler(labels)
    covered = np.zeros(SHAPE, bool)
    for place in made.tiles():
        covered[tuple(slice(s, s + n) for s, n in zip(place.start, made.patch, strict=True))] = True
    assert covered[labels != IGNORE].all()


def test_a_sub_volume_is_fitted_to_the_scans() -> None:
    assert fitting_patch((35, 51, 35), (1, 1, 1), 131_072) == (40, 56, 40)
    thick = fitting_patch((133, 512, 512), (5.0, 0.7, 0.7), 131_072)
    assert np.prod(thick) <= 131_072
    assert thick[0] == 16
    assert thick[1] == thick[2] >= 64


def test_hard_places_are_drawn_from_later_than_they_are_found() -> None:
    found = with_places([], 10, [[0, 5, 6, 7]])
    assert places_at(found, 10 + AHEAD - 1) == []
    assert places_at(found, 10 + AHEAD) == [[0, 5, 6, 7]]
    later = with_places(found, 40, [[0, 1, 1, 1]])
    assert places_at(later, 40 + AHEAD - 1) == [[0, 5, 6, 7]]
    assert places_at(later, 40 + AHEAD) == [[0, 1, 1, 1]]
    assert len(with_places(later, 80, [])) == 2


def test_a_share_of_draws_lies_around_hard_places() -> None:
    made = sampler(blank(), hard=0.5, foreground=0.0, jitter=0.0)
    places = [made.locate(Address(0, step), hard=[[0, 12, 20, 20]]) for step in range(100)]
    around = sum(place.start == (8, 12, 12) for place in places)
    assert 30 < around < 70


def test_errors_are_shared_out_between_classes_and_skip_what_nobody_labelled() -> None:
    labels = np.zeros((4, 4, 4), np.int64)
    labels[0], labels[1, 0, 0] = IGNORE, 2
    predicted = np.ones_like(labels)
    places = errors_of(predicted, labels, Location(3, (10, 20, 30)), np.random.default_rng(0))
    assert {place[0] for place in places} == {3}
    assert [3, 11, 20, 30] in places
    assert all(place[1] > 10 for place in places)
    assert errors_of(labels, labels, Location(0, (0, 0, 0)), np.random.default_rng(0)) == []
