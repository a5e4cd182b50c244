"""Classification through the fine-tuning workflow and its command: from scratch, from a model, as a linear probe."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.data.classified import ClassifiedData, load_classified
from genesis3d.events import Failed, Finished, Validated, Warned
from genesis3d.io.write import write_volume
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import ModelCard, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.rundir import RunDir
from genesis3d.training.versions import read_versions
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.finetune import FinetuneConfig, finetune, finetune_preset

SHAPE, BOX = (16, 48, 32), (16, 16, 16)
CASES = 8
TINY: dict[str, Any] = {
    "task": "classification",
    "network": {"name": "unet3d", "width": 4, "decoder": "nearest"},
    "augmentation": "none",
    "averaging": {"decay": 0.5},
    "optimiser": {"lr": 1e-2, "warmup": 2},
    "batch": 4,
    "steps": 30,
    "device": "cpu",
    "precision": "32",
    "threads": 1,
    "seed": 3,
    "validation": {"every": 15},
    "keep": {"samples_every": 100, "every": 100, "seconds": 0},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans with a bright blob in their first box and none in their second; a patient has two of them."""
    folder = tmp_path_factory.mktemp("classified")
    rows = [["path", "class", "start_d", "start_h", "start_w", "patient"]]
    for number in range(CASES):
        rng = np.random.default_rng(number)
        hu = rng.normal(-850, 40, SHAPE)
        z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
        hu += 700 * (((z - 8) ** 2 + (y - 8) ** 2 + (x - rng.integers(6, 11)) ** 2) < 30)
        name = f"scan-{number}.nii.gz"
        geometry = Geometry(SHAPE, (2.0, 1.0, 1.0))
        write_volume(Volume(hu[None].astype(np.int16), geometry, modality="CT", unit="HU", name=name), folder / name)
        rows += [[name, "opacified", 0, 0, 0, number // 2], [name, "healthy", 0, 24, 8, number // 2]]  # type: ignore[list-item]
    path = folder / "targets.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    network, path = UNet3d(width=4), tmp_path_factory.mktemp("model") / "start.safetensors"
    write_model(path, network.build(3), ModelCard(network=network, title="a start", patch=(32, 32, 32)))
    return str(path)


def config(table: Path, **changes: Any) -> FinetuneConfig:
    return FinetuneConfig.parse(
        TINY | {"classified": {"table": str(table), "box": BOX, "split": {"hold_out": 0.25}}} | changes
    )


def test_boxes_are_told_apart_and_the_run_says_how_well(table: Path, tmp_path: Path, model: str) -> None:
    run = RunDir(tmp_path / "run")
    events = list(finetune(config(table, model=model), run.path))
    last = events[-1]
    assert isinstance(last, Finished), last
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any(sentence.endswith("the encoder) are those of a start; the head is new.") for sentence in said)
    figures = [event.metrics for event in events if isinstance(event, Validated)][-1]
    assert figures["accuracy"] == figures["auc"] == 1
    card = read_card(run.path)
    assert card.purpose == "classification"
    assert [one.name for one in card.classes] == ["healthy", "opacified"]
    assert card.network == Classifier(encoder=UNet3d(width=4))
    assert card.patch == BOX
    assert card.data["cases_of_class"] == {"healthy": 6, "opacified": 6}
    assert "classified" not in card.training
    network = read_model(run.path).module
    loaded = load_classified(ClassifiedData(table=str(table), box=BOX))
    assert loaded is not None
    x = torch.from_numpy(loaded.scales[0].to_unit(loaded.volumes[0].data))[None]
    with torch.no_grad():
        assert int(network(x).argmax()) == loaded.targets[0]


def test_a_linear_probe_changes_nothing_but_its_layer(table: Path, tmp_path: Path, model: str) -> None:
    probe = finetune_preset("linear_probe")
    run = RunDir(tmp_path / "run")
    changes = {name: value for name, value in TINY.items() if name not in ("network", "optimiser", "task")}
    settings = probe.to_dict() | changes | {"minutes": None, "model": model, "steps": 10}
    settings["classified"] = {"table": str(table), "box": BOX, "split": {"hold_out": 0.25}}
    assert isinstance(list(finetune(FinetuneConfig.parse(settings), run.path))[-1], Finished)
    theirs, ours = read_model(model).module.state_dict(), read_model(run.path).module.state_dict()
    encoder = [name for name in ours if name.startswith("encoder.")]
    assert all(torch.equal(ours[name], theirs[name.removeprefix("encoder.")]) for name in encoder)
    assert sorted(ours.keys() - set(encoder)) == ["head.0.bias", "head.0.weight"]


def test_a_stopped_run_goes_on_exactly_and_is_trained_on(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "due", lambda self: True)
    short = config(table, steps=6, validation={"every": 3})
    whole, part = RunDir(tmp_path / "whole"), RunDir(tmp_path / "part")
    list(finetune(short, whole.path))
    asked = [0]

    def stop() -> Any:
        asked[0] += 1
        return "run" if asked[0] <= 2 * CASES + 3 else "stop"

    stopped = list(finetune(short, part.path, control=stop))[-1]
    assert isinstance(stopped, Finished)
    assert stopped.cancelled
    list(finetune(None, part.path, resume=True))
    first, second = (read_state(run.resume_path)["weights_sha256"] for run in (whole, part))
    assert first == second
    again = list(finetune(config(table, steps=2), part.path, resume=True))
    assert isinstance(again[-1], Finished), again[-1]
    (kept,) = read_versions(part)
    assert 0 <= kept["figures"]["accuracy"] <= 1


def test_the_command_fine_tunes_and_probes(table: Path, tmp_path: Path, model: str) -> None:
    shared = ["--device", "cpu", "--precision", "32", "--augmentation", "none", "--set", "classified.box=[16,16,16]"]
    small = ["--task", "classification", "--steps", "2", "--set", f"network={json.dumps(TINY['network'])}"]
    probe = ["--preset", "linear_probe", "--model", model, "--steps", "2"]
    for name, options in (("tuned", small), ("probed", probe)):
        run = tmp_path / name
        done = CliRunner().invoke(build_app(), ["finetune", str(table), "--run-dir", str(run), *options, *shared])
        assert done.exit_code == 0, done.output
        assert read_card(run).purpose == "classification"
    wrong = ["finetune", str(table), "--run-dir", str(tmp_path / "other"), *small, *shared, "--unlabelled", "slices"]
    done = CliRunner().invoke(build_app(), wrong)
    assert done.exit_code != 0
    assert not (tmp_path / "other").exists()


def test_a_classification_without_cases_is_one_sentence(tmp_path: Path) -> None:
    failed = list(finetune(FinetuneConfig.parse(TINY), tmp_path / "run"))[-1]
    assert isinstance(failed, Failed)
    assert failed.message == "data: expected a table or a folder of classes, got neither"
