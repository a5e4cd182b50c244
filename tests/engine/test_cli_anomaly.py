"""The commands restore and anomaly: options become settings, events become lines, errors one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.errors import ConfigError
from genesis3d.events import read_event
from genesis3d.io import write_volume
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("cli")
    network = UNet3d(width=2, norm="none")
    write_model(folder / "m.safetensors", network.build(0), ModelCard(network=network, patch=(16, 16, 16)))
    hu = np.random.default_rng(0).integers(-1000, 300, (1, 20, 20, 20)).astype(np.int16)
    scan = Volume(hu, Geometry((20, 20, 20), (2.0, 1.0, 1.0)), "CT", "HU", "scan")
    write_volume(scan, folder / "scan.nii.gz")
    lungs = np.zeros((1, 20, 20, 20), np.uint8)
    lungs[:, 4:16, 4:16, 4:16] = 1
    write_volume(scan.with_data(lungs), folder / "lungs.nii.gz")
    return {name: str(folder / name) for name in ("scan.nii.gz", "m.safetensors", "lungs.nii.gz")}


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(build_app(), list(arguments))
    return result.exit_code, result.stdout, result.exception


def test_anomaly_as_json(inputs: dict[str, str], tmp_path: Path) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text("overlap: 0.5\nsmooth: 0\nthreshold: 10\n")
    code, text, _ = run(
        "anomaly", inputs["scan.nii.gz"], "--model", inputs["m.safetensors"], "--out-dir", str(tmp_path / "out"),
        "--lungs", inputs["lungs.nii.gz"], "--threshold", "40", "--device", "cpu", "--config", str(settings),
        "--set", "least_ml=0.001", "--json",
    )  # fmt: skip
    assert code == 0
    events = [read_event(line) for line in text.splitlines()]
    assert None not in events
    assert next(e.kind for e in events if e) == "started"
    assert events[-1] is not None
    assert events[-1].kind == "finished"
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    used = report["settings"]
    assert (used["overlap"], used["smooth"], used["threshold"], used["least_ml"]) == (0.5, 0, 40, 0.001)
    assert report["lungs_from"] == "file"


OWN = '''
from genesis3d.anomaly.base import RECIPES, Recipe, Scored

@RECIPES.register("darker")
class Darker(Recipe):
    """What is darker than a level."""

    label = "Darker"
    level: float = -950.0

    def found(self, scene, control):
        yield from ()
        score = (self.level - scene.scan.data).clip(0) * (scene.lungs.data > 0)
        return Scored(scene.scan.with_data(score.astype("float32")))

    def fixed_threshold(self, scene):
        return 1.0
'''


def test_recipes_by_name_settings_and_file(
    inputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis3d.anomaly.base import RECIPES

    code, text, _ = run("recipes")
    assert code == 0
    assert all(f"{name}: " in text for name in ("hu", "difference", "sweep", "iterative", "opacity", "ensemble"))
    code, text, _ = run("recipes", "sweep")
    assert "blocks_mm = (16.0, 32.0): sides of the blocks" in text
    given = ("anomaly", inputs["scan.nii.gz"], "--lungs", inputs["lungs.nii.gz"], "--json")
    code, _, _ = run(*given, "--out-dir", str(tmp_path / "hu"), "--recipe", "hu", "--set", "recipe.level=-600")
    assert code == 0
    report = json.loads((tmp_path / "hu/report.json").read_text())
    assert report["recipe"]["level"] == -600
    assert report["model"] is None
    assert report["threshold"] == {"value": 100.0, "unit": "HU"}
    assert set(report["files"]) == {path.name for path in (tmp_path / "hu").iterdir()}
    assert "restored.nii.gz" not in report["files"]
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setattr(RECIPES, "_classes", dict(RECIPES._classes))
    code, _, _ = run(*given, "--out-dir", str(tmp_path / "own"), "--plugin", str(tmp_path / "own.py"), "--recipe",
                     "darker", "--set", "recipe.level=-900")  # fmt: skip
    assert code == 0
    assert json.loads((tmp_path / "own/report.json").read_text())["recipe"] == {"name": "darker", "level": -900}
    code, _, error = run(*given, "--out-dir", str(tmp_path / "none"), "--recipe", "opacity")
    assert "recipe 'opacity': expected a model, one trained to find opacity, got none" in str(error)


def test_restore_with_progress(inputs: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "restored.nii.gz"
    code, text, _ = run("restore", inputs["scan.nii.gz"], "--model", inputs["m.safetensors"], "--out", str(out))
    assert code == 0
    assert out.is_file()
    assert str(out) in text


def test_mistakes(inputs: dict[str, str], tmp_path: Path) -> None:
    given = ("anomaly", inputs["scan.nii.gz"], "--model", inputs["m.safetensors"], "--out-dir", str(tmp_path))
    code, _, error = run(*given, "--overlap", "2")
    assert code != 0
    assert isinstance(error, ConfigError)
    assert "overlap" in str(error)
    code, _, error = run(*given, "--set", "speed=9")
    assert isinstance(error, ConfigError)
    assert "speed" in str(error)
    code, _, error = run(*given, "--config", str(tmp_path / "none.yaml"))
    assert isinstance(error, ConfigError)
    assert "expected a YAML file" in str(error)
    code, _, error = run("restore", *given[1:4], "--out", str(tmp_path / "out.png"))
    assert "expected a name ending in .nii.gz" in str(error)
