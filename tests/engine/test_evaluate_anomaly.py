"""Evaluation of anomaly maps on phantoms with inserted opacity: files, resuming, failures, healthy scans."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.anomaly.hu import Hounsfield
from genesis3d.cli import build_app
from genesis3d.data.cases import Case
from genesis3d.data.inserted import Insertion, inserted
from genesis3d.data.phantoms import thorax
from genesis3d.errors import ConfigError, ScanError
from genesis3d.events import Event
from genesis3d.io import read_volume, write_volume
from genesis3d.volume import Volume
from genesis3d.workflows.evaluate_anomaly import EvaluateAnomalyConfig, _case, _Task, evaluate_anomaly
from genesis3d.workflows.evaluate_anomaly_cases import AnomalyCase
from genesis3d.workflows.evaluate_anomaly_methods import Method
from genesis3d.workflows.evaluate_anomaly_summary import difference_rows, summary_rows
from genesis3d.workflows.lungs import find_lungs

RECIPES = ["hu", {"name": "hu", "vessel_mm": 0, "tube_mm": 0}]


@pytest.fixture(scope="module")
def phantom() -> tuple[Volume, Volume]:
    scan = thorax((40, 72, 72))
    return scan, find_lungs(scan, "classical").mask


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, phantom: tuple[Volume, Volume]) -> Path:
    """Two scans with opacities, one without, and one that is no scan, beside their masks."""
    made = tmp_path_factory.mktemp("cases")
    scan, lungs = phantom
    for number in (1, 2):
        settings = Insertion(volume_ml=150, contrast=500)
        ill, mask = inserted(scan, lungs, settings, number)
        write_volume(ill, made / f"ill-{number}.nii.gz")
        write_volume(mask, made / f"ill-{number}_lesion.nii.gz", labels=True)
        write_volume(lungs, made / f"ill-{number}_lung.nii.gz", labels=True)
    write_volume(scan, made / "well-1.nii.gz")
    write_volume(lungs, made / "well-1_lung.nii.gz", labels=True)
    return made


def config(folder: Path, out: Path, **changes: Any) -> EvaluateAnomalyConfig:
    values = {"scans": str(folder / "*-?.nii.gz"), "lesions": str(folder / "*_lesion.nii.gz"), "recipes": RECIPES,
              "lungs": str(folder / "*_lung.nii.gz"), "own": False, "out_dir": str(out)}  # fmt: skip
    return EvaluateAnomalyConfig.parse(values | changes)


def of_kind(events: list[Event], kind: str) -> list[Any]:
    return [event for event in events if event.kind == kind]


def test_figures_files_and_resuming(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(evaluate_anomaly(config(folder, tmp_path)))
    result = of_kind(events, "finished")[0].result
    assert result["failed"] == []
    rows = result["rows"]
    assert [(row["case"], row["method"]) for row in rows] == [
        (case, method) for case in ("ill-1", "ill-2", "well-1") for method in ("hu", "hu 2")
    ]
    ill, well = [row for row in rows if row["group"] == "lesions"], rows[-2:]
    assert all(row["auroc"] > 0.9 and row["sensitivity"] > 0.8 and row["region_recall"] == 1 for row in ill)
    assert all(row["auroc_body"] > 0.9 for row in ill)
    assert all(row["dice"] is None and row["flagged_percent"] < ill[0]["flagged_percent"] for row in well)
    names = {Path(event.path).name for event in of_kind(events, "saved")}
    assert names == {"cases.csv", "summary.csv", "differences.csv", "evaluation.json", "evaluation.md", "cases.png"}
    assert all((tmp_path / name).stat().st_size > 100 for name in names)
    said = " ".join(event.message for event in of_kind(events, "warned"))
    assert "well-1: no lesions are given" in said

    def refuse(*_: object) -> None:
        raise AssertionError("mapped again")

    monkeypatch.setattr("genesis3d.workflows.evaluate_anomaly.anomaly_volume", refuse)
    again = list(evaluate_anomaly(config(folder, tmp_path)))
    assert of_kind(again, "finished")[0].result["rows"] == rows


def test_a_failing_case_is_named_and_the_rest_goes_on(folder: Path, phantom: tuple[Volume, Volume],
                                                      tmp_path: Path) -> None:  # fmt: skip
    scan, lungs = phantom
    cases = tmp_path / "cases"
    cases.mkdir()
    for name in ("a", "b"):
        write_volume(scan, cases / f"{name}.nii.gz")
    write_volume(lungs.crop((0, 0, 0), (20, 72, 72)), cases / "a_lung.nii.gz", labels=True)
    write_volume(lungs, cases / "b_lung.nii.gz", labels=True)
    made = config(cases, tmp_path / "out", scans=str(cases), lungs=str(cases / "*_lung.nii.gz"), lesions=None,
                  recipes=["hu"])  # fmt: skip
    events = list(evaluate_anomaly(made))
    result = of_kind(events, "finished")[0].result
    assert result["failed"] == ["a, given lungs, hu"]
    assert [row["case"] for row in result["rows"]] == ["b"]
    assert any("a, given lungs, hu: left out: a_lung.nii.gz" in event.message for event in of_kind(events, "warned"))


def test_a_scan_without_hu_has_no_baseline(phantom: tuple[Volume, Volume], tmp_path: Path) -> None:
    scan = replace(phantom[0], modality="MR", unit=None)
    case = AnomalyCase(Case("brain", "0", volume=scan))
    task = _Task(case, "own", Method("hu", Hounsfield()))
    made = config(tmp_path, tmp_path, settings={"lungs_method": "body"})
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    events = list(_case([task], made, tmp_path, lambda: "run", rows, failed))
    assert (rows, failed) == ([], [])
    assert any("no baseline" in event.message for event in of_kind(events, "warned"))


def test_stopping_leaves_no_tables(folder: Path, tmp_path: Path) -> None:
    events = list(evaluate_anomaly(config(folder, tmp_path), control=lambda: "stop"))
    assert of_kind(events, "finished")[0].cancelled
    assert not (tmp_path / "cases.csv").exists()


def test_refusals(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="recipe 'opacity': expected a model of opacity, got none"):
        list(evaluate_anomaly(config(folder, tmp_path, recipes=["opacity"])))
    with pytest.raises(ScanError, match="expected lesions called as the scans"):
        list(evaluate_anomaly(config(folder, tmp_path, scans=str(folder / "well-1.nii.gz"))))
    with pytest.raises(ScanError, match="found nothing there"):
        list(evaluate_anomaly(config(folder, tmp_path, lungs=str(folder / "none"))))


def test_differences_are_paired_and_exact() -> None:
    blank = dict.fromkeys(("auroc",), math.nan)
    rows = [
        {"case": str(case), "lungs": "given", "method": method, "group": "lesions", "ap": ap, "dice": ap} | blank
        for case, (low, high) in enumerate([(0.2, 0.5), (0.4, 0.6), (0.1, 0.2), (0.3, 0.9)])
        for method, ap in (("hu", low), ("opacity", high))
    ]
    found = {one["figure"]: one for one in difference_rows(rows)}
    assert set(found) == {"ap", "dice"}
    assert found["ap"]["difference"] == pytest.approx(0.3)
    assert found["ap"]["low"] > 0
    assert (found["ap"]["p"], found["ap"]["ahead"], found["ap"]["n"]) == (0.125, 4, 4)
    means = {(one["method"], one["figure"]): one["mean"] for one in summary_rows(_complete(rows))}
    assert means["opacity", "ap"] == pytest.approx(0.55)


def _complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from genesis3d.evaluation.anomaly import FIGURES

    return [dict.fromkeys(FIGURES, math.nan) | row for row in rows]


def test_commands_insert_and_evaluate(phantom: tuple[Volume, Volume], tmp_path: Path) -> None:
    scan, lungs = phantom
    write_volume(scan, tmp_path / "well.nii.gz")
    write_volume(lungs, tmp_path / "lungs.nii.gz", labels=True)
    ill, mask = tmp_path / "ill.nii.gz", tmp_path / "ill_lesion.nii.gz"
    runner = CliRunner()
    done = runner.invoke(
        build_app(),
        ["insert", str(tmp_path / "well.nii.gz"), "--out", str(ill), "--mask-out", str(mask), "--lungs",
         str(tmp_path / "lungs.nii.gz"), "--volume-ml", "120", "--contrast", "400", "--seed", "3", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["result"]["volume_ml"] == pytest.approx(120, abs=0.5)
    change = read_volume(ill).data.astype(float) - scan.data
    assert change[read_volume(mask).data > 0].mean() == pytest.approx(400, rel=0.1)
    done = runner.invoke(
        build_app(),
        ["evaluate", "anomaly", "--scans", str(ill), "--lesions", str(mask), "--recipe", "hu", "--out-dir",
         str(tmp_path / "out"), "--set", "settings.threshold=0.5", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout.splitlines()[-1])["result"]["rows"][0]
    assert (row["lungs"], row["threshold"]) == ("own", 100)  # the baseline keeps its own
    assert np.isfinite([row["ap"], row["dice"], row["lesion_kept_percent"]]).all()
