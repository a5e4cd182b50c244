"""``genesis3d prepare`` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genesis3d.cli import main
from genesis3d.data.store import open_store
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for name in ("a", "b"):
        data = np.random.default_rng(len(name)).normal(0, 200, (1, 6, 16, 16)).astype(np.float32)
        write_volume(Volume(data, Geometry((6, 16, 16), (3.0, 1.0, 1.0)), "MR"), folder / f"{name}.mha")
    (folder / "c.nii").write_bytes(b"")
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["genesis3d", "prepare", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_for_people(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--out", tmp_path / "set", "--jobs", 1, "--spacing", "3,2,2", "--crop", "none", "--intensity", "minmax")
    assert run(monkeypatch, scans, *options) == 0
    said = capsys.readouterr()
    assert "2 cases in the store (2 MR), 1 left out" in said.out
    assert "spacing      3 x 2 x 2 mm" in said.out
    assert "left out     c.nii: expected a scan, got an empty file" in said.out
    assert "2 of 2 cases" in said.err
    store = open_store(tmp_path / "set")
    assert store.intensity.name == "minmax"
    assert store.cases[0].shape == (6, 8, 8)
    assert store.header.settings["crop"] is False


def test_settings_from_a_file_and_events_as_json(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.yaml").write_text(f"cases: ['{scans}']\nspacing: [3, 2, 2]\nmargin: 3\njobs: 1\n")
    arguments = ("--config", tmp_path / "c.yaml", "--out", tmp_path / "set", "--spacing", "native", "--set", "margin=5")
    assert run(monkeypatch, *arguments, "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["kind"] for event in events][-1] == "finished"
    assert {"started", "stepped", "warned", "saved"} <= {event["kind"] for event in events}
    assert open_store(tmp_path / "set").header.settings["spacing"] is None
    assert open_store(tmp_path / "set").header.settings["margin"] == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--spacing", "1,x,2"), "--spacing: expected Z,Y,X in mm"),
        (("--spacing", "1,2"), "prepare: spacing"),
        (("--spacing", "0,1,1"), "0.05 to 50 mm"),
        (("--crop", "lungs"), "--crop: expected body or none"),
        (("--intensity", "zscore"), "intensity: expected one of"),
        (("--channels", "_0,_0"), "different, non-empty ends"),
        (("--set", "colour=red"), "colour"),
    ],
)
def test_a_wrong_option_is_one_sentence(
    options: tuple[str, ...],
    said: str,
    scans: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, scans, "--out", tmp_path / "set", *options) == 2
    shown = capsys.readouterr().err.strip()
    assert said in shown
    assert "\n" not in shown
    assert not (tmp_path / "set").exists()


def test_the_command_loads_no_torch(scans: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        f"import sys\nsys.argv = ['genesis3d', 'prepare', {str(scans)!r}, '--out', {str(tmp_path / 'set')!r}, "
        "'--jobs', '1']\nfrom genesis3d.cli import main\ntry:\n    main()\nexcept SystemExit as stop:\n"
        "    assert not stop.code\nassert 'zarr' in sys.modules\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
