"""Many scans into a folder: resumed, changed settings, one failure, stopped; the command and its exit status."""

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
from genesis3d.io import read_volume, write_volume
from genesis3d.labels import LabelClass
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment import SegmentConfig, segment

SHAPE = (16, 24, 20)
NETWORK = UNet3d(width=2, norm="instance", out_channels=2)
CLASSES = (LabelClass(value=0, name="background"), LabelClass(value=4, name="lesion", colour="#00ff00"))
CARD = ModelCard(
    title="tiny",
    network=NETWORK,
    task={"name": "segmentation"},
    activation="softmax",
    classes=CLASSES,
    patch=(8, 16, 16),
)
TURNED = ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Any]:
    """Three scans, the second turned in space, and a model."""
    (tmp_path / "scans").mkdir()
    for number in range(3):
        hu = np.random.default_rng(number).integers(-1000, 300, (1, *SHAPE)).astype(np.int16)
        geometry = Geometry(SHAPE, (2.0, 1.0, 1.5), (1, 2, 3), *([TURNED] if number == 1 else []))
        write_volume(Volume(hu, geometry, "CT", "HU", f"case{number}"), tmp_path / "scans" / f"case{number}.nrrd")
    write_model(tmp_path / "m.safetensors", NETWORK.build(0), CARD)
    return {"scans": (str(tmp_path / "scans"),), "model": str(tmp_path / "m.safetensors"),
            "out_dir": str(tmp_path / "out"), "device": "cpu", "precision": "32", "window": (8, 16, 16),
            "skip_air": False}  # fmt: skip


def done(values: dict[str, Any], **changes: Any) -> tuple[list[Any], dict[str, Any]]:
    events = list(segment(SegmentConfig.parse(values | changes)))
    assert events[-1].kind == "finished"
    return events, events[-1].result


def test_every_scan_gets_labels_on_its_own_grid_and_rows_in_the_table(inputs: dict[str, Any]) -> None:
    events, result = done(inputs, probabilities=True, entropy=True)
    assert result["complete"] == 3
    assert (events[0].unit, events[0].total) == ("case", 3)
    assert any(event.kind == "stepped" and event.metrics.get("windows", 0) > 1 for event in events)
    out = Path(inputs["out_dir"])
    for number in range(3):
        scan = read_volume(Path(inputs["scans"][0]) / f"case{number}.nrrd")
        labels = read_volume(out / f"case{number}.nii.gz")
        assert labels.geometry.matches(scan.geometry, 1e-3)
        assert set(np.unique(labels.data)) <= {0, 4}
        assert (out / f"case{number}_uncertainty.nii.gz").is_file()
        assert read_volume(out / f"case{number}_probabilities.nii.gz", channel=1).data.max() <= 1
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["name"]) for row in rows] == [(f"case{n}", "lesion") for n in range(3)]
    manifest = json.loads((out / "segmented.json").read_text())
    assert str(Path(inputs["model"]).parent) not in (out / "segmented.json").read_text()
    assert manifest["made_by"]["quality"] == "balanced"


def test_complete_cases_are_passed_over_until_something_changes(inputs: dict[str, Any]) -> None:
    done(inputs)
    file = Path(inputs["out_dir"]) / "case0.nii.gz"
    before = file.stat().st_mtime_ns
    _, result = done(inputs, device="auto")
    assert result["already_there"] == 3
    assert file.stat().st_mtime_ns == before
    (Path(inputs["out_dir"]) / "case1.nii.gz").unlink()
    assert done(inputs)[1]["already_there"] == 2
    with pytest.raises(
        ConfigError, match="expected quality 'balanced', by which the results there were made, got 'fast'"
    ):
        done(inputs, quality="fast")
    assert done(inputs, quality="fast", overwrite=True)[1]["already_there"] == 0
    write_model(inputs["model"], NETWORK.build(7), CARD)
    with pytest.raises(ConfigError, match="expected sha256"):
        done(inputs, quality="fast")


def test_one_failure_stops_nothing(inputs: dict[str, Any]) -> None:
    broken = Path(inputs["scans"][0]) / "broken.nii.gz"
    broken.write_bytes(b"no scan")
    mr = np.random.default_rng(0).random((1, *SHAPE), dtype=np.float32)
    write_volume(Volume(mr, Geometry(SHAPE), "MR", None, "mr"), Path(inputs["scans"][0]) / "mr.mha")
    events, result = done(inputs)
    assert sorted(result["failed"]) == ["broken", "mr"]
    assert result["complete"] == 3
    said = [event.message for event in events if event.kind == "warned"]
    assert any("mr was not segmented: mr: expected a CT in HU" in text for text in said)
    assert not any(str(broken.parent) in text for text in said)


def test_stopped_the_complete_cases_stay(inputs: dict[str, Any]) -> None:
    asked = [0]

    def control() -> Any:
        asked[0] += 1
        return "stop" if asked[0] > 17 else "run"

    events = list(segment(SegmentConfig.parse(inputs), control))
    assert events[-1].cancelled
    complete = events[-1].result["complete"]
    assert 0 < complete < 3
    assert len(list(Path(inputs["out_dir"]).glob("*.nii.gz"))) == complete
    assert done(inputs)[1]["already_there"] == complete


def test_region(inputs: dict[str, Any], tmp_path: Path) -> None:
    scan = Path(inputs["scans"][0]) / "case1.nrrd"
    one = inputs | {"scans": (str(scan),)}
    done(one, box=((2, 3, 4), (8, 12, 10)), out_dir=str(tmp_path / "boxed"))
    found = np.argwhere(read_volume(tmp_path / "boxed" / "case1.nii.gz").canonical().data[0])
    assert (found >= (2, 3, 4)).all()
    assert (found < (8, 12, 10)).all()
    mask = np.zeros((1, *SHAPE), np.uint8)
    mask[:, 3:9, 3:9, 3:9] = 1
    write_volume(read_volume(scan).with_data(mask), tmp_path / "mask.nii.gz")
    done(one, mask=str(tmp_path / "mask.nii.gz"), out_dir=str(tmp_path / "masked"))
    assert not read_volume(tmp_path / "masked" / "case1.nii.gz").data[mask == 0].any()
    write_volume(Volume(mask, Geometry(SHAPE, (9.0, 1.0, 1.0))), tmp_path / "other.nii.gz")
    _, result = done(one, mask=str(tmp_path / "other.nii.gz"), out_dir=str(tmp_path / "refused"))
    assert result["failed"] == ["case1"]
    with pytest.raises(ConfigError, match="expected a single scan"):
        done(inputs, mask=str(tmp_path / "mask.nii.gz"))
    assert done(one, box=((0, 0, 0), (99, 9, 9)), out_dir=str(tmp_path / "beyond"))[1]["failed"] == ["case1"]


def test_several_channels_and_names(inputs: dict[str, Any], tmp_path: Path) -> None:
    network = UNet3d(width=2, norm="instance", out_channels=2, in_channels=2)
    write_model(tmp_path / "two.safetensors", network.build(0), CARD.replaced(network=network))
    for case in ("a", "b"):
        for channel in range(2):
            hu = np.random.default_rng(channel).integers(-1000, 300, (1, *SHAPE)).astype(np.int16)
            path = tmp_path / "pairs" / f"{case}_000{channel}.nrrd"
            path.parent.mkdir(exist_ok=True)
            write_volume(Volume(hu, Geometry(SHAPE), "CT", "HU", case), path)
    _, result = done(inputs, scans=(str(tmp_path / "pairs"),), model=str(tmp_path / "two.safetensors"),
                     channels=("_0000", "_0001"), format=".seg.nrrd")  # fmt: skip
    assert result["complete"] == 2
    assert sorted(p.name for p in Path(inputs["out_dir"]).glob("*.nrrd")) == ["a.seg.nrrd", "b.seg.nrrd"]
    assert "lesion" in (Path(inputs["out_dir"]) / "a.seg.nrrd").read_bytes()[:4000].decode("latin-1")


def test_restoration_models_and_dicom_seg_of_other_files_are_refused(inputs: dict[str, Any], tmp_path: Path) -> None:
    _, result = done(inputs, format="dicom")
    assert len(result["failed"]) == 3
    restorer = UNet3d(width=2)
    write_model(tmp_path / "r.safetensors", restorer.build(0), ModelCard(title="r", network=restorer))
    with pytest.raises(ModelError, match="fine-tune it on labelled scans first"):
        done(inputs, model=str(tmp_path / "r.safetensors"))


def test_the_command(inputs: dict[str, Any]) -> None:
    given = ["segment", inputs["scans"][0], "--model", inputs["model"], "--out-dir", inputs["out_dir"]]
    given += ["--device", "cpu", "--precision", "32", "--set", "window=[8,16,16]", "--no-skip-air"]
    given += ["--quality", "fast", "--largest"]
    result = CliRunner().invoke(build_app(), given)
    assert result.exit_code == 0
    assert "3 of 3 cases complete" in result.stdout
    assert "case2.nii.gz" in result.stdout
    (Path(inputs["scans"][0]) / "broken.mha").write_bytes(b"no scan")
    again = CliRunner().invoke(build_app(), [*given, "--json"])
    assert again.exit_code == 1
    assert json.loads(again.stdout.splitlines()[-1])["result"]["failed"] == ["broken"]
    wrong = CliRunner().invoke(build_app(), [*given, "--box", "1,2,3"])
    assert isinstance(wrong.exception, ConfigError)
    assert isinstance(CliRunner().invoke(build_app(), [*given, "--quality", "great"]).exception, ConfigError)


def test_labels_that_grow_on_disk(inputs: dict[str, Any]) -> None:
    _, result = done(inputs, format=".zarr", entropy=True)
    assert result["complete"] == 3
    out = Path(inputs["out_dir"])
    assert sorted(path.name for path in out.glob("*.zarr")) == ["case0.zarr", "case1.zarr", "case2.zarr"]
    assert not list(out.glob(".*.part"))
    assert len(list(out.glob("*_uncertainty.nii.gz"))) == 3
    assert done(inputs, format=".zarr", entropy=True)[1]["already_there"] == 3
