"""``genesis3d calibrate``: healthy scans and a model in, the model with its calibrations out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.anomaly.base import Scene
from genesis3d.anomaly.calibration import calibration_of
from genesis3d.cli import build_app
from genesis3d.errors import ConfigError, DomainError, GenesisError, ModelError, ScanError
from genesis3d.events import Finished, Saved, Started, Stepped, Warned
from genesis3d.io import write_volume
from genesis3d.networks.model_file import ModelCard, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.calibrate import calibrate
from genesis3d.workflows.calibrate_config import CalibrateConfig
from genesis3d.workflows.calibrate_scans import at_thicknesses

NETWORK = UNet3d(width=2, norm="none")
PLAIN = {"name": "hu", "median": False, "vessel_mm": 0, "tube_mm": 0}
SHAPE, SPACING = (40, 44, 60), (4.0, 4.0, 4.0)


def chest(seed: int, dense: float = 0.0) -> tuple[Volume, Volume]:
    """Two lungs of -860 HU with noise in a body, a share of them at -400 HU; and the lungs, 2 right and 1 left."""
    d, h, w = np.indices(SHAPE)
    rng = np.random.default_rng(seed)
    hu = np.full(SHAPE, -1000.0)
    hu[((h - 22) / 19) ** 2 + ((w - 30) / 27) ** 2 <= 1] = 40
    lungs = np.zeros(SHAPE, np.uint8)
    for side, centre in ((2, 17), (1, 43)):
        lungs[((d - 20) / 17) ** 2 + ((h - 22) / 13) ** 2 + ((w - centre) / 9) ** 2 <= 1] = side
    hu[lungs > 0] = -860
    hu[(lungs > 0) & (h > np.quantile(h[lungs > 0], 1 - dense))] = -400 if dense else -860
    hu += rng.normal(0, 25, SHAPE)
    geometry = Geometry(SHAPE, SPACING, (-100.0, 20.0, 3.0))
    return Volume(hu.astype(np.int16)[None], geometry, "CT", "HU", "chest"), Volume(lungs[None], geometry)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scans, their lungs, a model; scan c is denser, and a nodule is marked in scan a."""
    folder = tmp_path_factory.mktemp("healthy")
    for name in ("scans", "lungs", "nodules"):
        (folder / name).mkdir()
    for seed, name in enumerate("abc"):
        scan, lungs = chest(seed, 0.3 if name == "c" else 0)
        write_volume(scan, folder / "scans" / f"{name}.nii.gz")
        write_volume(lungs, folder / "lungs" / f"{name}_lungs.nii.gz")
    nodule = np.zeros(SHAPE, np.uint8)
    nodule[18:22, 20:24, 15:19] = 1
    write_volume(lungs.with_data(nodule), folder / "nodules" / "a.nii.gz")
    card = ModelCard(network=NETWORK, patch=(16, 16, 16), title="tiny")
    write_model(folder / "model.safetensors", NETWORK.build(0), card)
    return folder


def config(files: Path, path: Path, **changes: Any) -> CalibrateConfig:
    values = {"scans": (str(files / "scans"),), "model": str(files / "model.safetensors"), "out": str(path),
              "lungs": str(files / "lungs"), "device": "cpu", "precision": "32", "thicknesses": (6.0,),
              "recipes": (PLAIN,)}  # fmt: skip
    return CalibrateConfig.parse(values | changes)


def test_a_model_is_written_with_the_calibration_of_each_recipe(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated.safetensors"
    events = list(calibrate(config(files, out, recipes=())))
    assert isinstance(events[0], Started)
    assert events[0].total == 3
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps if "hu_flagged_percent" in event.metrics] == [1, 2, 3]
    assert any(event.metrics.get("windows", 0) > 1 for event in steps)
    assert [event.path for event in events if isinstance(event, Saved)] == [str(out)]
    assert isinstance(events[-1], Finished)
    assert events[-1].result["scans"] == 3
    card = read_card(out)
    assert set(card.calibration) == {"difference", "hu"}
    assert card.replaced(calibration={}) == read_card(files / "model.safetensors")
    found = calibration_of(card, "difference")
    assert found is not None
    assert found.scans == 3
    assert found.thickness_mm == (4.0, 6.0)
    assert found.settings["name"] == "difference"
    before, after = read_model(files / "model.safetensors").module, read_model(out).module
    assert all((a == b).all() for a, b in zip(before.parameters(), after.parameters(), strict=True))
    assert out.stat().st_size < (files / "model.safetensors").stat().st_size + 80_000
    text = json.dumps(card.calibration)
    assert str(files) not in text
    assert "nii" not in text


def test_dense_scans_are_named_or_left_out(files: Path, tmp_path: Path) -> None:
    events = list(calibrate(config(files, tmp_path / "a.safetensors")))
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any(text.startswith("c: ") and "is it healthy?" in text for text in said)
    events = list(calibrate(config(files, tmp_path / "b.safetensors", leave_out_dense=10)))
    assert any("left out" in event.message for event in events if isinstance(event, Warned))
    found = calibration_of(read_card(tmp_path / "b.safetensors"), "hu")
    assert found is not None
    assert found.scans == 2


def test_what_is_marked_as_ill_does_not_count(files: Path, tmp_path: Path) -> None:
    events = list(calibrate(config(files, tmp_path / "a.safetensors", exclude=str(files / "nodules"))))
    said = [event.message for event in events if isinstance(event, Warned)]
    assert sum("all of it counts as healthy" in text for text in said) == 2
    assert read_card(tmp_path / "a.safetensors").calibration
    wrong = config(files, tmp_path / "a.safetensors", exclude=str(files / "nodules" / "a.nii.gz"))
    with pytest.raises(DomainError, match="none of those given"):
        list(calibrate(wrong))


def test_stopped_nothing_is_written(files: Path, tmp_path: Path) -> None:
    orders = iter(["run", "run", "stop"])
    events = list(calibrate(config(files, tmp_path / "a.safetensors"), lambda: next(orders, "stop")))
    assert events[-1] == Finished(cancelled=True)
    assert list(tmp_path.iterdir()) == []


def test_a_scan_that_cannot_be_used_is_named_and_the_others_go_on(files: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.nii.gz"
    broken.write_bytes(b"no scan")
    scans = (str(broken), str(files / "scans" / "a.nii.gz"))
    events = list(calibrate(config(files, tmp_path / "a.safetensors", scans=scans)))
    assert any(event.message.startswith("broken is left out") for event in events if isinstance(event, Warned))
    with pytest.raises(DomainError, match="none of those given can be used"):
        list(calibrate(config(files, tmp_path / "b.safetensors", scans=scans[:1])))
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"out": "x.onnx"}, ScanError, "ending in .safetensors"),
        ({"out": "/no/such/folder/x.safetensors"}, ScanError, "folder does not exist"),
        ({"model": "nothing-there"}, ModelError, "found nothing there"),
        ({"recipes": ("guess",)}, ConfigError, "recipe: expected one of"),
        ({"scans": ("nothing-there",)}, ScanError, "at least one scan"),
        ({"thicknesses": (-1.0,)}, ConfigError, "greater than 0"),
    ],
)
def test_wrong_settings_are_one_sentence(
    files: Path, tmp_path: Path, changes: dict[str, Any], error: type[GenesisError], message: str
) -> None:
    with pytest.raises(error, match=message):
        list(calibrate(config(files, tmp_path / "a.safetensors", **changes)))
    assert list(tmp_path.iterdir()) == []


def test_thin_slices_are_averaged_and_thick_ones_stay() -> None:
    scan, lungs = chest(0)
    scan = Volume(scan.data, Geometry(SHAPE, (1.0, 0.8, 0.8)), "CT", "HU", "thin")
    scene = Scene(scan, Volume(lungs.data, scan.geometry))
    made = list(at_thicknesses(scene, lungs.data[0] == 1, (3.0, 5.0, 1.2)))
    assert [item.thickness for item in made] == [1, 3, 5]
    for item in made:
        inside = item.scene.lungs.data[0]
        assert item.scene.scan.geometry.spacing == (item.thickness, 0.8, 0.8)
        assert set(np.unique(inside)) == {0, 1, 2}
        left = item.exclude
        assert left is not None
        assert left.shape == inside.shape
        assert (left[inside == 1]).all()
        volume = (inside > 0).sum() * item.thickness
        assert volume == pytest.approx((lungs.data > 0).sum(), rel=0.05)
        values = item.scene.scan.data[0][inside == 2]
        assert np.median(values) == pytest.approx(-860, abs=20)
    noise = [item.scene.scan.data[0][20 // round(item.thickness), 18:26, 15:20].std() for item in made]
    assert noise[2] < 0.7 * noise[0]


def test_the_command(files: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated.safetensors"
    arguments = ["calibrate", str(files / "scans" / "a.nii.gz"), "--model", str(files / "model.safetensors"),
                 "--recipe", "hu", "--lungs", str(files / "lungs"), "--thickness", "5", "--out", str(out),
                 "--device", "cpu", "--json"]  # fmt: skip
    result = CliRunner().invoke(build_app(), arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert json.loads(result.stdout.splitlines()[-1])["result"]["smallest_p_of_a_scan"] == 0.5
    assert set(read_card(out).calibration) == {"hu"}
