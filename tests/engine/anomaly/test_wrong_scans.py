"""Scans and masks that are not what a map expects: one clear sentence, or a correction that is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.anomaly.careful import Careful
from genesis3d.anomaly.checks import checked_scan
from genesis3d.errors import ConfigError, DomainError, GenesisError, GeometryError, ModelError
from genesis3d.events import Warned
from genesis3d.intensity import Percentile
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.anomaly import AnomalySettings, anomaly_volume, with_lungs


def mapped(kit: Any, scan: Volume, lungs: Volume | None, needs: str = "opacity", **changes: Any) -> Any:
    model = changes.pop("model", None) or kit.loaded(needs)
    source = changes.pop("lungs_from", "auto")
    settings = AnomalySettings(**({"device": "cpu", "precision": "32"} | changes))
    return kit.ended(anomaly_volume(scan, model, settings, lungs, source))


def test_padding_metal_and_gaps_are_mended_and_said(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    whole = mapped(kit, scan, lungs)
    data = scan.data.astype(np.float32)
    data[:, :, :2] = -2048
    data[:, -2:, -2:, -2:] = 30_000
    data[0, 0, 0, 30:32] = np.nan
    before = data.copy()
    result = mapped(kit, scan.with_data(data), lungs)
    said = " ".join(result.warnings)
    assert "Values down to -2048 HU are padding and count as -1024 HU." in said
    assert "Values up to 30000 HU are metal" in said
    assert "2 voxels have no value (NaN)" in said
    np.testing.assert_array_equal(data, before)
    assert np.isfinite(result.score.data).all()
    far = result.score.data[:, :, 8:] - whole.score.data[:, :, 8:]
    assert np.abs(far).max() < 1e-4
    assert result.scan.data.min() == -1024
    plain, notes = checked_scan(scan)
    assert plain is scan
    assert notes == ()


def test_values_that_are_no_hounsfield_units_are_refused(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    picture = scan.with_data(np.clip((scan.data.astype(float) + 1000) / 1200 * 255, 0, 255).astype(np.uint8))
    with pytest.raises(DomainError, match=r"chest: expected a CT in HU, got values of 0 to 2.. with none below 0"):
        mapped(kit, picture, lungs)
    with pytest.raises(DomainError, match="got none \\(all are NaN\\)"):
        mapped(kit, scan.with_data(np.full(scan.data.shape, np.nan, np.float32)), lungs)


def test_mr_given_to_a_ct_model(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    head = replace(scan, unit=None, modality="MR", name="head")
    for needs in ("opacity", "restoration"):
        with pytest.raises(DomainError, match="head: expected a CT in HU, on which the model was trained, got MR"):
            mapped(kit, head, lungs, needs)


def test_no_lungs_in_view(kit: Any) -> None:
    scan, _, _ = kit.chest_volume()
    solid = scan.with_data(np.clip(scan.data, -100, None))
    with pytest.raises(DomainError, match=r"chest: .*lungs"):
        mapped(kit, solid, None)
    with pytest.raises(ConfigError, match="lungs: expected auto, classical, network, body"):
        mapped(kit, scan, None, lungs_from="elsewhere")


def test_masks_of_another_grid_empty_or_of_no_lung(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    with pytest.raises(GeometryError, match="expected a mask on the grid of chest"):
        mapped(kit, scan, lungs.crop((0, 0, 0), (24, 36, 40)))
    with pytest.raises(DomainError, match="got one without any voxel"):
        mapped(kit, scan, lungs.with_data(np.zeros_like(lungs.data)))
    liver = lungs.with_data(np.zeros_like(lungs.data))
    liver.data[0, 8:16, 14:20, 22:26] = 1
    result = mapped(kit, scan, liver)
    assert any("it hardly marks lungs" in text for text in result.warnings)


@pytest.mark.parametrize("thickness", [1.0, 6.0, 9.0])
def test_thin_and_thick_slices_are_mapped(kit: Any, thickness: float) -> None:
    scan, lungs, opacity = kit.chest_volume()
    spacing = (thickness, 2.5, 2.5)
    wide = [replace(one, geometry=Geometry(one.geometry.shape, spacing)) for one in (scan, lungs)]
    result = mapped(kit, *wide)
    inside = lungs.data[0] > 0
    assert result.score.data[0][opacity & inside].mean() > 2 * result.score.data[0][inside & ~opacity].mean()


def test_a_coarse_map_comes_first(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    thin = [replace(one, geometry=Geometry(one.geometry.shape, (2.0, 2.5, 2.5))) for one in (scan, lungs)]
    came: list[Any] = []
    work = anomaly_volume(
        thin[0], kit.loaded("opacity"), AnomalySettings(device="cpu", precision="32"), thin[1], coarse=came.append
    )
    steps = 0
    for event in work:
        steps += event.kind == "stepped" and not came
    assert len(came) == 1
    assert came[0].geometry.matches(thin[0].geometry)
    assert came[0].data.any()
    assert not came[0].data[thin[1].data == 0].any()


def test_a_recipe_and_a_model_that_do_not_fit(kit: Any) -> None:
    scan, lungs, _ = kit.chest_volume()
    with pytest.raises(ModelError, match="recipe 'opacity': expected a model for it, one trained to find opacity, got "
                       "'restored', a restoration model"):  # fmt: skip
        mapped(kit, scan, lungs, "restoration", recipe="opacity")
    with pytest.raises(ModelError, match="recipe 'difference': expected a model, one that restores scans, got none"):
        kit.ended(anomaly_volume(scan, None, AnomalySettings(recipe="difference"), lungs))
    with pytest.raises(ConfigError, match=r"recipe: expected one of .*hu.*, got 'believe'"):
        AnomalySettings.parse({"recipe": "believe"})
    alone = kit.ended(anomaly_volume(scan, None, AnomalySettings(), lungs))
    assert alone.recipe.name == "hu"
    assert alone.card is None
    assert alone.restored is None
    assert alone.threshold == 100
    np.testing.assert_array_equal(alone.score.data, alone.baseline.data)


def test_mr_by_configuration_alone(kit: Any) -> None:
    """A brain with a bright lesion, models of MR on their own grid, the body instead of lungs."""
    d, h, w = np.indices((24, 40, 40))
    head = ((d - 12) / 11) ** 2 + ((h - 20) / 17) ** 2 + ((w - 20) / 17) ** 2 <= 1
    lesion = (d - 12) ** 2 + (h - 16) ** 2 + (w - 26) ** 2 <= 9
    data = np.random.default_rng(1).normal(0, 4, (24, 40, 40)) + 300 * head + 250 * lesion
    flair = Volume(data.astype(np.float32)[None], Geometry((24, 40, 40), (3.0, 1.5, 1.5)), "MR", None, "flair")
    for needs, recipe in (("restoration", "difference"), ("opacity", "opacity"), ("opacity", "ensemble")):
        changes = {"intensity": Percentile(high=100), "modality": "MR"}
        changes |= {"working_spacing": (3.0, 1.5, 1.5)} if needs == "opacity" else {}
        result = mapped(kit, flair, None, model=kit.loaded(needs, **changes), recipe=recipe, lungs_from="body",
                        rim_mm=9.0)  # fmt: skip
        inside = result.lungs.data[0] > 0
        assert inside[lesion].all()
        assert inside.mean() < 0.6
        score = result.score.data[0]
        assert score[lesion].mean() > 3 * score[inside & ~lesion].mean(), recipe
        assert result.baseline is None
        assert result.threshold > 0
    with pytest.raises(GenesisError, match="CT in HU"):
        mapped(kit, flair, None, model=kit.loaded("restoration", intensity=Percentile(), modality="MR"))


def test_edited_lungs_change_score_regions_and_baseline(kit: Any) -> None:
    scan, lungs, opacity = kit.chest_volume()
    result = mapped(kit, scan, lungs, rim_mm=0.0, threshold=0.2, least_ml=0.01)
    right = lungs.with_data(np.where(lungs.data == 2, lungs.data, 0))
    after = with_lungs(result, right)
    assert after.lungs_from == "layer"
    assert not after.score.data[0][opacity].any()
    assert not after.baseline.data[right.data == 0].any()
    assert len(after.regions) < len(result.regions) or not result.regions
    back = with_lungs(after, lungs)
    np.testing.assert_array_equal(back.score.data, result.score.data)


class Small:
    """A predictor that holds two windows in half precision, and one on the CPU at last."""

    def __init__(self, device: str, most: int) -> None:
        import torch

        self.device, self.precision, self.most = torch.device(device), "32", most

    def __call__(self, windows: np.ndarray) -> np.ndarray:
        if len(windows) > self.most or self.precision == "32":
            raise MemoryError
        return windows + 1


def test_out_of_memory_is_no_end(kit: Any) -> None:
    careful = Careful(kit.loaded("restoration"), Small("cpu", 2))  # type: ignore[arg-type]
    windows = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1, 1)
    np.testing.assert_array_equal(careful(windows), windows + 1)
    assert [text.partition("on with ")[2].partition(";")[0] for text in careful.said] == [
        "3 window(s) at a time", "1 window(s) at a time", "half precision",
    ]  # fmt: skip
    with pytest.raises(ModelError):
        Careful(kit.loaded("restoration"), Small("cpu", 0))(windows)  # type: ignore[arg-type]


def test_stepping_down_is_said_in_a_map(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis3d.inference.predictor import Predictor

    scan, lungs, _ = kit.chest_volume()
    real, failed = Predictor.__call__, []

    def once(self: Predictor, windows: np.ndarray) -> np.ndarray:
        if len(windows) > 1 and not failed:
            failed.append(len(windows))
            raise MemoryError
        return real(self, windows)

    monkeypatch.setattr(Predictor, "__call__", once)
    model = kit.loaded("opacity")
    work = anomaly_volume(scan, model, AnomalySettings(device="cpu", precision="32", batch=4), lungs)
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            result = end.value
            break
    assert any(isinstance(e, Warned) and "going on with 2 window(s) at a time" in e.message for e in events)
    monkeypatch.undo()
    np.testing.assert_allclose(result.score.data, mapped(kit, scan, lungs).score.data, atol=1e-6)


@pytest.mark.real
def test_an_abdomen_gets_a_clear_word(kit: Any, real_data: Path) -> None:
    from genesis3d.io import read_volume

    paths = sorted((real_data / "open/abdomen_ct").rglob("*.nii.gz"))
    scan = next(read_volume(path) for path in paths if "mask" not in path.name and "liver" not in path.name)
    assert "lung" in said_of(kit, scan)


def said_of(kit: Any, scan: Volume) -> str:
    try:
        return " ".join(mapped(kit, scan, None, recipe="hu").warnings)
    except DomainError as error:
        return str(error)
