"""The Fine-tune dock in trouble: each is one clear sentence, and nothing is lost."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import psutil
import pytest

from genesis3d.training.rundir import RunDir
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.finetune_config import FinetuneConfig
from napari_genesis import devices
from napari_genesis.layers import add_volume
from napari_genesis.widgets.finetune.dock import FinetuneDock
from napari_genesis.widgets.shared import runs_folder


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = FinetuneDock(viewer)
    viewer.window.add_dock_widget(dock, name="Fine-tune")
    return dock


@pytest.fixture
def labels(dock, ct):
    """An empty labels layer on a scan, picked."""
    add_volume(dock.viewer, ct())
    dock.data.make_labels()
    return dock.data.labels.layer


def error_of(dock, qtbot) -> str:
    """Press Train and return the sentence that comes."""
    dock.primary.click()
    qtbot.waitUntil(lambda: bool(dock.status.error.text()) and not dock.running, timeout=30000)
    return dock.status.error.text()


def runs() -> list[Path]:
    return sorted(runs_folder().iterdir()) if runs_folder().is_dir() else []


def trained(dock, qtbot) -> Path:
    dock.primary.click()
    qtbot.waitUntil(lambda: dock.follower is not None and dock.follower.state.step > 5, timeout=60000)
    return dock.follower.run_dir


def predicted(dock, qtbot) -> Path:
    """Train until there is a prediction."""
    run = trained(dock, qtbot)
    qtbot.waitUntil(lambda: dock.view.overlay.layer is not None, timeout=30000)
    return run


def quiet(run: Path) -> bool:
    """Whether no process trains in ``run``."""
    alive = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    return not [process for process in alive if str(run) in " ".join(process.cmdline())]


def test_an_empty_labels_layer(dock, labels, qtbot) -> None:
    assert "ct - labels: nothing is painted yet" in error_of(dock, qtbot)
    assert runs() == [], "what came to nothing leaves no folder"
    assert dock.primary.text().startswith("Train")


@pytest.mark.usefixtures("fake_finetuning")
def test_a_single_painted_voxel_trains(dock, labels, qtbot) -> None:
    labels.data_setitem((np.array([5]), np.array([6]), np.array([7])), 3)
    run = trained(dock, qtbot)  # at once: nothing was counted yet
    config = FinetuneConfig.parse(RunDir(run).config())
    assert [(one.value, one.name) for one in config.data.classes] == [(3, "label 3")]
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)


def test_labels_that_lie_elsewhere(dock, labels, qtbot) -> None:
    geometry = Geometry((12, 24, 20), (2.5, 0.7, 0.7), (500.0, 0.0, 0.0))
    far = Volume(np.ones((1, 12, 24, 20), np.uint8), geometry, name="far")
    layer = add_volume(dock.viewer, far, kind="labels")
    dock.data.labels.set_layer(layer)
    said = error_of(dock, qtbot)
    assert "far: expected labels that lie over ct (20 x 24 x 12 voxels" in said
    assert "covers 0 % of it" in said
    assert runs() == []


@pytest.mark.usefixtures("fake_finetuning")
def test_labels_of_another_grid_that_lie_over_the_scan_are_taken(dock, labels, qtbot) -> None:
    geometry = Geometry((12, 12, 10), (2.5, 1.4, 1.4), (0.0, 0.35, 0.35))
    volume = Volume(np.ones((1, 12, 12, 10), np.uint8), geometry, name="coarse")
    layer = add_volume(dock.viewer, volume, kind="labels")
    dock.data.labels.set_layer(layer)
    run = trained(dock, qtbot)
    qtbot.waitUntil(lambda: dock.view.overlay.step > 0, timeout=30000)
    dock.view.take_button.click()
    assert "coarse: expected labels on the grid of the scan" in dock.view.note.text()
    assert (run / "inputs" / "labels-001.nii.gz").exists()
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)


def test_four_dimensions(dock, qtbot) -> None:
    dock.viewer.add_image(np.zeros((3, 4, 8, 8)), name="heart")
    dock.data.labels.set_layer(dock.viewer.add_labels(np.ones((4, 8, 8), np.uint8)))
    assert "'heart': expected a 3D volume, got 4 dimensions; split it by channel or time first" in error_of(dock, qtbot)
    dock.status.show_error("")
    dock.data.new_button.click()
    assert "got 4 dimensions" in dock.status.error.text()


def test_labels_with_fractions_or_negative_numbers(dock, labels, qtbot) -> None:
    layer = dock.viewer.add_labels(np.zeros((12, 24, 20), np.int32), name="negative", scale=(2.5, 0.7, 0.7))
    layer.data[3, 3, 3] = -4
    dock.data.labels.set_layer(layer)
    assert "negative: expected labels from 0 to 65535" in error_of(dock, qtbot)
    assert runs() == []


def test_background_that_nobody_painted(dock, labels, qtbot, paint) -> None:
    paint(labels)
    dock.data.set_unlabelled("ignore")
    qtbot.waitUntil(lambda: dock.data.painted.total > 0, timeout=20000)
    assert "paint some background, too" in error_of(dock, qtbot)
    dock.data.table.item(1, 1).setText("Background")
    assert len(dock.data.pair().channels) == 1


def test_a_full_disk(dock, labels, qtbot, paint, monkeypatch) -> None:
    paint(labels)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    assert "free on the disk of the runs, found 1 KiB" in error_of(dock, qtbot)
    assert runs() == []


@pytest.mark.usefixtures("fake_finetuning")
def test_a_full_disk_between_two_rounds_leaves_the_run_as_it_is(dock, labels, qtbot, paint, monkeypatch) -> None:
    paint(labels)
    run = trained(dock, qtbot)
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    before = RunDir(run).config()
    paint(labels, (8,))
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 100})())
    dock.view.continue_button.click()
    qtbot.waitUntil(lambda: "free on the disk" in dock.status.error.text(), timeout=30000)
    assert RunDir(run).config() == before
    assert [path.name for path in (run / "inputs").glob("labels*")] == ["labels-001.nii.gz"]


@pytest.mark.usefixtures("fake_finetuning")
def test_a_class_that_the_run_does_not_know_begins_a_new_one(dock, labels, qtbot, paint) -> None:
    paint(labels)
    run = trained(dock, qtbot)
    labels.data_setitem((np.array([2]), np.array([2]), np.array([2])), 7)
    qtbot.waitUntil(lambda: 7 in dock.data.painted.voxels, timeout=20000)
    dock.view.continue_button.click()
    assert f"'{run.name}' does not know label 7" in dock.status.error.text()
    assert dock.running, "the training goes on"
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)


@pytest.mark.usefixtures("fake_finetuning")
def test_removing_the_layers_does_not_disturb_a_training(dock, labels, qtbot, paint) -> None:
    paint(labels)
    run = predicted(dock, qtbot)
    dock.viewer.layers.remove(labels)
    assert "A layer of this training was removed: it goes on with the files it was given." in dock.view.note.text()
    dock.viewer.layers.remove(dock.view.overlay.layer)
    dock.viewer.layers.clear()
    step = dock.follower.state.step
    qtbot.waitUntil(lambda: dock.follower.state.step > step + 10, timeout=30000)
    assert len(dock.viewer.layers) == 0, "a prediction that was removed stays away"
    assert not dock.view.continue_button.isEnabled()
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    assert RunDir(run).state() == "stopped"


@pytest.mark.usefixtures("fake_finetuning")
def test_a_child_that_dies_is_said_and_can_be_resumed(dock, labels, qtbot, paint) -> None:
    paint(labels)
    run = trained(dock, qtbot)
    RunDir(run).process().kill()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    assert "ended unexpectedly; its checkpoints are kept" in dock.status.error.text()
    assert dock.status.way_out.text() == "Resume"
    dock.status.way_out.click()
    qtbot.waitUntil(lambda: dock.follower.running and dock.follower.state.step > 0, timeout=30000)
    dock.kill_button.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    assert "killed" in dock.status.facts.text()


@pytest.mark.usefixtures("fake_finetuning")
def test_closing_the_viewer_stops_and_saves_or_lets_it_go_on(dock, labels, qtbot, paint, make_napari_viewer) -> None:
    paint(labels)
    run = trained(dock, qtbot)
    dock.answer_on_close = "go on"
    dock.viewer.close()
    qtbot.wait(300)
    assert RunDir(run).state() == "running"
    viewer = make_napari_viewer()
    again = FinetuneDock(viewer)
    viewer.window.add_dock_widget(again)
    assert f"Training '{run.name}' is still running" in again.banner.text.text()
    again.banner.follow.emit(run)
    qtbot.waitUntil(lambda: again.follower.state.step > 8, timeout=30000)
    viewer.close()
    qtbot.waitUntil(lambda: quiet(run), timeout=30000)
    assert RunDir(run).state() == "stopped"


@pytest.mark.usefixtures("fake_finetuning")
def test_a_dock_that_trained_is_collected_and_takes_its_layer_along(make_napari_viewer, qtbot, ct, paint) -> None:
    viewer = make_napari_viewer()
    dock = FinetuneDock(viewer)
    viewer.window.add_dock_widget(dock)
    add_volume(viewer, ct())
    dock.data.make_labels()
    paint(dock.data.labels.layer)
    run = predicted(dock, qtbot)
    gone = weakref.ref(dock)
    viewer.window.remove_dock_widget(dock)
    assert [layer.name for layer in viewer.layers] == ["ct", "ct - labels"]
    dock.deleteLater()
    del dock
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    qtbot.waitUntil(lambda: quiet(run), timeout=30000)
