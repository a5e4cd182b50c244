"""Models judged on labelled scans: segmentation through the segment workflow, classification of boxes and tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Finished
from genesis3d.intensity import Window
from genesis3d.io import write_volume
from genesis3d.labels import LabelClass
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
from genesis3d.workflows.evaluate_classification import EvaluateClassificationConfig, evaluate_classification
from genesis3d.workflows.evaluate_model import index_of
from genesis3d.workflows.evaluate_scores import table_scores

GRID = Geometry((16, 16, 16))
BODY = UNet3d(width=2, norm="instance", decoder="nearest")


def bright(number: int, high: bool = True) -> tuple[Volume, Volume]:
    """Return a scan that is bright (1) on some slices, dark (0) elsewhere, and labels 4 where it is bright."""
    inside = np.zeros((1, *GRID.shape), np.uint8)
    inside[0, 4 : 9 + number] = 1
    values = (inside if high else inside * 0).astype(np.float32)
    return Volume(values, GRID), Volume(inside * 4, GRID)


@pytest.fixture
def segmenter(tmp_path: Path) -> str:
    """A network whose head ignores its input and always says the second class: Dice follows by hand."""
    import torch

    network = BODY.replaced(out_channels=2)
    module = network.build(0)
    with torch.no_grad():
        for parameter in [p for name, p in module.named_parameters() if name.startswith(network.parts.head)]:
            parameter.zero_()
            if parameter.ndim == 1:
                parameter[1] = 2.0
    classes = (LabelClass(value=0, name="background"), LabelClass(value=4, name="bright"))
    card = ModelCard(
        network=network, task={"name": "segmentation"}, activation="softmax", classes=classes,
        intensity=Window(low=0, high=1), patch=(16, 16, 16),
    )  # fmt: skip
    write_model(tmp_path / "segmenter.safetensors", module, card)
    return str(tmp_path / "segmenter.safetensors")


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for number in range(3):
        scan, labels = bright(number)
        write_volume(scan, tmp_path / "data" / "images" / f"case-{number}.nii.gz")
        write_volume(labels, tmp_path / "data" / "labels" / f"case-{number}.nii.gz")
    return tmp_path / "data"


def test_a_model_is_applied_and_judged(segmenter: str, scans: Path) -> None:
    config = EvaluateSegmentationConfig.parse(
        {"model": segmenter, "data": {"images": [str(scans)]}, "distances": False,
         "segment": {"device": "cpu", "precision": "32", "probabilities": True}}
    )  # fmt: skip
    last = list(evaluate_segmentation(config))[-1]
    assert isinstance(last, Finished)
    rows = {row["case"]: row for row in last.result["rows"]}
    for number in range(3):
        share = (5 + number) / 16
        assert rows[f"case-{number}"]["class"] == "bright"
        assert rows[f"case-{number}"]["dice"] == pytest.approx(2 * share / (1 + share))
        # a probability of .88 everywhere: eight thresholds out of ten see the whole scan, two nothing
        assert rows[f"case-{number}"]["mean_iou"] == pytest.approx(0.8 * share)


def test_the_command_takes_scans_and_labels_with_a_model(segmenter: str, scans: Path) -> None:
    given = ["evaluate", "segmentation", str(scans / "images"), str(scans / "labels"), "--model", segmenter]
    given += ["--part", "held_out", "--device", "cpu", "--set", "data.split.hold_out=0.4", "--json"]
    result = CliRunner().invoke(build_app(), given)
    assert result.exit_code == 0, result.output
    last = json.loads(result.output.strip().splitlines()[-1])
    assert last["result"]["cases"] == 1


def test_classes_that_the_model_does_not_know_are_refused(segmenter: str, scans: Path) -> None:
    config = EvaluateSegmentationConfig.parse(
        {"model": segmenter, "data": {"images": [str(scans)], "classes": [{"value": 9, "name": "liver"}]}}
    )
    with pytest.raises(ConfigError, match=r"expected those of the model \(bright\), got liver"):
        list(evaluate_segmentation(config))


def test_classes_go_by_name_else_by_value() -> None:
    back = LabelClass(value=0, name="background")
    theirs = (back, LabelClass(value=4, name="Liver"), LabelClass(value=300, name="cyst"))
    by_name = index_of(theirs, (back, LabelClass(value=1, name="cyst"), LabelClass(value=2, name="liver")))
    assert (by_name[300], by_name[4], by_name[1]) == (1, 2, 0)
    by_value = index_of(theirs, (back, LabelClass(value=4, name="label 4")))
    assert (by_value[4], by_value[300]) == (1, 0)


@pytest.mark.parametrize("part", ["predictions", "model"])
def test_half_a_way_is_refused(part: str) -> None:
    with pytest.raises(ConfigError, match="expected predictions and references, or a model and data"):
        EvaluateSegmentationConfig.parse({part: "x"})


def classified(tmp_path: Path) -> tuple[str, str]:
    """Write a classifier that tells the two scans apart, the scans, and a table of their classes."""
    import torch

    network = Classifier(encoder=BODY.replaced(norm="batch"), head="linear", out_channels=2)
    module: Any = network.build(0)
    module.eval()
    classes = (LabelClass(value=0, name="dark"), LabelClass(value=1, name="bright"))
    card = ModelCard(
        network=network, task={"name": "classification"}, activation="softmax", classes=classes,
        intensity=Window(low=0, high=1), patch=(16, 16, 16),
    )  # fmt: skip
    with torch.no_grad():
        features = [
            module.encode(torch.from_numpy(bright(2, high)[0].data[None]))[-1].mean(dim=(2, 3, 4))[0]
            for high in (False, True)
        ]
        module.head[0].weight.zero_()
        weight = (features[1] - features[0]) / (features[1] - features[0]).square().sum()
        module.head[0].weight[1] = weight
        module.head[0].bias[0], module.head[0].bias[1] = 0, -(weight * (features[0] + features[1])).sum() / 2
    write_model(tmp_path / "classifier.safetensors", module, card)
    rows = []
    for number in range(3):
        for high, name in ((False, "dark"), (True, "bright")):
            write_volume(bright(number, high)[0], tmp_path / f"{name}-{number}.nii.gz")
            rows.append([f"{name}-{number}.nii.gz", name])
    with (tmp_path / "targets.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "class"], *rows])
    return str(tmp_path / "classifier.safetensors"), str(tmp_path / "targets.csv")


def test_a_classifier_is_applied_and_judged(tmp_path: Path) -> None:
    model, table = classified(tmp_path)
    given = [
        "evaluate",
        "classification",
        table,
        "--model",
        model,
        "--device",
        "cpu",
        "--out-dir",
        str(tmp_path / "out"),
    ]
    result = CliRunner().invoke(build_app(), given)
    assert result.exit_code == 0, result.output
    assert "auc" in result.output
    stored = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    figures = {(row["class"], row["figure"]): row["value"] for row in stored["summary"]}
    assert figures["bright", "auc"] == 1.0
    assert figures["overall", "n"] == 6
    assert (tmp_path / "out" / "roc.png").read_bytes().startswith(b"\x89PNG")


def test_a_segmentation_model_classifies_nothing(segmenter: str, tmp_path: Path) -> None:
    table = classified(tmp_path)[1]
    config = EvaluateClassificationConfig.parse({"model": segmenter, "data": {"table": table}})
    with pytest.raises(ModelError, match="expected a classification model, got one for segmentation"):
        list(evaluate_classification(config))


def test_tables_of_scores(tmp_path: Path) -> None:
    def written(*lines: str) -> Path:
        (tmp_path / "scores.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "scores.csv"

    one = table_scores(written("case,target,score", "a,healthy,0.2", "b,sick,0.9"))
    assert (one.names, one.classes, one.targets.tolist()) == (("a", "b"), ("healthy", "sick"), [0, 1])
    several = table_scores(written("target,x,y,z", "z,0.1,0.2,0.7", "x,0.6,0.3,0.1"))
    assert (several.classes, several.targets.tolist()) == (("x", "y", "z"), [2, 0])
    for lines, sentence in (
        (("a,b", "1,2"), "the column target"),
        (("target,score", "a,0.1", "b,0.2", "c,0.3"), "two different targets"),
        (("target,x,y", "w,0.1,0.2"), "one for each target"),
        (("target,score", "a,0.1", "b,much"), "line 3: expected a number"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            table_scores(written(*lines))


def test_scores_have_intervals_over_cases(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 60)
    scores = np.clip(0.3 * targets + rng.random(60) * 0.7, 0, 1)
    lines = ["target,score", *(f"{t},{s:.4f}" for t, s in zip(targets, scores, strict=True))]
    (tmp_path / "scores.csv").write_text("\n".join(lines))
    last = list(evaluate_classification(EvaluateClassificationConfig(scores=str(tmp_path / "scores.csv"))))[-1]
    assert isinstance(last, Finished)
    row: dict[str, Any] = next(r for r in last.result["summary"] if (r["class"], r["figure"]) == ("1", "auc"))
    assert row["low"] < row["value"] < row["high"]
    assert 0.05 < row["high"] - row["low"] < 0.4
