"""readers.py: what is claimed, what a path becomes, and how failures are said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import genesis3d.io
from genesis3d.errors import ScanError
from genesis3d.volume import Geometry, Volume
from napari_genesis import readers
from napari_genesis.readers import NOTHING, get_reader, read_scans
from napari_genesis.widgets.scan import series as scan_series
from napari_genesis.widgets.scan.series import SeriesDialog


@dataclass(frozen=True)
class Info:
    uid: str = "1.2"
    description: str = "Lung 2.5 mm"
    modality: str | None = "CT"
    slices: int = 3
    shape: tuple[int, int, int] = (3, 4, 5)
    spacing: tuple[float, float, float] | None = (2.5, 0.7, 0.7)
    channels: int = 1
    problem: str | None = None

    def label(self) -> str:
        return f"{self.description}, {self.slices} slices"


def scan(name: str = "scan", **changes: Any) -> Volume:
    values = np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5)
    return replace(Volume(values, Geometry((3, 4, 5)), name=name), **changes)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    heard: dict[str, list[str]] = {"error": [], "warning": []}
    monkeypatch.setattr("napari.utils.notifications.show_error", heard["error"].append)
    monkeypatch.setattr("napari.utils.notifications.show_warning", heard["warning"].append)
    return heard


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Files that the readers find: path -> (series, volumes by series or an error); and what was asked of them."""
    table: dict[str, Any] = {"asked": []}

    def read_volume(path: str, *, series: str | None = None, channel: int | None = None) -> Volume:
        table["asked"].append((path, series, channel))
        found = table[path][1]
        if isinstance(found, Exception):
            raise found
        return found[series] if isinstance(found, dict) else found

    monkeypatch.setattr(genesis3d.io, "list_series", lambda path: table[path][0], raising=False)
    monkeypatch.setattr(genesis3d.io, "read_volume", read_volume, raising=False)
    return table


def test_only_scan_files_are_claimed(tmp_path: Path) -> None:
    for name in ("a.nii", "a.nii.gz", "A.NRRD", "a.nhdr", "a.mha", "a.mhd", "a.dcm", "a.zip"):
        assert get_reader(str(tmp_path / name)) is read_scans, name
    for name in ("a.gz", "a.tif", "a.tar.gz", "nii"):
        assert get_reader(str(tmp_path / name)) is None, name
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.nrrd")]) is read_scans
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.png")]) is None
    assert get_reader([]) is None


def test_folders_are_claimed_if_they_hold_dicom(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert get_reader(str(tmp_path)) is None
    deep = tmp_path / "study" / "series"
    deep.mkdir(parents=True)
    (deep / "IM0001").write_bytes(bytes(128) + b"DICM")
    assert get_reader(str(tmp_path)) is read_scans
    (deep / "IM0001").unlink()
    assert get_reader(str(tmp_path)) is None
    (deep / "slice.DCM").write_bytes(b"")
    assert get_reader(str(tmp_path)) is read_scans


def test_folders_of_thousands_of_other_files_are_left_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(40):
        (tmp_path / f"{index:03}.txt").write_text("x")
    (tmp_path / "z.dcm").write_bytes(b"")
    monkeypatch.setattr(readers, "_MOST_ENTRIES", 20)
    assert get_reader(str(tmp_path)) is None


def test_several_files_become_layers_and_a_bad_one_is_said(opens: Any, said: Any) -> None:
    opens["a.nii"] = [Info(uid="")], scan("a", notes=("spacing assumed 1 mm",))
    opens["b.mha"] = [Info(uid="")], ScanError("b.mha: expected 3 dimensions, got 2")
    opens["c.nrrd"] = [Info(uid="")], scan("c_seg", data=np.ones((1, 3, 4, 5), np.float32))
    layers = read_scans(["a.nii", "b.mha", "c.nrrd"])
    assert [(layer[1]["name"], layer[2]) for layer in layers] == [("a", "image"), ("c_seg", "labels")]
    assert layers[1][0].dtype.kind == "i"
    assert said["error"] == ["b.mha: expected 3 dimensions, got 2"]
    assert said["warning"] == ["a: spacing assumed 1 mm"]
    assert opens["asked"][0] == ("a.nii", None, None)


def test_nothing_readable_opens_nothing(opens: Any, said: Any) -> None:
    opens["b.mha"] = [Info()], ScanError("b.mha: empty")
    assert read_scans("b.mha") == NOTHING
    assert said["error"] == ["b.mha: empty"]


def test_slices_picked_one_by_one_open_as_their_folder(tmp_path: Path, opens: Any) -> None:
    paths = [str(tmp_path / name) for name in ("1.dcm", "2.dcm", "other.nii")]
    opens[str(tmp_path)] = [Info()], scan("folder")
    opens[paths[2]] = [Info(uid="")], scan("other")
    assert [layer[1]["name"] for layer in read_scans(paths)] == ["folder", "other"]


def test_without_a_user_the_largest_series_opens_and_the_others_are_named(
    opens: Any, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_series, "can_ask", lambda: False)
    series = [Info("0", "broken", problem="slices missing"), Info("1", "large"), Info("2", "scout", slices=1)]
    opens["study"] = series, {"1": scan("large"), "2": scan("scout")}
    assert [layer[1]["name"] for layer in read_scans("study")] == ["large"]
    assert "opens large" in said["warning"][0]
    assert "not opened: broken, 3 slices; scout, 1 slices" in said["warning"][0]


def test_the_user_chooses_series_and_channel(opens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_series, "can_ask", lambda: True)
    monkeypatch.setattr(scan_series, "ask_series", lambda series, name: [("2", 1), ("1", None)])
    opens["study"] = [Info("1"), Info("2", channels=4)], {"1": scan("one"), "2": scan("two")}
    assert [layer[1]["name"] for layer in read_scans("study")] == ["two channel 1", "one"]
    monkeypatch.setattr(scan_series, "ask_series", lambda series, name: [])
    assert read_scans("study") == NOTHING


def test_the_dialog_lists_series_and_returns_the_selected(qtbot: Any) -> None:
    series = [Info("1", "broken", problem="slices missing"), Info("2", "lung", channels=3), Info("3", spacing=None)]
    dialog = SeriesDialog(series, "study.zip")  # type: ignore[arg-type]  # stands in for SeriesInfo
    qtbot.addWidget(dialog)
    rows = [[dialog.table.topLevelItem(r).text(c) for c in range(5)] for r in range(3)]
    assert rows[1] == ["lung", "CT", "3", "5 x 4", "0.70 x 0.70 x 2.50"]
    assert rows[2][4] == "uneven"
    assert dialog.table.topLevelItem(0).isDisabled()
    assert dialog.table.topLevelItem(0).toolTip(0) == "slices missing"
    assert dialog.chosen() == [("2", 0)]
    dialog.table.topLevelItem(2).setSelected(True)
    assert dialog.chosen() == [("2", 0), ("3", None)]
    dialog.table.clearSelection()
    assert not dialog.open_button.isEnabled()


def test_napari_opens_through_the_reader(viewer: Any, opens: Any, tmp_path: Path, npe2pm: Any) -> None:
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(Path(readers.__file__).with_name("napari.yaml")))
    path = tmp_path / "case.nii.gz"
    path.write_bytes(b"")
    opens[str(path)] = [Info(uid="")], scan("case")
    viewer.open(str(path), plugin="napari-genesis")
    assert viewer.layers["case"].axis_labels == ("S", "P", "L")
