"""What was learnt, in the Pre-train dock: rows from a real model, both ways, stopped, and closed under its work."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from qtpy.QtCore import QCoreApplication, QEvent, Qt

from genesis3d.intensity import CtIntensity
from genesis3d.io import write_volume
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.transforms import chain_preset
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows import gallery_rows
from genesis3d.workflows.prepare import PrepareConfig, prepare
from genesis3d.workflows.pretrain_config import PRETRAIN_PRESETS, SCHEMES, PretrainConfig
from napari_genesis import devices
from napari_genesis.jobs import ThreadJob
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.widgets.pretrain.dock import PretrainDock
from napari_genesis.widgets.pretrain.learnt_rows import Picture
from napari_genesis.widgets.pretrain.learnt_work import grey, warm
from napari_genesis.widgets.shared import current_pretrain_config, runs_folder

NETWORK = UNet3d(width=2, norm="none")
SETTINGS = gallery_rows.GallerySettings
PATCH = (16, 32, 32)


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sub-volumes that take little time."""
    monkeypatch.setattr(gallery_rows, "GallerySettings", lambda **given: SETTINGS(**given, patch=PATCH))


@pytest.fixture
def run() -> Path:
    """A run whose best model gives back its input."""
    module = NETWORK.build(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    folder = runs_folder() / "first"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    card = ModelCard(network=NETWORK, activation="residual", intensity=CtIntensity())
    write_model(folder / "checkpoints" / "best.safetensors", module, card)
    return folder


def scan(name: str = "scan") -> Volume:
    rng = np.random.default_rng(1)
    hu = rng.normal(-700, 80, (40, 72, 72)).astype(np.int16)
    hu[10:30, 20:50, 20:50] = 40
    return Volume(hu[None], Geometry(hu.shape, (2.5, 0.7, 0.7), (-30.0, 5.0, 7.0)), "CT", "HU", name)


@pytest.fixture
def dock(make_napari_viewer) -> PretrainDock:
    viewer = make_napari_viewer()
    dock = PretrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Pre-train")
    return dock


def shown(dock: PretrainDock, qtbot, run: Path) -> PretrainDock:
    """The gallery of the run on the scan, all rows there."""
    add_volume(dock.viewer, scan())
    dock.view.learnt.emit(run)
    qtbot.waitUntil(lambda: len(dock.learnt.rows.items) == 12 and not dock.learnt.running, timeout=60000)
    return dock


def test_empty_it_says_what_to_do(dock) -> None:
    view = dock.learnt
    assert "Pick a scan" in view.hint.text()
    assert not view.show_button.isEnabled()
    assert not view.add.isEnabled()
    assert not view.save.isEnabled()
    assert view.add_to_viewer() == []
    view.begin()
    assert not view.running


def test_rows_show_what_the_engine_found(dock, qtbot, run: Path) -> None:
    view = shown(dock, qtbot, run).learnt
    assert dock.learnt_fold.isExpanded()
    assert view.models.path == run
    first, second = view.rows.items[:2]
    assert view.chosen is first.row
    assert first.chosen
    assert [label.text() for label in first.figures] == ["unchanged", "unchanged", "mean 0 HU"]
    assert second.figures[0].text().endswith(f"{second.row.shown['first'].ssim:.2f}")
    assert all(picture.shown for item in view.rows.items for picture in item.pictures)
    assert "mean of the outcomes" in view.status.facts.text()
    assert not view.status.error.text()
    qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
    assert view.chosen is second.row
    assert (first.chosen, second.chosen) == (False, True)
    assert "▸" in second.title.text()
    qtbot.keyClick(first, Qt.Key.Key_Return)
    assert view.chosen is first.row
    dock.viewer.theme = "light"


def test_the_chosen_row_becomes_layers_at_its_place(dock, qtbot, run: Path) -> None:
    view = shown(dock, qtbot, run).learnt
    row = next(item.row for item in view.rows.items if item.row.name == "outpainting")
    view.rows.choose(row)
    base = dock.viewer.layers["scan"]
    transformed, restored, error = view.add_to_viewer()
    assert [layer.name for layer in (transformed, restored, error)] == [
        f"scan - outpainting: {part}" for part in ("transformed", "restored", "error")
    ]
    d, h, w = row.start
    whole, part = volume_from_layer(base), volume_from_layer(transformed)
    np.testing.assert_allclose(part.geometry.origin, whole.geometry.to_world((d, h, w)), atol=1e-4)
    assert tuple(transformed.contrast_limits) == tuple(base.contrast_limits)
    box = base.data[d : d + 16, h : h + 32, w : w + 32].clip(-1000, 1000)
    seen = transformed.data == np.float32(0)
    assert not seen.all()
    np.testing.assert_allclose(np.abs(restored.data - box), error.data, atol=1e-2)
    assert dock.viewer.layers.selection.active is base
    dock.viewer.layers.remove(base)  # its rows stay, and can still be added
    assert len(view.add_to_viewer()) == 3


def test_here_and_elsewhere(dock, qtbot, run: Path) -> None:
    view = shown(dock, qtbot, run).learnt
    before = view.rows.items[0].row.start
    dock.viewer.dims.set_point(0, dock.viewer.layers["scan"].extent.world[1, 0])
    camera = getattr(dock.viewer, "scene", dock.viewer).camera
    camera.center = tuple(dock.viewer.layers["scan"].extent.world[1])
    view.here.click()
    qtbot.waitUntil(lambda: len(view.rows.items) == 12 and not view.running, timeout=60000)
    assert view.rows.items[0].row.start == (24, 40, 40)  # the farthest corner, moved inside
    view.elsewhere.click()
    qtbot.waitUntil(lambda: len(view.rows.items) == 12 and not view.running, timeout=60000)
    assert view.rows.items[0].row.start not in (before, (24, 40, 40))


def test_the_picture_is_written_in_the_background(dock, qtbot, run: Path, tmp_path: Path) -> None:
    view = shown(dock, qtbot, run).learnt
    view.write_picture(tmp_path / "a.png")
    qtbot.waitUntil(lambda: not view.running, timeout=60000)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert view.status.facts.text() == "saved a.png"
    view.write_picture(tmp_path / "nowhere" / "a.png")
    qtbot.waitUntil(lambda: not view.running, timeout=60000)
    assert "nowhere" in view.status.error.text()
    assert len(view.rows.items) == 12


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gallery of very many sub-volumes."""
    monkeypatch.setattr(gallery_rows, "GallerySettings", lambda **given: SETTINGS(**given, windows=10_000, patch=PATCH))


def at_work(dock: PretrainDock, qtbot, run: Path) -> ThreadJob:
    """Let the gallery begin, and return its job once it is under way."""
    add_volume(dock.viewer, scan())
    dock.view.learnt.emit(run)
    qtbot.waitUntil(lambda: dock.learnt.status.bar.value() > 1, timeout=60000)
    return dock.learnt._job


@pytest.mark.usefixtures("endless")
def test_it_stops_when_told(dock, qtbot, run: Path) -> None:
    view = dock.learnt
    at_work(dock, qtbot, run)
    assert view.show_button.text() == "Stop"
    view.show_button.click()
    qtbot.waitUntil(lambda: not view.running, timeout=20000)
    assert view.show_button.text() == "Show what was learnt"
    assert view.rows.items == []


@pytest.mark.usefixtures("endless")
def test_a_dock_removed_at_work_leaves_nothing(make_napari_viewer, qtbot, run: Path) -> None:
    viewer = make_napari_viewer()
    dock = PretrainDock(viewer)
    viewer.window.add_dock_widget(dock)
    job = at_work(dock, qtbot, run)
    gone = weakref.ref(dock)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete.value)
    assert job.wait_closed(20000)
    del dock, job
    qtbot.wait(50)
    gc.collect()
    assert gone() is None


@pytest.mark.usefixtures("endless")
def test_the_viewer_closes_under_it(dock, qtbot, run: Path) -> None:
    job = at_work(dock, qtbot, run)
    dock.viewer.close()
    assert job.wait_closed(20000)


def test_a_model_that_does_not_fit_is_a_sentence(dock, qtbot, run: Path) -> None:
    dock.viewer.add_image(np.random.default_rng(0).random((40, 72, 72), np.float32), name="no CT")
    dock.view.learnt.emit(run)
    qtbot.waitUntil(lambda: "expected a CT in HU" in dock.learnt.status.error.text(), timeout=60000)
    assert dock.learnt.show_button.isEnabled()


def test_a_picture_keeps_its_proportions(qtbot) -> None:
    picture = Picture(0.5, "picture")
    qtbot.addWidget(picture)
    picture.show_colours(np.full((4, 8, 3), 200, np.uint8))
    picture.show()
    for width, height in ((120, 60), (160, 80), (600, 100)):  # never wider than is good for it
        picture.resize(width, picture.height())
        qtbot.waitUntil(lambda height=height: picture.height() == height)
    assert picture.grab().toImage().pixelColor(5, 5).red() == 200


def test_pictures_of_slices() -> None:
    np.testing.assert_array_equal(grey(np.array([[0.0, 1.0]]))[0], [[0, 0, 0], [255, 255, 255]])
    colours = warm(np.array([[0.0, 0.5, 2.0]], np.float32), 0.5)
    assert colours[0, 0].max() < 10
    np.testing.assert_array_equal(colours[0, 1], colours[0, 2])


def test_presets_both_ways(dock) -> None:
    form = dock.config_form
    for name, preset in PRETRAIN_PRESETS.items():
        form.preset.setCurrentText(name)
        form.preset.activated.emit(form.preset.currentIndex())
        assert form.config() == preset.replaced(device=form.config().device)
        assert form.preset.currentText() == name
    form.steps.setValue(77)
    assert form.preset.currentText() == "own settings"
    form.set_config(PRETRAIN_PRESETS["quick"])
    assert form.preset.currentText() == "quick"


def test_a_network_of_its_own_stays(dock) -> None:
    form = dock.config_form
    own = UNet3d(width=12, decoder="nearest")
    assert form.network.buttons["own"].isHidden()
    form.set_config(PretrainConfig(steps=3, network=own))
    assert form.config().network == own
    assert not form.network.buttons["own"].isHidden()
    assert "width 12" in form.network.buttons["own"].text()
    form.network.buttons["M"].click()
    assert form.config().network.width == 16
    form.set_config(PRETRAIN_PRESETS["quick"])
    assert form.network.buttons["own"].isHidden()


def test_every_setting_is_in_the_form_or_has_its_own_widget(dock) -> None:
    form = dock.config_form
    groups = {name for name in form.more.groups if "." not in name}
    loose = set(form.more.loose.names())
    by_hand = {"schema_version", "cases", "intensity", "chain", "network", "start", "steps", "minutes", "device",
               "precision", "strategy", "opacity"}  # fmt: skip
    assert groups | loose | by_hand == set(PretrainConfig.model_fields)
    assert {"averaging", "recovery", "task", "optimiser.plan"} <= set(form.more.groups)
    field = form.more.groups["averaging"].field("decay")
    field.set_value(0.5)
    assert form.config().averaging.decay == 0.5
    form.more.groups["task"].field("loss").set_value("mae")
    assert form.config().task.loss == "mae"


def test_the_model_to_start_from(dock, run: Path) -> None:
    start = dock.config_form.more.start
    assert dock.config_form.config().start is None
    start.refresh(None)
    start.setCurrentIndex(start.findText("first"))
    assert dock.config_form.config().start == str(run)
    dock.config_form.set_config(PretrainConfig(steps=3, start="/models/other.safetensors"))
    assert dock.config_form.config().start == "/models/other.safetensors"
    assert start.currentText() == "other"


def test_an_intensity_of_its_own_stays(dock) -> None:
    config = PretrainConfig(steps=3, intensity=CtIntensity(low=-900, high=400))
    dock.config_form.set_config(config)
    assert dock.config_form.config().intensity == config.intensity


def test_every_scheme_of_the_paper_can_be_picked(dock) -> None:
    form = dock.config_form
    for scheme, chain in SCHEMES.items():
        form.chain.setCurrentText(scheme)
        form.chain.activated.emit(form.chain.currentIndex())
        assert form.config().chain == chain_preset(chain)
    form.set_config(form.config().replaced(chain=chain_preset("gentle")))
    assert form.chain.currentText() == "gentle"
    form.set_config(form.config().replaced(chain=chain_preset("default")))
    assert form.chain.currentText() == "combined"


def test_a_prepared_store_is_one_entry(dock, qtbot, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_volume(scan(name), tmp_path / f"{name}.mha")
    store = tmp_path / "store.zarr"
    scans = tuple(str(tmp_path / f"{name}.mha") for name in "ab")
    assert list(prepare(PrepareConfig(cases=scans, out=str(store), jobs=1)))
    dock.cases.add_paths([str(store), str(tmp_path / "a.mha")])
    qtbot.waitUntil(lambda: len(dock.cases.entries) == 2 and not dock.cases.reading, timeout=60000)
    by_name = {entry.name: entry for entry in dock.cases.entries}
    entry = by_name["store"]
    assert (entry.path, entry.count) == (str(store), 2)
    assert entry.picture.shape == (40, 40)
    assert entry.picture.max() > 50
    assert "store of 2 scans" in dock.cases.list.item(dock.cases.entries.index(entry)).text()
    assert dock.cases.summary.text().startswith("3 cases")
    assert str(store) in current_pretrain_config().cases
    dock.cases.add_paths([str(store)])
    qtbot.waitUntil(lambda: not dock.cases.reading, timeout=60000)
    assert len(dock.cases.entries) == 2
    (tmp_path / "no.zarr").mkdir()
    dock.cases.add_paths([str(tmp_path / "no.zarr")])
    qtbot.waitUntil(lambda: "expected a store" in dock.status.error.text(), timeout=60000)
