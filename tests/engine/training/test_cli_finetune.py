from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.errors import ConfigError
from genesis3d.io import write_volume
from genesis3d.networks.library import Library
from genesis3d.networks.model_file import read_card
from genesis3d.training.checkpoint import read_state
from genesis3d.training.live import PREDICTION, ask
from genesis3d.training.rundir import RunDir
from genesis3d.training.versions import read_versions
from genesis3d.volume import Geometry, Volume

SHAPE = (16, 24, 24)
SMALL = ["--preset", "quick", "--device", "cpu", "--threads", "1", "--set", "network.width=4",
         "--set", "sampling.patch=[8,16,16]", "--set", "validation.windows=4", "--set", "validation.every=2",
         "--set", "batch=1"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small scans and their labels, as images/ and labels/."""
    made = tmp_path_factory.mktemp("labelled")
    for name in ("images", "labels"):
        (made / name).mkdir()
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = np.zeros(SHAPE, np.uint8)
        labels[4:10, 5:14, 6:15] = 1
        image = 200.0 * labels + rng.normal(0, 20, SHAPE)
        geometry = Geometry(SHAPE, (2.0, 1.0, 1.0))
        write_volume(Volume(image[None].astype(np.float32), geometry), made / "images" / f"case{seed}.nii.gz")
        write_volume(Volume(labels[None], geometry), made / "labels" / f"case{seed}.nii.gz", labels=True)
    return made


def run(*words: Any) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["finetune", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_a_folder_is_learnt_from_and_the_model_enters_the_library(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    status, output = run(folder, "--run-dir", place, *SMALL, "--steps", 4, "--classes", "1=liver:#AA0000",
                         "--name", "my-liver")  # fmt: skip
    assert status == 0
    assert "dice_liver" in output
    card = read_card(place)
    assert [(one.value, one.name, one.colour) for one in card.classes[1:]] == [(1, "liver", "#aa0000")]
    assert Library().find("my-liver").is_file()
    assert card.data["cases"] == 3

    status, output = run("--run-dir", place, "--resume", "--steps", 2, "--name", "my-liver")
    assert status == 0
    assert read_state(RunDir(place).resume_path)["progress"]["step"] == 6
    assert [item["version"] for item in read_versions(RunDir(place))] == [1]

    status, output = run("--run-dir", place, "--resume")
    assert status == 0
    assert "step 7" not in output


def test_events_as_json_and_a_config_file(folder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    assert run(folder, "--run-dir", first, *SMALL, "--steps", 1)[0] == 0
    status, output = run("--run-dir", tmp_path / "second", "--config", first / "config.json", "--json")
    assert status == 0
    kinds = [json.loads(line)["kind"] for line in output.splitlines() if line.startswith("{")]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"


def test_wrong_words_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    for words, said in [
        (["--steps", 1, "--minutes", 1], "--steps and --minutes"),
        (["--classes", "liver"], "--classes: expected VALUE=NAME"),
        (["--preset", "best"], "expected one of default"),
        (["--augmentation", "more"], "expected one of none, paper, default"),
    ]:
        with pytest.raises(ConfigError, match=said):
            run(folder, "--run-dir", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_images_without_labels_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    status, output = run(folder / "images", "--run-dir", tmp_path / "run", *SMALL, "--steps", 1)
    assert status == 2
    assert "labels" in output


def write(path: Path, data: np.ndarray, spacing: tuple[float, float, float] = (2.0, 1.0, 1.0), **kind: Any) -> None:
    shape = data.shape[-3:]
    write_volume(Volume(data.reshape(-1, *shape), Geometry(shape, spacing)), path, **kind)  # type: ignore[arg-type]


def test_labels_elsewhere_than_the_scan_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    far = Geometry(SHAPE, (2.0, 1.0, 1.0), origin=(900.0, 900.0, 900.0))
    write_volume(Volume(np.ones((1, *SHAPE), np.uint8), far), tmp_path / "far.nii.gz", labels=True)
    status, output = run(folder / "images" / "case0.nii.gz", "--labels", tmp_path / "far.nii.gz",
                         "--run-dir", tmp_path / "run", *SMALL, "--steps", 1)  # fmt: skip
    assert status == 2
    assert "expected its labels to lie over the scan" in output
    assert str(tmp_path) not in output


def test_empty_labels_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "empty.nii.gz", np.zeros(SHAPE, np.uint8), labels=True)
    status, output = run(folder / "images" / "case0.nii.gz", "--labels", tmp_path / "empty.nii.gz",
                         "--run-dir", tmp_path / "run", *SMALL, "--steps", 1)  # fmt: skip
    assert status == 2
    assert "labelled" in output


def test_a_killed_run_goes_on_and_answers_live(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    words = [sys.executable, "-m", "genesis3d", "finetune", str(folder), "--run-dir", str(place), *SMALL,
             "--steps", "100000", "--set", "keep.seconds=0"]  # fmt: skip
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ.copy())
    try:
        deadline = time.monotonic() + 120
        while not RunDir(place).begun() and time.monotonic() < deadline:
            time.sleep(0.1)
        ask(place, 0, 0, 6)
        while not (place / PREDICTION).is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert (place / PREDICTION).is_file()
    finally:
        child.kill()
        child.wait()
    with np.load(place / PREDICTION) as answer:
        assert set(np.unique(answer["labels"])) <= {0, 1}
    assert RunDir(place).state() == "killed"
    reached = read_state(RunDir(place).resume_path)["progress"]["step"]
    RunDir(place).order("run")
    stored = RunDir(place).config() | {"steps": 2}
    (place / "config.json").write_text(json.dumps(stored))
    assert run("--run-dir", place, "--resume", "--config", place / "config.json")[0] == 0
    assert read_state(RunDir(place).resume_path)["progress"]["step"] == reached + 2


WIDE = {"name": "window", "low": -200, "high": 500}


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of two classes: dark and bright cubes."""
    made = tmp_path_factory.mktemp("classified")
    for name, level in (("healthy", 0.0), ("ill", 300.0)):
        (made / name).mkdir()
        for seed in range(5):
            rng = np.random.default_rng(seed)
            image = rng.normal(0, 60, (16, 16, 16))
            image[4:12, 4:12, 4:12] += level
            write(made / name / f"{name}{seed}.nii.gz", image.astype(np.float32), (1.0, 1.0, 1.0))
    return made


@pytest.mark.parametrize("preset", ["classification", "linear_probe"])
def test_a_classification_is_learnt_by_all_layers_and_by_a_line(preset: str, classes: Path, tmp_path: Path) -> None:
    network = json.dumps({"name": "unet3d", "width": 4})
    model = tmp_path / "genesis.safetensors"
    import torch

    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    body = UNet3d(width=4)
    module, draw = body.build(0), torch.Generator().manual_seed(0)
    with torch.no_grad():  # an encoder of untrained statistics tells nothing apart
        for _ in range(30):
            module(torch.rand(4, 1, 16, 16, 16, generator=draw) * torch.rand(4, 1, 1, 1, 1, generator=draw))
    write_model(model, module, ModelCard(network=body, task={"name": "restoration"}, intensity=WIDE))  # type: ignore[arg-type]
    status, output = run(
        classes, "--task", "classification", "--preset", preset, "--model", model, "--run-dir", tmp_path / "run",
        "--steps", 30, "--device", "cpu", "--precision", "32", "--threads", 1, "--set", f"network.encoder={network}",
        "--set", "validation.every=15", "--set", "optimiser.lr=0.02",
        "--augmentation", "none", "--set", "classified.split.names=[healthy0,healthy1,ill0,ill1]",
    )  # fmt: skip
    assert status == 0, output
    card = read_card(tmp_path / "run")
    assert card.purpose == "classification"
    assert [one.name for one in card.classes] == ["healthy", "ill"]
    # What an untrained encoder sees is hardly told apart by a line; that all layers can is seen here.
    assert card.metrics["auc"] == 1.0 or preset == "linear_probe"
    assert card.data["cases_of_class"] == {"healthy": 3, "ill": 3}
    from genesis3d.networks.model_file import read_model

    ours = read_model(tmp_path / "run").module.state_dict()
    first = UNet3d(width=4).parts.first
    same = torch.equal(ours[f"encoder.{first}"], read_model(model).module.state_dict()[first])
    assert same == (preset == "linear_probe")


def test_a_classification_takes_no_labels(classes: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected none for a classification"):
        run(classes, "--task", "classification", "--labels", classes, "--run-dir", tmp_path / "run")


def test_a_scan_of_four_dimensions_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    image = sitk.JoinSeries([sitk.GetImageFromArray(np.zeros(SHAPE, np.float32)) for _ in range(3)])
    sitk.WriteImage(image, str(tmp_path / "four.nii.gz"))
    status, output = run(tmp_path / "four.nii.gz", "--labels", folder / "labels" / "case0.nii.gz",
                         "--run-dir", tmp_path / "run", *SMALL, "--steps", 1)  # fmt: skip
    assert status == 2
    assert "expected" in output.splitlines()[-1]
