"""The Anomaly dock: a map made behind the window, layers, slider, table, edited lungs, files, and what goes wrong."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.events import Finished
from genesis3d.networks import library as library_module
from genesis3d.networks.library import Library
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.anomaly import AnomalyConfig, AnomalySettings, anomaly
from genesis3d.workflows.anomaly_files import FILES
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dock import AnomalyDock
from napari_genesis.widgets.anomaly.work import guess_seconds
from napari_genesis.widgets.shared import runs_folder

SHAPE, SPACING = (40, 44, 60), (6.0, 5.0, 5.0)
MIDDLE = (20, 22, 43)
WAIT = 120_000
LAYERS = ("restored", "difference, HU", "baseline, HU", "score, HU", "lungs", "regions")


def chest(turned: bool = False) -> Volume:
    """Two lungs in a body with an opacity of -300 HU in the left one; ``turned``: stored feet last and mirrored."""
    d, h, w = np.indices(SHAPE)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[((h - 22) / 19) ** 2 + ((w - 30) / 27) ** 2 <= 1] = 40
    hu[:, 34:38, 27:33] = 400
    for centre in (17, 43):
        hu[((d - 20) / 17) ** 2 + ((h - 22) / 13) ** 2 + ((w - centre) / 9) ** 2 <= 1] = -860
    place = [((a - m) * s) ** 2 for a, m, s in zip((d, h, w), MIDDLE, SPACING, strict=True)]
    hu[sum(place) <= 20**2] = -300
    geometry = Geometry(SHAPE, SPACING, (-100.0, 20.0, 3.0))
    if not turned:
        return Volume(hu[None], geometry, "CT", "HU", "chest")
    away = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    corner = tuple(float(v) for v in geometry.to_world((39, 0, 59)))
    return Volume(hu[None, ::-1, :, ::-1], Geometry(SHAPE, SPACING, corner, away), "CT", "HU", "chest")


@pytest.fixture(autouse=True)
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that restores every voxel to -840 HU."""
    network = UNet3d(width=2, norm="none")
    module = network.build(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        list(module.parameters())[-1].fill_(math.log(0.08 / 0.92))
    path = tmp_path / "air.safetensors"
    write_model(path, module, ModelCard(title="air", network=network, patch=(16, 16, 16), spacing=SPACING, step=7))
    return path


@pytest.fixture
def dock(viewer: Any, model: Path, qtbot: Any) -> Any:
    """A dock in a viewer with the chest and the model picked."""
    add_volume(viewer, chest())
    made = AnomalyDock(viewer)
    viewer.window.add_dock_widget(made, name="Anomaly map")
    made.recipes.set_recipe("difference")
    made.models.set_path(model)
    settings = AnomalySettings(
        overlap=0.0, device="cpu", threads=1, precision="32", rim_mm=6.0, threshold=200, least_ml=1
    )
    made.form.set_value(settings)
    made.more_form.set_value(settings)
    return made


def make_map(dock: AnomalyDock, qtbot: Any) -> None:
    dock.primary.click()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert dock.status.error.text() == ""
    assert dock.map is not None


def shown(dock: AnomalyDock, role: str) -> Any:
    return dock.panel.layers.layer(role)


def settle(dock: AnomalyDock, qtbot: Any) -> None:
    with qtbot.waitSignal(dock.panel.refined, timeout=WAIT):
        pass


def test_a_map_in_one_click(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    assert dock.primary.text().startswith("Map chest (60x44x40) on CPU, about ")
    assert "width 2" in dock.models.info.text()
    assert "7 steps" in dock.models.info.text()
    assert dock.panel.isHidden()
    make_map(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == [
        "chest", *(f"{role} - chest (difference, air)" for role in LAYERS),
    ]  # fmt: skip
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, viewer.layers["chest"].scale)
        np.testing.assert_allclose(layer.translate, viewer.layers["chest"].translate)
    low, high = shown(dock, "difference").contrast_limits
    assert low == -high
    assert shown(dock, "difference").colorbar.visible
    assert shown(dock, "score").contrast_limits[0] == 0
    np.testing.assert_allclose(shown(dock, "restored").data[MIDDLE], -840, atol=2)
    assert shown(dock, "difference").data[MIDDLE] == pytest.approx(540, abs=2)
    assert set(np.unique(shown(dock, "lungs").data)) == {0, 1, 2}
    assert dock.panel.table.rowCount() == 1
    qtbot.waitUntil(lambda: not dock.panel.figures.busy, timeout=WAIT)
    cells = [dock.panel.table.item(0, column).text() for column in range(6)]
    assert cells[:2] == ["1", "left middle"]
    assert cells[4:] == ["-300", "+540"]
    assert "1 region" in dock.panel.summary.text()
    assert not dock.panel.isHidden()


def test_a_row_goes_to_its_region_and_a_click_marks_its_row(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    make_map(dock, qtbot)
    viewer.dims.set_point(0, -100)
    dock.panel.table.selectRow(0)
    regions = shown(dock, "regions")
    place = np.round(regions.world_to_data(viewer.dims.point)).astype(int)
    assert regions.data[tuple(place)] == 1
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], viewer.dims.point[-2:])
    dock.panel.table.clearSelection()
    event = SimpleNamespace(
        type="mouse_press", position=viewer.dims.point, view_direction=None, dims_displayed=list(viewer.dims.displayed)
    )
    click = dock.panel._clicks.on_mouse(viewer, event)
    next(click)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(click)
    assert {index.row() for index in dock.panel.table.selectedIndexes()} == {0}


def test_the_slider_acts_at_once_in_place_and_the_table_follows(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    make_map(dock, qtbot)
    regions, score = shown(dock, "regions"), shown(dock, "score").data
    buffer = regions.data
    before = int((buffer > 0).sum())
    dock.panel.slider.setValue(600)
    assert not regions.data.any()
    dock.panel.slider.setValue(100)
    np.testing.assert_array_equal(regions.data > 0, score >= 100)
    assert regions.data is buffer or np.shares_memory(regions.data, buffer)
    settle(dock, qtbot)
    assert dock.panel.table.rowCount() >= 1
    assert dock.map.threshold == 100
    dock.panel.slider.setValue(200)
    settle(dock, qtbot)
    assert int((regions.data > 0).sum()) == before
    dock.panel.least.setValue(500)
    settle(dock, qtbot)
    assert dock.panel.table.rowCount() == 0
    assert not regions.data.any()


def test_lungs_painted_over_change_the_map(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    make_map(dock, qtbot)
    lungs = shown(dock, "lungs")
    before = dock.map.regions[0].region.volume_ml
    viewer.dims.set_point(0, lungs.data_to_world(MIDDLE)[0])
    lungs.selected_label, lungs.brush_size = 0, 40
    lungs.paint(MIDDLE, 0)
    settle(dock, qtbot)
    assert not shown(dock, "score").data[MIDDLE]
    assert sum(item.region.volume_ml for item in dock.map.regions) < before
    lungs.data = np.where(lungs.data == 1, 0, lungs.data)
    settle(dock, qtbot)
    assert dock.panel.table.rowCount() == 0
    assert dock.map.lungs_from == "layer"
    assert not (dock.map.lungs.data == 1).any()
    lungs.data = np.zeros_like(lungs.data)
    settle(dock, qtbot)
    assert "got one without any voxel" in dock.status.error.text()


def test_saved_files_are_those_of_the_command(
    dock: AnomalyDock, viewer: Any, qtbot: Any, model: Path, tmp_path: Path
) -> None:
    from genesis3d.io import read_volume, write_volume

    viewer.layers.clear()
    write_volume(chest(turned=True), tmp_path / "chest.nii.gz")
    add_volume(viewer, read_volume(tmp_path / "chest.nii.gz"))
    make_map(dock, qtbot)
    dock.panel.slider.setValue(250)  # not settled yet: saving works it in
    dock.save(tmp_path / "dock")
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    config = AnomalyConfig(
        **dock.config.to_dict() | {"threshold": 250}, lungs="auto", scan=str(tmp_path / "chest.nii.gz"),
        model=str(model), out_dir=str(tmp_path / "command"),
    )  # fmt: skip
    list(anomaly(config))
    assert {path.name for path in (tmp_path / "dock").iterdir()} == set(FILES)
    for name in (name for name in FILES if name.endswith(".nii.gz")):
        ours, theirs = (read_volume(tmp_path / folder / name) for folder in ("dock", "command"))
        assert ours.geometry.matches(theirs.geometry)
        np.testing.assert_array_equal(ours.data, theirs.data)
    assert (tmp_path / "dock/regions.csv").read_text() == (tmp_path / "command/regions.csv").read_text()
    reports = [json.loads((tmp_path / folder / "report.json").read_text()) for folder in ("dock", "command")]
    assert reports[0]["totals"] == reports[1]["totals"]
    assert reports[0]["threshold"] == reports[1]["threshold"]
    dock.export(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        assert len(list(csv.reader(file))) == 1 + dock.panel.table.rowCount()


def test_running_again_replaces_or_adds(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    make_map(dock, qtbot)
    make_map(dock, qtbot)
    assert len(viewer.layers) == 7
    dock.replace_last.setChecked(False)
    make_map(dock, qtbot)
    assert len(viewer.layers) == 13


def test_a_scan_deleted_while_mapped_and_layers_deleted_after(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    dock.primary.click()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert dock.status.error.text() == ""
    assert len(viewer.layers) == 6
    viewer.layers.remove(shown(dock, "regions"))
    dock.panel.slider.setValue(120)
    settle(dock, qtbot)
    dock.panel.table.selectRow(0)
    shown(dock, "score").name = "renamed"
    viewer.layers.clear()
    dock.panel.slider.setValue(130)
    settle(dock, qtbot)
    assert dock.map.threshold == 130
    assert not dock.primary.isEnabled()


def endless(request: Any) -> Any:
    def work(control: Any) -> Any:
        from genesis3d.events import Started

        yield Started(what="anomaly", total=None)
        while control() == "run":
            pass
        yield Finished(cancelled=True)

    return work


def test_stopping_leaves_the_viewer_as_it_was(
    dock: AnomalyDock, viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_genesis.widgets.anomaly.dock.mapping", endless)
    dock.primary.click()
    assert dock.primary.text() == "Stop"
    dock.primary.click()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert len(viewer.layers) == 1
    assert dock.map is None
    assert "stopped" in dock.status.facts.text()


@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_while_it_works(
    how: str, make_napari_viewer: Any, model: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_genesis.widgets.anomaly.dock.mapping", endless)
    viewer = make_napari_viewer()
    add_volume(viewer, chest())
    dock = AnomalyDock(viewer)
    viewer.window.add_dock_widget(dock, name="Anomaly map")
    dock.recipes.set_recipe("difference")
    dock.models.set_path(model)
    before = len(viewer.mouse_drag_callbacks)
    dock.primary.click()
    job = dock._jobs[0]
    if how == "dock":
        viewer.window.remove_dock_widget(dock)
        assert dock.closed
        assert len(viewer.mouse_drag_callbacks) == before - 1
    else:
        viewer.close()
    assert job.wait_closed()


def test_full_disk_is_said_in_the_dock(dock: AnomalyDock, qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    make_map(dock, qtbot)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    dock.export(tmp_path / "regions.csv")
    assert "No space left on device" in dock.status.error.text()
    dock.save(tmp_path / "out")
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert "No space left on device" in dock.status.error.text()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_missing_or_wrong_is_said(viewer: Any, qtbot: Any, model: Path, tmp_path: Path) -> None:
    dock = AnomalyDock(viewer)
    viewer.window.add_dock_widget(dock, name="Anomaly map")
    assert dock.recipes.recipe.name == "hu"  # the one that needs no model
    assert not dock.primary.isEnabled()
    dock.recipes.set_recipe("difference")
    assert "No model yet" in dock.models.info.text()
    add_volume(viewer, chest())
    assert not dock.primary.isEnabled()
    assert dock.primary.toolTip() == "choose a model first"
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\0" * 100)
    dock.models.set_path(broken)
    assert "expected a safetensors file" in dock.models.info.text()
    assert not dock.primary.isEnabled()
    dock.models.set_path(model)
    assert dock.primary.isEnabled()
    volume = chest()
    head = Volume(volume.data, volume.geometry, "MR", None, "head")
    dock.layer_picker.set_layer(add_volume(viewer, head))
    assert dock.lungs_picker.combo.itemText(0) == "the whole scan (no CT in HU)"
    dock.primary.click()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert "expected a CT in HU, on which the model was trained, got MR" in dock.status.error.text()
    other = add_volume(
        viewer, volume.crop((0, 0, 0), (40, 44, 50)).with_data(np.ones((1, 40, 44, 50), np.uint8)), kind="labels"
    )
    dock.layer_picker.set_layer(viewer.layers["chest"])
    dock.lungs_picker.set_layer(other)
    dock.primary.click()
    qtbot.waitUntil(lambda: not any(job.running for job in dock._jobs), timeout=WAIT)
    assert "expected a mask on the grid of chest" in dock.status.error.text()


def test_runs_are_offered_and_settings_remembered(viewer: Any, qtbot: Any, model: Path) -> None:
    run = runs_folder() / "first run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text("{}")
    dock = AnomalyDock(viewer)
    viewer.window.add_dock_widget(dock, name="Anomaly map")
    assert dock.models.path is None
    (run / "checkpoints" / "best.safetensors").write_bytes(model.read_bytes())
    dock.models.combo.opening.emit()
    assert dock.models.path == run
    assert dock.models.combo.currentText() == "first run"
    dock.models.set_path(model)
    assert dock.models.combo.labels() == ["first run", "air"]
    dock.more_form.field("overlap").set_value(0.5)
    dock.more_form._on_edited()
    again = AnomalyDock(viewer)
    viewer.window.add_dock_widget(again, name="again")
    assert again.config.overlap == 0.5
    assert again.models.combo.labels() == ["first run", "air"]
    assert again.models.path == model
    again._on_reset()
    assert again.recipes.recipe.name == "difference"  # the best that there is a model for
    assert again.config == AnomalySettings(recipe="difference")


def test_the_guess_grows_with_scan_network_and_overlap() -> None:
    small, large = (ModelCard(network=UNet3d(width=width), patch=(32, 64, 64)) for width in (8, 16))
    usual = AnomalySettings(device="cpu")
    shape, thin = (133, 512, 512), (2.5, 0.7, 0.7)
    guess = guess_seconds(small, shape, thin, usual, None, True)
    assert guess_seconds(large, shape, thin, usual, None, True) > 3 * guess - 20
    assert guess_seconds(small, shape, thin, usual.replaced(overlap=0.5), None, True) > 1.5 * guess
    assert guess_seconds(small, shape, thin, usual, None, False) > guess
    assert guess_seconds(small, shape, thin, usual, 1e12, True) < guess


def test_regions_are_outlined_and_3d_shows_them_without_a_warning(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    make_map(dock, qtbot)
    assert shown(dock, "regions").contour == 1
    viewer.dims.ndisplay = 3
    dock.panel.slider.setValue(90)
    dock.panel.table.selectRow(0)
    np.testing.assert_allclose(viewer.scene.camera.center, viewer.dims.point)
    viewer.dims.ndisplay = 2


def test_first_start_a_model_that_ships_maps_the_scan(viewer: Any, qtbot: Any, model: Path, tmp_path: Path) -> None:
    """Nothing is set up: the shipped model is picked, and one of the library does the same under its name."""
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped/genesis-test.safetensors").write_bytes(model.read_bytes())
    add_volume(viewer, chest())
    dock = AnomalyDock(viewer)
    viewer.window.add_dock_widget(dock, name="Anomaly map")
    assert dock.models.combo.currentText() == "genesis-test"
    assert dock.models.panel.mismatch.isHidden()
    dock.form.set_value(AnomalySettings(overlap=0.0, device="cpu", threads=1, precision="32"))
    make_map(dock, qtbot)
    assert "regions - chest (difference, genesis-test)" in [layer.name for layer in viewer.layers]
    Library().add(model, "mine")
    dock.models.refresh()
    dock.models.set_path("mine")
    make_map(dock, qtbot)
    assert "regions - chest (difference, mine)" in [layer.name for layer in viewer.layers]


def test_what_differs_from_the_model_is_said_before_running(dock: AnomalyDock, viewer: Any) -> None:
    line = dock.models.panel.mismatch
    assert line.isHidden()
    volume = chest()
    head = Volume(volume.data, volume.geometry, "MR", None, "head")
    dock.layer_picker.set_layer(add_volume(viewer, head))
    assert "trained on CT, the scan is MR" in line.text()
    dock.layer_picker.set_layer(viewer.layers["chest"])
    assert line.isHidden()
    viewer.layers["chest"].scale = (6.0, 5.0, 1.0)
    dock.models.refresh()
    assert "1.00\u00a0x\u00a05.00\u00a0x\u00a06.00\u00a0mm" in line.text()
