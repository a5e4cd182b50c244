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
from genesis3d.networks import library
from genesis3d.networks.library import Library
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.lungs import MODEL, Method, find_lungs

SHAPE = (64, 96, 96)


@cache
def phantom() -> tuple[Volume, np.ndarray]:
    """The thorax phantom, and its true lungs (D, H, W): 1 left, 2 right."""
    scan = thorax(SHAPE)
    body = Thorax(Grid(SHAPE, scan.geometry.spacing), Address(0, path="thorax"))
    left = np.arange(SHAPE[2]) >= SHAPE[2] / 2
    return scan, np.where(np.broadcast_to(body.lungs, SHAPE) > 0, np.where(left, LEFT, RIGHT), 0)


def consolidated() -> tuple[Volume, np.ndarray]:
    """The phantom with the lower half of its left lung consolidated, and where that is."""
    _, lungs = phantom()
    heights = np.nonzero(lungs == LEFT)[0]
    ill = (lungs == LEFT) & (np.arange(SHAPE[0])[:, None, None] < np.median(heights))
    return painted(ill), ill


def painted(ill: np.ndarray) -> Volume:
    scan, _ = phantom()
    hu = scan.data.copy()
    hu[0][ill] = 35 + np.random.default_rng(0).normal(0, 14, int(ill.sum()))
    return scan.with_data(hu)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize("method", ["classical", "network"])
def test_healthy_lungs_are_found_on_their_sides(method: Method) -> None:
    scan, lungs = phantom()
    result = find_lungs(scan, method)
    assert result.warnings == ()
    assert result.mask.geometry == scan.geometry
    for side in (LEFT, RIGHT):
        assert dice(result.mask.data[0] == side, lungs == side) > 0.95


def test_the_network_finds_a_consolidated_half_of_a_lung_that_rules_miss() -> None:
    scan, ill = consolidated()
    by_rules, by_both = find_lungs(scan, "classical"), find_lungs(scan)
    assert (by_rules.mask.data[0][ill] > 0).mean() < 0.5
    assert (by_both.mask.data[0][ill] == LEFT).mean() > 0.9
    _, lungs = phantom()
    assert dice(by_both.mask.data[0] > 0, lungs > 0) > 0.95
    assert any("left lung found has" in text for text in by_rules.warnings)
    assert any("by network and by rules" in text for text in by_both.warnings)


def test_an_effusion_behind_is_lung() -> None:
    _, lungs = phantom()
    rows = np.nonzero(lungs == RIGHT)[1]
    fluid = (lungs == RIGHT) & (np.arange(SHAPE[1])[None, :, None] > np.quantile(rows, 0.75))
    mask = find_lungs(painted(fluid)).mask.data[0]
    assert (mask[fluid] == RIGHT).mean() > 0.9


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


@pytest.mark.real
@pytest.mark.parametrize("name", [f"medseg-{n}" for n in (1, 2, 7, 8)])
def test_real_lesions_stay_in_the_lungs(real_data: Path, name: str) -> None:
    from genesis3d.io import read_volume

    folder = real_data / "internal" / "covid_lesion_masks"
    lesion = read_volume(folder / f"{name}_lesion.nii.gz").canonical().data[0] > 0
    mask = find_lungs(read_volume(folder / f"{name}.nii.gz")).mask.data[0]
    assert (mask[lesion] > 0).mean() >= 0.95
