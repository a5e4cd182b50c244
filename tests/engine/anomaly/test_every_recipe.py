"""What every recipe must do, whatever it is: the registered ones are found by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from genesis3d.anomaly.base import RECIPES, Scored
from genesis3d.errors import DomainError, ModelError
from genesis3d.events import Started, Stepped
from genesis3d.registry import Named
from genesis3d.volume import Geometry, Volume

NAMES = RECIPES.names()
TURN = np.radians(12.0)
OBLIQUE = ((1.0, 0.0, 0.0), (0.0, np.cos(TURN), -np.sin(TURN)), (0.0, np.sin(TURN), np.cos(TURN)))


def model_for(kit: Any, name: str, make: str = "loaded", **changes: Any) -> Any:
    needs = RECIPES.get(name).needs
    return None if needs == "nothing" else getattr(kit, make)(needs, **changes)


def scored(kit: Any, name: str, scan: Volume, lungs: Volume, model: Any, **changes: Any) -> Scored:
    scene = kit.Scene(scan.canonical(), lungs.canonical(), model, kit.running(), **changes)
    return kit.ended(kit.recipe_of(name).score(scene))


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is(name: str) -> None:
    recipe = RECIPES.get(name)
    assert issubclass(recipe, Named)
    assert recipe.label
    assert recipe.needs in ("nothing", "restoration", "opacity")
    assert recipe.unit in ("HU", "probability")
    assert (recipe.__doc__ or "").strip()
    for field in recipe.model_fields.values():
        assert field.description
    assert RECIPES.parse(recipe().to_dict()) == recipe()


@pytest.mark.parametrize("name", NAMES)
def test_the_score_finds_the_opacity_on_the_scans_grid(kit: Any, name: str) -> None:
    scan, lungs, opacity = kit.chest_volume()
    before = scan.data.copy(), lungs.data.copy()
    result = scored(kit, name, scan, lungs, model_for(kit, name))
    score = result.score
    assert score.data.dtype == np.float32
    assert score.data.shape == (1, *scan.geometry.shape)
    assert score.geometry.matches(scan.geometry)
    assert np.isfinite(score.data).all()
    assert (score.data >= 0).all()
    assert not score.data[lungs.data == 0].any()
    inside = lungs.data[0] > 0
    healthy = inside & (np.indices(inside.shape)[2] < 24)  # the other lung
    assert score.data[0][opacity & inside].mean() > score.data[0][healthy].mean()
    for volume in (result.restored, result.difference, result.probability):
        assert volume is None or volume.geometry.matches(scan.geometry)
        assert volume is None or volume.data.dtype == np.float32
    np.testing.assert_array_equal(scan.data, before[0])
    np.testing.assert_array_equal(lungs.data, before[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-860, 40])
def test_a_constant_scan_scores_zero(kit: Any, name: str, value: int) -> None:
    scan, lungs, _ = kit.chest_volume()
    plain = scan.with_data(np.full_like(scan.data, value))
    result = scored(kit, name, plain, lungs, model_for(kit, name, "untrained"))
    assert not result.score.data.any()


@pytest.mark.parametrize("name", [name for name in NAMES if RECIPES.get(name).needs != "nothing"])
def test_what_hardly_changes_scores_next_to_nothing(kit: Any, name: str) -> None:
    """Not for the rule of constant scans: a model that restores a constant leaves nothing of one with one odd voxel."""
    scan, lungs, _ = kit.chest_volume()
    data = np.full_like(scan.data, -860)
    data[0, 0, 0, 0] = -859
    result = scored(kit, name, scan.with_data(data), lungs, model_for(kit, name))
    most = 0.05 if RECIPES.get(name).unit == "probability" else 1.0  # the small model's logit of nothing is -3
    assert result.score.data.max() < most


@pytest.mark.parametrize("name", NAMES)
def test_it_follows_flips_permutations_and_oblique_grids(kit: Any, name: str) -> None:
    scan, lungs, _ = kit.chest_volume()
    model = model_for(kit, name)
    straight = scored(kit, name, scan, lungs, model).score
    turned = [turn(volume) for volume in (scan, lungs)]
    other = scored(kit, name, *turned, model).score
    assert other.geometry.matches(scan.geometry, 1e-3)
    np.testing.assert_allclose(other.data, straight.data, atol=tolerance(name))
    assert other.as_source().geometry.matches(turned[0].geometry)
    tilted = [replace(v, geometry=replace(v.geometry, direction=OBLIQUE)) for v in (scan, lungs)]
    result = scored(kit, name, *tilted, model).score
    assert result.geometry.matches(tilted[0].geometry)
    assert result.data.any()


def turn(volume: Volume) -> Volume:
    """The same scan stored feet last, mirrored, with other axes first."""
    data = volume.data[:, ::-1].transpose(0, 2, 3, 1)
    shape = data.shape[1:]
    corner = tuple(float(v) for v in volume.geometry.to_world((volume.geometry.shape[0] - 1, 0, 0)))
    spacing = volume.geometry.spacing
    direction = ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    geometry = Geometry(shape, (spacing[1], spacing[2], spacing[0]), corner, direction)
    return replace(volume, data=np.ascontiguousarray(data), geometry=geometry)


def tolerance(name: str) -> float:
    return 1e-3 if RECIPES.get(name).unit == "probability" else 1.0  # scores in HU are whole


@pytest.mark.parametrize("name", NAMES)
def test_a_crop_of_the_scan_gives_the_crop_of_the_map(kit: Any, name: str) -> None:
    """Away from borders: the working grid and the windows stand in space, so that both see the same.

    The scan is cut above and at one side, and both maps look at the same lungs, 20 mm from the cut.  The tolerance is
    that of float32 sums in another order (scores in HU are rounded to whole ones: one).
    """
    scan, lungs, _ = kit.chest_volume()
    inner = lungs.with_data(lungs.data.copy())
    inner.data[:, 14:] = 0
    inner.data[..., :24] = 0
    model = model_for(kit, name, "untrained", patch=(8, 16, 16))
    whole = scored(kit, name, scan, inner, model).score
    start, shape = (0, 0, 6), (24 - 3, 36, 48 - 6)
    crop = scored(kit, name, scan.crop(start, shape), inner.crop(start, shape), model).score
    there = whole.crop(start, shape)
    assert there.data.any()
    np.testing.assert_allclose(crop.data, there.data, atol=tolerance(name))


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_the_same_twice(kit: Any, name: str) -> None:
    scan, lungs, _ = kit.chest_volume()
    model = model_for(kit, name)
    one, two = (scored(kit, name, scan, lungs, model).score.data for _ in range(2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("after", [0, 3])
def test_it_stops_within_a_window(kit: Any, name: str, after: int) -> None:
    scan, lungs, _ = kit.chest_volume()
    model = model_for(kit, name)
    asked: list[int] = []

    def control() -> str:
        asked.append(0 if model is None else model.module.calls)
        return "stop" if len(asked) > after else "run"

    scene = kit.Scene(scan, lungs, model, kit.running())
    result = kit.ended(kit.recipe_of(name).score(scene, control))
    if model is None and after:
        assert result is not None  # it has but one step
        return
    assert result is None
    if model is not None:
        assert model.module.calls == asked[-1]  # not one window more
        assert model.module.calls <= after


@pytest.mark.parametrize("name", NAMES)
def test_it_begins_and_counts_to_its_end(kit: Any, name: str) -> None:
    scan, lungs, _ = kit.chest_volume()
    scene = kit.Scene(scan, lungs, model_for(kit, name), kit.running())
    events = list(kit.recipe_of(name).score(scene))
    assert isinstance(events[0], Started)
    assert events[0].what == "anomaly"
    steps = [event for event in events if isinstance(event, Stepped)]
    assert steps[-1].step == steps[-1].total == events[0].total
    assert [event.step for event in steps] == sorted(event.step for event in steps)


@pytest.mark.parametrize("name", NAMES)
def test_lungs_that_were_edited(kit: Any, name: str) -> None:
    scan, lungs, _ = kit.chest_volume()
    model = model_for(kit, name)
    scene = kit.Scene(scan, lungs, model, kit.running())
    recipe = kit.recipe_of(name)
    before = kit.ended(recipe.score(scene))
    left = lungs.with_data(np.where(lungs.data == 1, lungs.data, 0))
    after = recipe.rescored(before, replace(scene, lungs=left))
    assert not after.score.data[left.data == 0].any()
    assert after.score.data.any()


@pytest.mark.parametrize("name", NAMES)
def test_models_that_do_not_fit_are_named(kit: Any, name: str) -> None:
    scan, lungs, _ = kit.chest_volume()
    recipe = RECIPES.get(name)()
    scene = kit.Scene(scan, lungs, None, kit.running())
    if recipe.needs == "nothing":
        with pytest.raises(DomainError, match=f"expected a CT in HU for the recipe '{name}', got MR without HU"):
            recipe.check(replace(scan, unit=None, modality="MR"), None)
        return
    with pytest.raises(ModelError, match=f"recipe '{name}': expected a model, .* got none"):
        kit.ended(recipe.score(scene))
    other = kit.loaded("restoration", task={"name": "segmentation"}, title="organs")
    with pytest.raises(ModelError, match=f"recipe '{name}': .* got 'organs', a segmentation model"):
        kit.ended(recipe.score(replace(scene, model=other)))
    if recipe.needs == "opacity":
        plain = kit.loaded("restoration", title="plain genesis")
        with pytest.raises(ModelError, match=f"recipe '{name}': .* find opacity, got 'plain genesis', a restoration"):
            kit.ended(recipe.score(replace(scene, model=plain)))
    with pytest.raises(DomainError, match="expected a CT in HU, on which the model was trained, got MR without HU"):
        recipe.check(replace(scan, unit=None, modality="MR"), kit.card(recipe.needs))
