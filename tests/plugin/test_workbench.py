"""The workbench opens every dock of the manifest as a tab of one group."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from napari_genesis import devices
from napari_genesis.widgets.workbench import DOCKS, SAMPLES, WorkbenchDock, open_docks

MANIFEST = Path(__file__).resolve().parents[2] / "napari_genesis" / "napari.yaml"


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are known already, so that no test starts a process to ask torch."""
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])


def test_names_are_those_of_the_manifest() -> None:
    contributions = yaml.safe_load(MANIFEST.read_text(encoding="utf-8"))["contributions"]
    docks = [widget["display_name"] for widget in contributions["widgets"]]
    assert docks == ["Genesis workbench", *DOCKS]
    assert set(SAMPLES) == {sample["key"] for sample in contributions["sample_data"]}


@pytest.mark.usefixtures("known_plugin")
def test_it_opens_every_dock_once(viewer: Any, qtbot: Any) -> None:
    _dock, workbench = viewer.window.add_plugin_dock_widget("napari-genesis", "Genesis workbench")
    assert isinstance(workbench, WorkbenchDock)
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 1 + len(DOCKS), timeout=20_000)
    again = open_docks(viewer)
    assert len(viewer.window.dock_widgets) == 1 + len(DOCKS)
    assert list(again) == list(DOCKS)


@pytest.mark.usefixtures("known_plugin")
def test_a_sample_opens_by_its_button(viewer: Any, qtbot: Any) -> None:
    _dock, workbench = viewer.window.add_plugin_dock_widget("napari-genesis", "Genesis workbench")
    qtbot.waitUntil(lambda: len(viewer.window.dock_widgets) == 1 + len(DOCKS), timeout=20_000)
    workbench.findChild(object, "sample-chirality").click()
    assert len(viewer.layers) == 1
