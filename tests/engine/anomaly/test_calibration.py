"""A calibration finds the location and spread that healthy scores were made with, and says what it does not know."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genesis3d.anomaly.base import RECIPES
from genesis3d.anomaly.calibration import Calibration, calibrated_card, calibration_of, fit_calibration
from genesis3d.anomaly.calibration_fit import CHAIN, LEAST, Fitting, fill_sparse
from genesis3d.errors import ConfigError, DomainError, ModelError
from genesis3d.networks.card import ModelCard
from genesis3d.networks.describe import card_rows
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume


def build(
    data: np.ndarray, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0), name: str = "made", unit: str | None = "HU"
) -> Any:
    """Return a scene of ``data`` with two boxes as lungs, 1 left and 2 right, five voxels from the border."""
    geometry = Geometry(data.shape, spacing, (0.0, 0.0, 0.0))
    lungs = np.zeros(data.shape, np.uint8)
    middle = data.shape[2] // 2
    lungs[2:-2, 5:-5, 5 : middle - 2] = 2
    lungs[2:-2, 5:-5, middle + 2 : -5] = 1
    scan = Volume(data[None].astype(np.float32), geometry, "CT" if unit else None, unit, name)
    return SimpleNamespace(scan=scan, lungs=Volume(lungs[None], geometry, name=f"{name} lungs"), model=None)


def score_of(of: Any, score: np.ndarray, restored: np.ndarray | None = None) -> Any:
    """Return ``score`` inside the lungs of a scene, 0 elsewhere."""
    inside = of.lungs.data[0] > 0
    volume = of.scan.with_data(np.where(inside, score, 0).astype(np.float32)[None])
    back = None if restored is None else of.scan.with_data(restored.astype(np.float32)[None])
    return SimpleNamespace(score=volume, restored=back, difference=None, probability=None)


def layered(seed: int, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0), name: str | None = None) -> Any:
    """Return a scene and a score whose location and spread depend on the restored level alone, which is layered.

    Below -800 HU the score is normal with mean 10 and spread 5, above with mean 40 and spread 20.
    """
    rng = np.random.default_rng(seed)
    shape = (16, 60, 64)
    level = np.where(np.arange(60)[None, :, None] < 30, -880.0, -700.0) + np.zeros(shape)
    made = build(level, spacing, name or f"made {seed}")
    normal = rng.standard_normal(shape)
    score = np.where(level < -800, 10 + 5 * normal, 40 + 20 * normal)
    return made, score_of(made, score, level), normal


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return fit_calibration([layered(seed)[:2] for seed in range(4)], "difference")


def test_z_of_another_healthy_scan_is_standard_normal(fitted: Calibration) -> None:
    scene, scored, normal = layered(77)
    z = fitted.z(scene, scored)
    inside = scene.lungs.data[0] > 0
    for half in (slice(7, 26), slice(34, 53)):
        part = z.data[0][:, half][inside[:, half]]
        assert abs(np.median(part)) < 0.05
        assert 0.93 < part.std() < 1.03
        assert np.corrcoef(part, normal[:, half][inside[:, half]])[0, 1] > 0.995
    assert (z.data[0][~inside] == 0).all()
    assert z.data.dtype == np.float32
    assert z.geometry == scene.scan.geometry


def test_without_calibration_by_place_the_denser_half_would_look_ill(fitted: Calibration) -> None:
    scene, scored, _ = layered(78)
    inside = scene.lungs.data[0] > 0
    score, z = scored.score.data[0], fitted.z(scene, scored).data[0]
    dense = np.arange(60)[None, :, None] >= 30
    hot = score >= np.quantile(score[inside], 0.99)
    assert (hot & inside & dense).sum() / (hot & inside).sum() > 0.99
    hot = z >= np.quantile(z[inside], 0.99)
    assert 0.4 < (hot & inside & dense).sum() / (hot & inside).sum() < 0.6


def test_z_rises_with_the_score_and_p_falls(fitted: Calibration) -> None:
    scene, scored, _ = layered(79)
    more = score_of(scene, scored.score.data[0] + 30, scored.restored.data[0])
    low, high = fitted.z(scene, scored), fitted.z(scene, more)
    inside = scene.lungs.data > 0
    assert (high.data[inside] > low.data[inside]).all()
    p, less = fitted.p(low), fitted.p(high)
    assert (less.data[inside] <= p.data[inside]).all()
    assert less.data[inside].min() > 0
    assert p.data[inside].max() <= 1
    assert (p.data[~inside] == 1).all()
    for level in (0.5, 0.1, 0.01):  # a p is the share of healthy lung with as high a z
        assert (p.data[inside] <= level).mean() == pytest.approx(level, rel=0.2)


def test_flag_rate_and_threshold_invert_each_other_and_hold_on_another_scan(fitted: Calibration) -> None:
    for share in (0.2, 0.05, 0.01, 0.001):
        assert fitted.flag_rate(fitted.threshold(share)) == pytest.approx(share, rel=1e-6)
    scene, scored, _ = layered(80)
    inside = scene.lungs.data > 0
    flagged = (scored.score.data[inside] >= fitted.threshold(0.02)).mean()
    assert flagged == pytest.approx(0.02, rel=0.25)


def test_the_threshold_for_most_scans_is_that_of_the_scan_of_its_rank() -> None:
    found = fit_calibration([_uniform(top) for top in (10, 20, 30, 40)], "hu")
    assert found.threshold_for(0.1, of_scans=0.95) == pytest.approx(36, rel=0.03)  # too few for .95: the highest
    assert found.threshold_for(0.1, of_scans=0.6) == pytest.approx(27, rel=0.03)  # rank ceil(5 x .6) = 3
    assert found.threshold_for(0.1, of_scans=0.2) == pytest.approx(9, rel=0.03)
    shares = found.shares(35.0)
    assert shares[:3] == [0, 0, 0]
    assert shares[3] == pytest.approx(1 / 8, rel=0.1)


def test_the_p_of_a_scan_is_its_rank_among_healthy_ones() -> None:
    found = fit_calibration([_uniform(top) for top in (10, 20, 30, 40)], "hu")
    assert found.smallest_p == pytest.approx(0.2)
    assert found.scan_p(*_uniform(90), 15.0) == pytest.approx(1 / 5)  # more flagged than any healthy scan
    assert found.scan_p(*_uniform(25), 15.0) == pytest.approx(3 / 5)
    assert found.scan_p(*_uniform(1), 15.0) == 1


def test_healthy_scans_count_at_the_thickness_closest_to_the_scan() -> None:
    fitting = Fitting("hu")
    fitting.add(*_uniform(100, (2.0, 2.0, 2.0)), "a")
    fitting.add(*_uniform(20, (6.0, 2.0, 2.0)), "a")
    found = fitting.done()
    assert found.scans == 1
    assert found.thickness_mm == (2, 6)
    thick, thin = (_uniform(50, (mm, 2.0, 2.0))[0] for mm in (5.0, 2.5))
    assert found.flag_rate(10, thick) == pytest.approx(0.5, abs=0.01)
    assert found.flag_rate(10, thin) == pytest.approx(0.9, abs=0.01)
    assert found.flag_rate(10) == pytest.approx(0.7, abs=0.02)
    assert found.threshold(0.25, thin) == pytest.approx(75, abs=2)
    assert found.flag_rate(found.threshold(0.01, thick), thick) == pytest.approx(0.01)
    assert found.scan_p(*_uniform(50, (5.0, 2.0, 2.0)), 30.0) == pytest.approx(1 / 2)
    assert found.scan_p(*_uniform(50, (2.5, 2.0, 2.0)), 30.0) == 1
    assert found.bins.thickness == (4.0,)


def test_a_thickness_between_or_beyond_takes_the_closest_group_and_beyond_is_said() -> None:
    fitting = Fitting("difference")
    for seed in range(3):
        for spacing in ((2.5, 2.0, 2.0), (6.0, 2.0, 2.0)):
            scene, scored, _ = layered(seed, spacing)
            fitting.add(scene, scored, str(seed))
    found = fitting.done()
    for own, message in ((2.5, None), (4.0, None), (6.4, None), (7.5, "slices of 7.5 mm lie outside the 2.5 to 6 mm")):
        scene, scored, _ = layered(9, (own, 2.0, 2.0))
        said = found.doubts(scene)[:-1]  # the last one: so few scans
        assert len(said) == (message is not None)
        assert message is None or message in said[0]
        z = found.z(scene, scored)
        assert abs(np.median(z.data[scene.lungs.data > 0])) < 0.1


def test_few_scans_and_another_unit_are_said(fitted: Calibration) -> None:
    scene, _, _ = layered(3)
    (few,) = fitted.doubts(scene)
    assert "4 healthy scans only" in few
    assert "below 0.2" in few
    plain = build(np.zeros((16, 60, 64)), unit=None)
    assert any("calibrated on HU, this scan has values without a unit" in text for text in fitted.doubts(plain))


def test_other_settings_of_the_recipe_are_said() -> None:
    fitting = Fitting("difference", RECIPES.parse("difference").to_dict())
    scene, scored = _uniform(10)
    fitting.add(scene, scored, "a")
    found = fitting.done()
    assert len(found.doubts(scene, RECIPES.parse("difference"))) == 1
    said = found.doubts(scene, RECIPES.parse({"name": "difference", "sides": "signed"}))
    assert said[0] == "the recipe difference was calibrated with other settings: sides one-sided"


def test_parts_left_out_count_neither_way() -> None:
    scene, scored = _uniform(10)
    ill = np.zeros(scene.scan.geometry.shape, bool)
    ill[5:10, 10:20, 10:20] = True
    score = np.where(ill, 500.0, scored.score.data[0])
    fitting, clean = Fitting("hu"), Fitting("hu")
    fitting.add(scene, score_of(scene, score), "a", ill)
    clean.add(scene, scored, "a", ill)
    assert fitting.done() == clean.done()
    with pytest.raises(DomainError, match="expected healthy lung"):
        fitting.add(scene, scored, "b", np.ones_like(ill))


def test_dense_scans_are_measured() -> None:
    scene, scored, _ = layered(1)
    scene.scan.data[0, :, 45:] = -300
    fitting = Fitting("difference")
    fitting.add(scene, scored, "a")
    assert fitting.done().healthy_scans[0].dense_percent == pytest.approx(20, abs=1.5)


def test_no_scans_or_mixed_ones_are_refused() -> None:
    with pytest.raises(DomainError, match="at least one healthy scan"):
        fit_calibration([])
    plain = build(np.random.default_rng(0).random((16, 60, 64)), unit=None)
    with pytest.raises(DomainError, match="of one kind"):
        fit_calibration([_uniform(3), (plain, score_of(plain, plain.scan.data[0]))])


def test_a_score_that_is_zero_everywhere_can_be_calibrated() -> None:
    scene, _ = _uniform(3)
    nothing = score_of(scene, np.zeros(scene.scan.geometry.shape))
    found = fit_calibration([(scene, nothing)], "difference")
    assert found.flag_rate(1.0) == 0
    z = found.z(scene, nothing)
    assert (z.data == 0).all()
    assert (found.p(z).data == 1).all()


def test_sparse_bins_take_their_parents_figures() -> None:
    """Bin, then without depth, then without gradient, then without thickness, then everything."""
    assert CHAIN == ((0, 1, 2, 3), (0, 1, 3), (0, 3), (0,), ())
    keys, subjects = [], []

    def put(key: tuple[int, int, int, int], count: int, scans: int = 2) -> None:
        keys.extend([key] * count)
        subjects.extend([n % scans for n in range(count)])

    put((0, 0, 0, 0), LEAST)  # enough of its own
    put((0, 0, 1, 0), LEAST - 1)  # with (0, 0, 0, 0) enough at this level and gradient
    put((0, 1, 0, 0), 3)  # enough at this level and thickness
    put((1, 0, 0, 0), 10)
    put((1, 0, 0, 1), LEAST)  # the level is enough over both thicknesses
    put((2, 0, 0, 1), 5)  # nothing but everything
    put((0, 0, 0, 1), 10 * LEAST, scans=1)  # many voxels, but of one scan where two have this thickness
    source = fill_sparse(np.array(keys), np.array(subjects), (3, 2, 2, 2), np.array([2, 2])).reshape(3, 2, 2, 2)
    assert source[0, 0, 0, 0] == 0
    assert source[0, 0, 1, 0] == 1
    assert source[0, 1, 0, 0] == 2
    assert source[0, 1, 1, 0] == 2
    assert source[1, 0, 0, 0] == 3
    assert source[1, 0, 0, 1] == 0
    assert (source[2] == 4).all()
    assert source[0, 0, 0, 1] == 3
    alone = fill_sparse(np.array(keys), np.array(subjects), (3, 2, 2, 2), np.array([2, 1])).reshape(3, 2, 2, 2)
    assert alone[0, 0, 0, 1] == 0  # one scan is enough where only one has this thickness


def test_sparse_bins_of_a_fit_have_finite_figures(fitted: Calibration) -> None:
    assert {"0", "1"} <= set(fitted.source)
    assert np.isfinite(fitted.location).all()
    assert min(fitted.spread) > 0


def test_a_calibration_goes_through_a_card_and_is_small(fitted: Calibration) -> None:
    card = ModelCard(network=UNet3d(width=4))
    assert calibration_of(card, "difference") is None
    kept = ModelCard.parse(json.loads(json.dumps(calibrated_card(card, {"difference": fitted}).to_dict())))
    assert calibration_of(kept, "difference") == fitted
    assert calibration_of(kept, "hu") is None
    both = calibrated_card(kept, {"hu": fitted})
    assert set(both.calibration) == {"difference", "hu"}
    assert len(json.dumps(fitted.to_dict())) < 40_000
    assert dict(card_rows(both))["Calibrated"] == "difference on 4 healthy scans, hu on 4 healthy scans"
    assert "made" not in json.dumps(fitted.to_dict())  # no scan's name


def test_a_damaged_calibration_is_one_sentence(fitted: Calibration) -> None:
    card = ModelCard(network=UNet3d(width=4), title="broken")
    for values in ({"recipe": "hu"}, fitted.to_dict() | {"location": [1.0]}):
        with pytest.raises(ModelError, match="model 'broken': calibration of hu"):
            calibration_of(card.replaced(calibration={"hu": values}), "hu")
    with pytest.raises(ConfigError, match="spreads above 0"):
        Calibration.parse(fitted.to_dict() | {"spread": [0.0] * len(fitted.spread)})


def test_a_fit_is_the_same_twice(fitted: Calibration) -> None:
    assert fit_calibration([layered(seed)[:2] for seed in range(4)], "difference") == fitted


def _uniform(top: float, spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)) -> Any:
    """Return a scene whose score is uniform between 0 and ``top``."""
    rng = np.random.default_rng(int(top))
    shape = (16, 60, 64)
    scene = build(np.full(shape, -850.0) + rng.normal(0, 20, shape), spacing, f"made {top}")
    return scene, score_of(scene, rng.uniform(0, top, shape))
