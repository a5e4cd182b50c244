"""Many scans into a folder of maps, then two of its folders as two dates: commands, resuming, failures, stopping."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.data.phantoms import thorax
from genesis3d.errors import ConfigError, ScanError
from genesis3d.io import read_volume, write_volume
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows import anomaly_files
from genesis3d.workflows.anomaly_batch import AnomalyBatchConfig, anomaly_batch
from genesis3d.workflows.anomaly_dates_files import DATES_FILES, read_map

SHAPE = (32, 48, 48)


def with_ball(scan: Volume, radius: float) -> Volume:
    """Return the scan with a dense ball in its left lung, stored feet last."""
    world = scan.geometry.to_world(np.stack(np.indices(SHAPE), axis=-1))
    inside = ((world - (0, 10, 75)) ** 2).sum(axis=-1) <= radius**2
    data = np.where(inside, -200, scan.data[0]).astype(np.int16)[None]
    turned = data[:, ::-1]
    s, p, left = (float(v) for v in scan.geometry.to_world((SHAPE[0] - 1, 0, 0)))
    geometry = Geometry(
        SHAPE, scan.geometry.spacing, (s, p, left), ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    )
    return Volume(turned, geometry, "CT", "HU", "scan")


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    plain = thorax(SHAPE)
    write_volume(with_ball(plain, 13), folder / "early.nrrd")
    write_volume(with_ball(plain, 20), folder / "late.nrrd")
    (folder / "broken.mha").write_bytes(b"no scan")
    return folder


@pytest.fixture(scope="module")
def maps(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of the command, and what it said."""
    out = tmp_path_factory.mktemp("maps")
    given = ["anomaly-batch", str(scans), "--out-dir", str(out), "--recipe", "hu", "--lungs", "classical"]
    given += ["--threshold", "400", "--set", "rim_mm=8"]
    return out, CliRunner().invoke(build_app(), given)


@pytest.fixture
def unpictured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports without content, where they are not what is tested."""
    monkeypatch.setattr(anomaly_files, "report_files", lambda result: {"report.html": b"-"})


def done(scans: Path, out: Path, control: Any = None, **changes: Any) -> tuple[list[Any], dict[str, Any]]:
    values = {"scans": str(scans), "out_dir": str(out), "recipe": {"name": "hu"}, "lungs": "classical",
              "threshold": 400, "rim_mm": 8}  # fmt: skip
    config = AnomalyBatchConfig.parse(values | changes)
    events = list(anomaly_batch(config, *([control] if control else [])))
    return events, events[-1].result


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "summary.csv").open() as file:
        return {row["scan"]: row for row in csv.DictReader(file)}


def test_every_scan_has_a_folder_and_a_line_and_one_failure_stops_nothing(maps: tuple[Path, Any]) -> None:
    out, result = maps
    assert result.exit_code == 1
    assert "2 of 3 cases complete; failed: broken" in result.stdout
    for name in ("early", "late"):
        assert {"score.nii.gz", "mask.nii.gz", "report.html", "report.pdf", "report.json"} <= {
            path.name for path in (out / name).iterdir()
        }
    table = rows(out)
    assert [row["state"] for row in table.values()] == ["failed", "complete", "complete"]
    assert float(table["late"]["flagged_ml"]) > 2 * float(table["early"]["flagged_ml"]) > 0
    report = json.loads((out / "late" / "report.json").read_text())
    assert float(table["late"]["flagged_percent"]) == report["totals"]["flagged_percent"]
    assert str(out.parent) not in (out / "batch.json").read_text() + (out / "summary.csv").read_text()
    assert "broken.mha" in table["broken"]["reason"]


def test_what_is_complete_is_passed_over_until_something_changes(scans: Path, maps: tuple[Path, Any], tmp_path: Path,
                                                                  unpictured: None) -> None:  # fmt: skip
    out = tmp_path / "out"
    shutil.copytree(maps[0], out)
    stamp = (out / "early" / "score.nii.gz").stat().st_mtime_ns
    assert done(scans, out)[1]["already_there"] == 2
    assert (out / "early" / "score.nii.gz").stat().st_mtime_ns == stamp
    (out / "late" / "report.json").unlink()
    assert done(scans, out)[1]["already_there"] == 1
    with pytest.raises(ConfigError, match=r"expected threshold 400.0, by which the maps there were made, got 50.0"):
        done(scans, out, threshold=50)
    assert done(scans / "early.nrrd", out, threshold=50, overwrite=True)[1]["already_there"] == 0
    assert json.loads((out / "early" / "report.json").read_text())["threshold"]["value"] == 50
    (out / "batch.json").write_text("{")
    with pytest.raises(ConfigError, match="got a damaged file"):
        done(scans, out)


def test_stopped_the_complete_ones_stay(scans: Path, tmp_path: Path, unpictured: None) -> None:
    seen: list[str] = []

    def control() -> Any:
        return "stop" if seen else "run"

    both = [str(scans / "early.nrrd"), str(scans / "late.nrrd")]
    values = {"scans": both, "out_dir": str(tmp_path), "recipe": {"name": "hu"}, "lungs": "classical",
              "threshold": 400, "rim_mm": 8}  # fmt: skip
    config = AnomalyBatchConfig.parse(values)
    events = []
    for event in anomaly_batch(config, control):
        events.append(event)
        if event.kind == "stepped" and event.step == 1:
            seen.append("one")
    assert events[-1].cancelled
    assert events[-1].result["complete"] == 1
    assert list(rows(tmp_path)) == ["early"]
    with pytest.raises(ScanError, match="expected at least one scan"):
        done(tmp_path / "nowhere", tmp_path)


def test_two_of_its_folders_compared(scans: Path, maps: tuple[Path, Any], tmp_path: Path) -> None:
    out = maps[0]
    given = ["anomaly-dates", str(out / "early"), str(out / "late"), "--out-dir", str(tmp_path / "dates")]
    wrong = CliRunner().invoke(build_app(), given)
    assert isinstance(wrong.exception, ScanError)
    assert "made without a model" in str(wrong.exception)
    given += ["--first-scan", str(scans / "early.nrrd"), "--second-scan", str(scans / "late.nrrd")]
    result = CliRunner().invoke(build_app(), [*given, "--motion", "rigid", "--json"])
    assert result.exit_code == 0
    assert {path.name for path in (tmp_path / "dates").iterdir()} == set(DATES_FILES)
    with (tmp_path / "dates" / "changes.csv").open() as file:
        changes = list(csv.DictReader(file))
    assert changes[0]["change"] == "grown"
    assert float(changes[0]["difference_ml"]) > 20
    record = json.loads((tmp_path / "dates" / "dates.json").read_text())
    assert record["registration"]["dice"] > 0.97
    assert record["regions"]["grown"] == 1
    assert record["totals"]["second_flagged_ml"] > record["totals"]["first_flagged_ml"]
    scan = read_volume(scans / "early.nrrd")
    for name in DATES_FILES[:3]:
        assert read_volume(tmp_path / "dates" / name).geometry.matches(scan.geometry, 1e-3), name
    html = (tmp_path / "dates" / "dates.html").read_text()
    assert html.count("Not for clinical use") == 2
    assert "phase of breath" in html
    assert str(tmp_path) not in html + json.dumps(record)


def test_a_folder_is_read_back_and_a_wrong_one_refused(scans: Path, maps: tuple[Path, Any], tmp_path: Path) -> None:
    folder = tmp_path / "early"
    shutil.copytree(maps[0] / "early", folder)
    scan = read_volume(scans / "early.nrrd")
    write_volume(scan.with_data(np.full(SHAPE, -800, np.int16)), folder / "restored.nii.gz")
    write_volume(scan.with_data(scan.data[0] + np.int16(800)), folder / "difference.nii.gz")
    back = read_map(folder)
    np.testing.assert_array_equal(back.scan.data, scan.canonical().data)
    assert (back.scan.unit, back.recipe, back.card, back.threshold) == ("HU", "hu", None, 400.0)
    stored = json.loads((folder / "report.json").read_text())
    assert back.labels.data.max() == stored["totals"]["regions"]
    with pytest.raises(ScanError, match="expected scan on the grid of the score"):
        read_map(folder, write_volume(scan.crop((0, 0, 0), (20, 48, 48)), tmp_path / "other.nrrd"))
    (folder / "report.json").write_text("{}")
    with pytest.raises(ScanError, match="expected the report of an anomaly map"):
        read_map(folder)
    with pytest.raises(ScanError, match="that genesis3d anomaly completed"):
        read_map(tmp_path)
