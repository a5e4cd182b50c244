"""Lungs by rules and by the network that ships, healthy and ill, and what is said where no lungs can be found."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from genesis3d.data.anatomy import Grid, Thorax
from genesis3d.data.phantoms import thorax
from genesis3d.errors import ConfigError, DomainError, ModelError
from genesis3d.io.itk_filters.body import BODY
from genesis3d.io.itk_filters.lung_doubts import LEFT, RIGHT, disagreement
from genesis3d.io.itk_filters.lung_union import united
from genesis3d.networks import library
from genesis3d.networks.library import Library
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.lungs import MODEL, find_lungs

SHAPE = (64, 96, 96)
LEVELS = np.arange(SHAPE[0])[:, None, None]


@cache
def phantom() -> tuple[Volume, np.ndarray]:
    """The thorax phantom, and its true lungs (D, H, W): 1 left, 2 right."""
    scan = thorax(SHAPE)
    body = Thorax(Grid(SHAPE, scan.geometry.spacing), Address(0, path="thorax"))
    left = np.arange(SHAPE[2]) >= SHAPE[2] / 2
    return scan, np.where(np.broadcast_to(body.lungs, SHAPE) > 0, np.where(left, LEFT, RIGHT), 0)


def painted(ill: np.ndarray, hu: float) -> Volume:
    """The phantom with tissue of ``hu`` where ``ill``."""
    scan, _ = phantom()
    data = scan.data.copy()
    data[0][ill] = hu + np.random.default_rng(0).normal(0, 14, int(ill.sum()))
    return scan.with_data(data)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_healthy_lungs_are_found_on_their_sides() -> None:
    scan, lungs = phantom()
    result = find_lungs(scan)
    assert result.warnings == ()
    assert result.mask.geometry == scan.geometry
    for side in (LEFT, RIGHT):
        assert dice(result.mask.data[0] == side, lungs == side) > 0.95
    by_network = find_lungs(scan, "network").mask.data[0]
    for side in (LEFT, RIGHT):
        assert dice(by_network == side, lungs == side) > 0.85


def test_dense_lung_behind_that_rules_miss_is_added() -> None:
    _, lungs = phantom()
    rows = np.nonzero(lungs == RIGHT)[1]
    dense = (lungs == RIGHT) & (np.arange(SHAPE[1])[None, :, None] > np.quantile(rows, 0.7))
    scan = painted(dense, -200)
    by_rules, by_both = (find_lungs(scan, method).mask.data[0] for method in ("classical", "auto"))
    assert (by_rules[dense] > 0).mean() < 0.1
    assert (by_both[dense] == RIGHT).mean() > 0.5
    assert dice(by_both > 0, lungs > 0) > dice(by_rules > 0, lungs > 0)


def test_half_a_lung_of_water_is_said_where_it_is_not_found() -> None:
    _, lungs = phantom()
    heights = np.nonzero(lungs == LEFT)[0]
    said = find_lungs(painted((lungs == LEFT) & (np.median(heights) > LEVELS), 35), "classical").warnings
    assert any("left lung found has" in text and "dense or missing lung is not in the mask" in text for text in said)


def test_the_body_of_any_scan() -> None:
    ball = np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 15
    hollow = ball & ~(np.linalg.norm(np.indices((40, 40, 40)) - 19.5, axis=0) < 4)
    scan = Volume((500.0 * hollow)[None].astype(np.float32), Geometry(ball.shape, (2.0, 2.0, 2.0)), "MR", None, "head")
    mask = find_lungs(scan, "body").mask.data[0]
    assert set(np.unique(mask)) == {0, BODY}
    assert dice(mask > 0, ball) > 0.9  # of 4 mm voxels
    with pytest.raises(DomainError, match="head: expected a patient in the scan, found nothing but background"):
        find_lungs(scan.with_data(np.zeros_like(scan.data)), "body")


def test_what_holds_no_lungs_is_refused_in_one_sentence() -> None:
    scan, lungs = phantom()
    magnetic = Volume(scan.data, scan.geometry, "MR", None, "head")
    for method in ("auto", "classical", "network"):
        with pytest.raises(DomainError, match=r"head: expected a CT in HU .* got MR without HU; give a mask, or look"):
            find_lungs(magnetic, method)
        solid = scan.with_data(np.where(lungs > 0, 40, np.maximum(scan.data[0], -150)).astype(np.int16))
        with pytest.raises(DomainError, match="expected a chest CT, found no lungs"):
            find_lungs(solid.crop((0, 30, 30), (64, 40, 40)), method)
    with pytest.raises(ConfigError, match="lungs: expected auto, classical, network, body, got 'magic'"):
        find_lungs(scan, "magic")  # type: ignore[arg-type]


def test_the_network_stops_when_asked_and_rules_do_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, _ = phantom()
    assert find_lungs(scan, "network", lambda: "stop") is None
    monkeypatch.setattr(library, "SHIPPED", tmp_path)
    np.testing.assert_array_equal(find_lungs(scan).mask.data, find_lungs(scan, "classical").mask.data)
    with pytest.raises(ModelError, match="genesis-lungs"):
        find_lungs(scan, "network")


def test_two_masks_that_differ_are_said() -> None:
    one = np.zeros((4, 10, 10), np.uint8)
    one[:, :, :5] = LEFT
    other = one.copy()
    other[:, :, 5:8] = RIGHT
    assert disagreement(one, one) == []
    assert disagreement(one, other) == [
        "The lungs found by network and by rules overlap by 0.77 only (Dice). Check the mask."
    ]


def test_the_model_that_ships_says_what_it_is() -> None:
    (model,) = (one for one in Library().models() if one.name == MODEL)
    card = model.card
    assert card is not None
    assert model.path.stat().st_size < 2_500_000
    assert [(one.value, one.name) for one in card.classes] == [(0, "background"), (1, "left lung"), (2, "right lung")]
    assert card.purpose == "segmentation"
    assert card.working_spacing is not None
    assert card.limits
    assert card.licence
    assert all("CC BY" in one.licence or "POPI" in one.name for one in card.attribution)
    assert not any("SA" in one.licence for one in card.attribution)


def test_what_is_added_is_thick_and_certain() -> None:
    rules = np.zeros((20, 40, 40), np.uint8)
    rules[5:15, 5:20, 5:15], rules[5:15, 5:20, 25:35] = RIGHT, LEFT
    lung = np.zeros((3, *rules.shape), np.float32)
    lung[RIGHT][4:16, 4:30, 4:16] = 0.9  # a border one voxel wider, and a thick part behind
    lung[LEFT][5:15, 5:30, 25:35] = 0.5
    lung[0] = 1 - lung[LEFT] - lung[RIGHT]
    mask = united(rules, lung, (2.0, 2.0, 2.0))
    assert (mask[7:13, 22:28, 7:13] == RIGHT).all()
    assert (mask[:, 21:, 25:] == 0).all()
    assert not mask[:, :19, :4].any()
    np.testing.assert_array_equal(mask[:, :20, 25:], rules[:, :20, 25:])


@pytest.mark.real
@pytest.mark.parametrize("name", [f"medseg-{n}" for n in (1, 2, 7, 8)])
def test_the_network_loses_nothing_of_real_lesions(real_data: Path, name: str) -> None:
    from genesis3d.io import read_volume

    folder = real_data / "internal" / "covid_lesion_masks"
    lesion = read_volume(folder / f"{name}_lesion.nii.gz").canonical().data[0] > 0
    scan = read_volume(folder / f"{name}.nii.gz")
    by_rules, by_both = (find_lungs(scan, method).mask.data[0][lesion] > 0 for method in ("classical", "auto"))
    assert by_both.mean() >= by_rules.mean() - 0.002
    if by_rules.mean() < 0.9:
        assert by_both.mean() > by_rules.mean() + 0.1
