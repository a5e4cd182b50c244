"""Evaluation of folders: pairing by name, tables that hold the figures, what is refused or said."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.errors import ConfigError, GenesisError, GeometryError, ScanError
from genesis3d.events import Event, Finished, Warned
from genesis3d.io import write_volume
from genesis3d.labels import LabelClass
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation
from genesis3d.workflows.evaluate_pairs import label_pairs

GRID = Geometry((8, 10, 12), (2.0, 1.0, 1.0))


def labels(first: tuple[int, int], second: tuple[int, int] = (0, 0), grid: Geometry = GRID) -> Volume:
    """Return label 1 on slices ``first`` and label 2 on slices ``second``, of rows 2 to 8."""
    data = np.zeros((1, *grid.shape), np.uint8)
    data[0, first[0] : first[1], 2:8, 2:8] = 1
    data[0, second[0] : second[1], 2:8, 2:8] = 2
    return Volume(data, grid)


def folders(path: Path, pairs: dict[str, tuple[Volume, Volume]]) -> tuple[str, str]:
    for side, name in enumerate(("predictions", "references")):
        (path / name).mkdir(parents=True)
        for case, pair in pairs.items():
            write_volume(pair[side], path / name / f"{case}.nii.gz")
    return str(path / "predictions"), str(path / "references")


def evaluated(**values: Any) -> tuple[list[Event], dict[str, Any]]:
    events = list(evaluate_segmentation(EvaluateSegmentationConfig.parse(values)))
    assert isinstance(events[-1], Finished)
    return events, events[-1].result


def test_folders_give_rows_summary_files_and_a_plot(tmp_path: Path) -> None:
    predictions, references = folders(
        tmp_path,
        {"a": (labels((1, 3), (4, 6)), labels((1, 3), (4, 6))), "b": (labels((1, 2), (4, 6)), labels((1, 3), (4, 5)))},
    )
    out = tmp_path / "out"
    _, result = evaluated(predictions=predictions, references=references, out_dir=str(out))
    assert sorted(path.name for path in out.iterdir()) == ["cases.csv", "cases.png", "evaluation.json", "summary.csv"]
    rows = {(row["case"], row["class"]): row for row in result["rows"]}
    assert rows["a", "label 1"]["dice"] == 1.0
    assert rows["b", "label 1"]["dice"] == pytest.approx(2 / 3)
    assert rows["b", "label 1"]["hd95_mm"] == pytest.approx(2.0)
    assert rows["b", "label 2"]["volume_error_ml"] == pytest.approx(36 * 2 / 1000)
    assert rows["b", "all classes"]["dice"] == pytest.approx(2 / 3)
    mean = next(one for one in result["summary"] if (one["class"], one["figure"]) == ("all classes", "dice"))
    assert (mean["n"], mean["mean"]) == (2, pytest.approx(5 / 6))
    with (out / "cases.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == ["label 1", "label 2", "all classes"] * 2
    assert float(table[3]["dice"]) == pytest.approx(2 / 3)
    stored = json.loads((out / "evaluation.json").read_text())
    assert stored["summary"] == result["summary"]
    assert (out / "cases.png").read_bytes().startswith(b"\x89PNG")


def test_a_structure_absent_from_both_is_left_out_of_means_and_counted(tmp_path: Path) -> None:
    predictions, references = folders(
        tmp_path, {"a": (labels((1, 3)), labels((1, 3))), "b": (labels((1, 3), (4, 6)), labels((1, 3), (4, 6)))}
    )
    _, result = evaluated(predictions=predictions, references=references)
    second = next(one for one in result["summary"] if (one["class"], one["figure"]) == ("label 2", "dice"))
    assert (second["n"], second["left_out"], second["mean"]) == (1, 1, 1.0)
    row = next(row for row in result["rows"] if (row["case"], row["class"]) == ("a", "label 2"))
    assert row["dice"] is None


def test_a_value_that_only_predictions_hold_is_no_class(tmp_path: Path) -> None:
    predictions, references = folders(tmp_path, {"a": (labels((1, 3), (4, 6)), labels((1, 3)))})
    events, result = evaluated(predictions=predictions, references=references)
    assert {row["class"] for row in result["rows"]} == {"label 1"}
    assert any(isinstance(event, Warned) and "label 2: no reference holds it" in event.message for event in events)


def test_declared_classes_are_kept_and_named(tmp_path: Path) -> None:
    predictions, references = folders(tmp_path, {"a": (labels((1, 3), (4, 6)), labels((1, 3)))})
    liver = LabelClass(value=2, name="liver")
    events, result = evaluated(predictions=predictions, references=references, classes=[liver])
    assert [(row["class"], row["dice"]) for row in result["rows"]] == [("liver", 0.0)]
    assert any(isinstance(event, Warned) and "the values 1 are none" in event.message for event in events)


def test_grids_that_differ_are_refused_or_resampled_with_a_word(tmp_path: Path) -> None:
    coarse = Geometry((4, 10, 12), (4.0, 1.0, 1.0), (1.0, 0.0, 0.0))
    predictions, references = folders(tmp_path, {"a": (labels((1, 2), grid=coarse), labels((2, 4)))})
    with pytest.raises(GeometryError, match="expected the grid of its reference"):
        evaluated(predictions=predictions, references=references)
    events, result = evaluated(predictions=predictions, references=references, resample=True)
    assert result["rows"][0]["dice"] == 1.0
    assert any(isinstance(event, Warned) and "was put onto the reference's" in event.message for event in events)


def test_one_bad_case_of_several_is_named_and_counted(tmp_path: Path) -> None:
    elsewhere = Geometry(GRID.shape, GRID.spacing, (500.0, 0.0, 0.0))
    predictions, references = folders(
        tmp_path, {"a": (labels((1, 3)), labels((1, 3))), "b": (labels((1, 3), grid=elsewhere), labels((1, 3)))}
    )
    events, result = evaluated(predictions=predictions, references=references)
    assert (result["cases"], result["failed"]) == (1, ["b"])
    assert any(isinstance(event, Warned) and event.message.startswith("b is left out") for event in events)


def test_turned_files_are_compared_in_space(tmp_path: Path) -> None:
    turned = labels((1, 3))
    flipped = Geometry(GRID.shape, GRID.spacing, (14.0, 0.0, 0.0), ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    write_volume(Volume(turned.data[:, ::-1], flipped), tmp_path / "prediction.nii.gz")
    write_volume(turned, tmp_path / "reference.nii.gz")
    _, result = evaluated(
        predictions=str(tmp_path / "prediction.nii.gz"), references=str(tmp_path / "reference.nii.gz")
    )
    assert result["rows"][0]["dice"] == 1.0


def test_predictions_are_found_by_name(tmp_path: Path) -> None:
    for name in (
        "p/case-1_seg.nii.gz",
        "p/case-10.nrrd",
        "p/other.mha",
        "r/case-1.nii",
        "r/case-10.nii",
        "r/alone.nii",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    pairs, said = label_pairs(tmp_path / "p", tmp_path / "r")
    assert [(pair.name, pair.prediction.name) for pair in pairs] == [
        ("case-1", "case-1_seg.nii.gz"),
        ("case-10", "case-10.nrrd"),
    ]
    assert said == [
        "alone: no prediction is called so; the case counts nowhere",
        "other: a prediction without a reference is passed over",
    ]


def test_what_cannot_be_compared_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "r.nii").touch()
    refused: list[tuple[dict[str, str], type[GenesisError], str]] = [
        ({"predictions": "nowhere", "references": str(tmp_path)}, ScanError, "found nothing there"),
        ({"predictions": str(tmp_path / "p"), "references": str(tmp_path / "r.nii")}, ConfigError, "two files or two"),
        ({"predictions": str(tmp_path / "p"), "references": str(tmp_path)}, ScanError, "called as the references"),
        ({"predictions": str(tmp_path / "p")}, ConfigError, "expected predictions and references"),
    ]
    for values, error, sentence in refused:
        with pytest.raises(error, match=sentence):
            evaluated(**values)


def test_stopping_writes_nothing(tmp_path: Path) -> None:
    predictions, references = folders(tmp_path, {"a": (labels((1, 3)), labels((1, 3)))})
    config = EvaluateSegmentationConfig(predictions=predictions, references=references, out_dir=str(tmp_path / "out"))
    events = list(evaluate_segmentation(config, lambda: "stop"))
    assert events[-1] == Finished(cancelled=True)
    assert list((tmp_path / "out").iterdir()) == []
