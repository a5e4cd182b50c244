"""The commands of the group evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.cli.evaluate import parsed_classes
from genesis3d.errors import ConfigError
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    data = np.zeros((1, 6, 6, 6), np.uint8)
    data[0, 1:4, 1:5, 1:5] = 2
    write_volume(Volume(data, Geometry((6, 6, 6))), tmp_path / "prediction.nii.gz")
    data[0, 3] = 0
    write_volume(Volume(data, Geometry((6, 6, 6))), tmp_path / "reference.nii.gz")
    return [str(tmp_path / "prediction.nii.gz"), str(tmp_path / "reference.nii.gz")]


def test_segmentation_prints_the_summary_and_writes_files(pair: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = CliRunner().invoke(
        build_app(), ["evaluate", "segmentation", *pair, "--classes", "2=liver", "--out-dir", str(out)]
    )
    assert result.exit_code == 0, result.output
    assert "liver" in result.output
    assert "0.800" in result.output
    assert (out / "evaluation.json").is_file()


def test_segmentation_as_json_lines(pair: list[str]) -> None:
    result = CliRunner().invoke(build_app(), ["evaluate", "segmentation", *pair, "--json", "--set", "distances=false"])
    last = json.loads(result.output.strip().splitlines()[-1])
    assert last["kind"] == "finished"
    assert last["result"]["rows"][0]["dice"] == pytest.approx(0.8)
    assert last["result"]["rows"][0]["hd95_mm"] is None


def test_classes_of_the_command_line() -> None:
    assert parsed_classes("1=liver, 2=tumour,7") == [
        {"value": 1, "name": "liver"},
        {"value": 2, "name": "tumour"},
        {"value": 7, "name": "label 7"},
    ]
    with pytest.raises(ConfigError, match="expected VALUE=NAME"):
        parsed_classes("liver")
