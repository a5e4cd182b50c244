"""The Fine-tune dock: painting, classes, a training and its live prediction, corrections, versions, folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from qtpy.QtCore import Qt

from genesis3d.labels import LabelClass
from genesis3d.training.rundir import RunDir
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.finetune_config import FINETUNE_PRESETS, FinetuneConfig
from napari_genesis import devices
from napari_genesis.layers import add_volume
from napari_genesis.run_files import run_kind
from napari_genesis.structures import colour_of, name_structures, structures_of
from napari_genesis.widgets.dice_plot import DicePlot
from napari_genesis.widgets.finetune.corrections import as_labels, same_place
from napari_genesis.widgets.finetune.counting import counted
from napari_genesis.widgets.finetune.dock import FinetuneDock
from napari_genesis.widgets.finetune.inputs import new_labels
from napari_genesis.widgets.finetune.live import array_box, place_looked_at
from napari_genesis.widgets.finetune.regrid import Slab, WorkingGrid


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are known already, so that no test starts a process to ask torch."""
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = FinetuneDock(viewer)
    viewer.window.add_dock_widget(dock, name="Fine-tune")
    return dock


@pytest.fixture
def painted(dock, qtbot, ct, paint):
    """A scan, and labels made by the button with two classes painted on two slices."""
    add_volume(dock.viewer, ct())
    dock.data.new_button.click()
    layer = dock.data.labels.layer
    paint(layer)
    qtbot.waitUntil(lambda: dock.data.painted.total == 224, timeout=20000)
    return layer


def trained(dock: FinetuneDock, qtbot) -> Path:
    """Start a (fake) training from the dock and wait for its first prediction."""
    dock.primary.click()
    qtbot.waitUntil(lambda: dock.view.overlay.step > 0, timeout=60000)
    return dock.follower.run_dir


def test_labels_lie_on_the_scan_and_are_ready_to_be_painted(dock, ct) -> None:
    assert dock.primary.toolTip() == "open a scan first"
    image = add_volume(dock.viewer, ct())
    assert not dock.primary.isEnabled()
    dock.data.new_button.click()
    layer = dock.data.labels.layer
    assert layer.name == "ct - labels"
    assert same_place(image, layer)
    assert (layer.mode, layer.selected_label, layer.data.dtype) == ("paint", 1, np.uint8)
    assert dock.viewer.layers.selection.active is layer
    assert layer.metadata["genesis"]["geometry"] == image.metadata["genesis"]["geometry"]
    assert dock.primary.isEnabled()
    assert dock.primary.text().startswith("Train 5 min on CPU")
    assert "Nothing is painted yet" in dock.data.summary.text()


def test_classes_follow_the_brush_and_keep_their_names(dock, qtbot, painted) -> None:
    layer = painted
    table = dock.data.table
    assert [table.item(r, 2).text() for r in range(2)] == ["128", "96"]
    assert "224 voxels painted on 2 axial slices" in dock.data.summary.text()
    table.item(0, 1).setText(" bone ")
    table.item(1, 1).setText("bone")  # taken
    assert [one.name for one in table.classes()] == ["bone", "label 2"]
    assert structures_of(layer)[1] == LabelClass(value=1, name="bone", colour=colour_of(layer, 1))
    table.itemClicked.emit(table.item(1, 0))
    assert layer.selected_label == 2
    layer.undo()  # the last stroke: 2 on slice 6
    qtbot.waitUntil(lambda: dock.data.painted.voxels == {1: 128, 2: 48}, timeout=20000)
    layer.data = np.zeros_like(layer.data)
    qtbot.waitUntil(lambda: dock.data.painted.total == 0, timeout=20000)
    assert table.item(0, 1).text() == "bone", "a class keeps its name while no voxel of it is left"
    assert table.classes() == ()


def test_counting_knows_the_axis_of_painting() -> None:
    data = np.zeros((10, 12, 14), np.int32)
    data[2:9, 5, 3:9] = 700
    found = counted(data, (2.5, 0.7, 0.7), lambda: "run")
    assert (found.voxels, found.slices, found.axis) == ({700: 42}, 1, 1)
    assert counted(data, (1, 1, 1), lambda: "stop") is None
    assert counted(np.zeros((3, 4, 5), bool), (1, 1, 1), lambda: "run").total == 0


def test_names_are_seen_under_the_cursor_and_survive_nonsense(viewer) -> None:
    layer = viewer.add_labels(np.ones((3, 4, 5), np.uint8))
    name_structures(layer, [LabelClass(value=1, name="liver")])
    assert "liver" in str(layer.get_status((1, 1, 1), world=True)["value"])
    layer.metadata["structures"] = [{"value": -1}, "x", {"value": 3, "name": "ok"}]
    assert list(structures_of(layer)) == [3]


def test_settings_and_configuration_both_ways(dock, ct) -> None:
    add_volume(dock.viewer, ct())
    form = dock.form
    assert form.from_model, "the model that ships is begun with"
    assert Path(form.config().model).name.startswith("genesis-chest-ct")
    other = FinetuneConfig(
        steps=7, batch=3, model=None, network=FINETUNE_PRESETS["default"].network, augmentation="paper",
        sampling={"patch": (8, 16, 16), "foreground": 0.4}, optimiser={"lr": 0.01}, seed=5,
    )  # fmt: skip
    form.set_config(other)
    assert form.config() == other
    assert form.network.size() == "M"
    assert dock.primary.text() == "Train 7 steps on CPU, 1 core" or "cores" in dock.primary.text()
    form.more.groups["sampling"].field("foreground").edited.emit()
    again = FinetuneDock(dock.viewer)
    assert again.form.config() == other
    again.shutdown()
    again.deleteLater()
    dock.reset()
    assert form.budget.sentence() == "5 min"


@pytest.mark.usefixtures("fake_finetuning")
def test_the_loop_paints_trains_sees_corrects_and_goes_on(dock, qtbot, painted) -> None:
    layer = painted
    dock.data.table.item(0, 1).setText("bone")
    dock.data.table.item(1, 1).setText("fat")
    dock.form.begin.setCurrentIndex(1)
    dock.viewer.dims.set_point(0, layer.data_to_world((5, 0, 0))[0])
    run = trained(dock, qtbot)
    assert run_kind(run) == "finetune"
    config = FinetuneConfig.parse(RunDir(run).config())
    assert [one.name for one in config.data.classes] == ["bone", "fat"]
    assert config.data.unlabelled == "slices"
    assert Path(config.data.labels[0]).name == "labels-001.nii.gz"
    overlay = dock.view.overlay
    assert overlay.layer.name.startswith("prediction (step ")
    assert overlay.layer not in dock.data.labels.layers(), "it is no labels to learn from"
    assert int((overlay.layer.data == 1).sum()) == 36
    assert overlay.layer.data[5].any()
    assert not overlay.layer.data[4].any()
    dock.viewer.dims.set_point(0, layer.data_to_world((8, 0, 0))[0])
    qtbot.waitUntil(lambda: overlay.layer.data[8].any(), timeout=30000)
    assert not overlay.layer.data[5].any(), "a prediction of before is not left beside a newer one"

    before = layer.data.copy()
    dock.view.take_button.click()
    assert "54 voxels on this slice taken into ct - labels" in dock.view.note.text()
    assert int((layer.data != before).sum()) == 54
    layer.undo()
    assert np.array_equal(layer.data, before)
    dock.view.take_button.click()

    dock.view.continue_button.click()  # while it trains: it is saved, then goes on
    qtbot.waitUntil(lambda: "labels-002" in RunDir(run).config()["data"]["labels"][0], timeout=30000)
    qtbot.waitUntil(lambda: dock.running and dock.follower.state.step > 5, timeout=30000)
    assert dock.follower.run_dir == run
    assert "dice_bone" in " ".join(dock.follower.state.curves)
    qtbot.waitUntil(lambda: "bone" in dock.view.dice.legend.text(), timeout=10000)
    dock.primary.click()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    assert "stopped and saved" in dock.status.facts.text()
    assert not overlay.asking
    dock.view.continue_button.click()  # nothing was painted since: no third file
    qtbot.waitUntil(lambda: dock.follower.running and dock.follower.state.step > 0, timeout=30000)
    assert not (run / "inputs" / "labels-003.nii.gz").exists()
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)


@pytest.mark.usefixtures("fake_finetuning")
def test_runs_of_the_two_training_docks_are_told_apart(dock, qtbot, painted) -> None:
    run = trained(dock, qtbot)
    other = run.parent / "other"
    other.mkdir()
    (other / "config.json").write_text(json.dumps({"cases": ["a"]}))
    dock.runs.refresh()
    assert [dock.runs.table.item(r, 0).text() for r in range(dock.runs.table.rowCount())] == [run.name]
    dock.view.live_box.setChecked(False)
    assert dock.view.overlay.layer is None
    assert not (run / "live" / "request.json").exists()
    dock.stop()
    qtbot.waitUntil(lambda: not dock.running, timeout=30000)
    dock.runs.select(run)
    dock.runs._buttons["Open"].click()
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=30000)
    assert dock.view.continue_button.isEnabled()


def test_a_second_scan_is_a_second_channel(dock, qtbot, painted, ct, paint, tmp_path: Path) -> None:
    from napari_genesis.widgets.finetune.handing import prepare_labels, prepare_run

    assert not dock.data.rows.isRowVisible(dock.data.second)
    late = add_volume(dock.viewer, ct(1, "late"))
    dock.data.scans.set_layer(dock.viewer.layers["ct"])
    assert dock.data.rows.isRowVisible(dock.data.second)
    dock.data.second.set_layer(late)
    pair = dock.data.pair()
    run = tmp_path / "run"
    run.mkdir()
    last = list(prepare_run(pair, run, lambda: "run"))[-1]
    data = last.result["data"]
    assert [Path(p).name for p in data["images"]] == ["ct_0000.mha", "ct_0001.mha"]
    assert data["channels"] == ("_0000", "_0001")
    from genesis3d.data.targets import TargetData, load_targets

    cases = load_targets(TargetData(**data, unlabelled="slices"))
    assert cases.volumes[0].channels == 2
    assert [one.value for one in cases.classes] == [0, 1, 2]
    paint(dock.data.labels.layer, (9,))
    again = list(prepare_labels(dock.data.pair(), run, lambda: "run"))[-1]
    assert Path(again.result["labels"]).name == "ct-labels-002.nii.gz"


def test_folders_are_looked_at_and_trained_from(dock, qtbot, ct, tmp_path: Path) -> None:
    from genesis3d.io import write_volume

    for seed in range(2):
        for kind in ("images", "labels"):
            (tmp_path / kind).mkdir(exist_ok=True)
        write_volume(ct(seed, f"case{seed}"), tmp_path / "images" / f"case{seed}.nii.gz")
        mask = ct(seed).with_data((ct(seed).data[0] > 0).astype(np.uint8))
        write_volume(mask, tmp_path / "labels" / f"case{seed}.nii.gz", labels=True)
    dock.data.setCurrentIndex(1)
    assert dock.primary.toolTip() == "choose folders of images and labels first"
    dock.data.folders.lines["images"].setText(str(tmp_path / "images"))
    dock.data.folders.lines["labels"].setText(str(tmp_path / "labels"))
    dock.data.folders.look_button.click()
    qtbot.waitUntil(lambda: "2 labelled scans: case0, case1" in dock.data.folders.summary.text(), timeout=20000)
    config = dock.config()
    assert config.data.images == (str(tmp_path / "images"),)
    assert config.data.unlabelled == "background"
    dock.data.folders.lines["dataset"].setText(str(tmp_path / "none.json"))
    dock.primary.click()
    assert "expected a dataset, or images and labels, got both" in dock.status.error.text()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slice_looked_at_is_found_on_layers_turned_any_way(viewer, axis: int) -> None:
    direction = ((0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    volume = Volume(data[None], Geometry((4, 5, 6), (1.0, 2.0, 3.0), (7.0, 8.0, 9.0), direction))
    index = [1, 2, 3]
    for kind in ("as opened", "plain"):
        viewer.layers.clear()
        opened = kind == "as opened"
        layer = add_volume(viewer, volume, kind="image") if opened else viewer.add_image(data, scale=(-1, 2, 3))
        viewer.dims.order = (axis, *(a for a in range(3) if a != axis))
        viewer.dims.set_point(range(3), layer.data_to_world(index))
        found = place_looked_at(viewer, layer)
        assert found == (axis, 4 - 1 - index[0] if axis == 0 and not opened else index[axis])
        whole = [slice(0, n) for n in layer.data.shape]
        shown, asked = whole.copy(), whole.copy()
        shown[axis], asked[axis] = slice(index[axis], index[axis] + 1), slice(found[1], found[1] + 1)
        assert array_box(tuple(asked), layer) == tuple(shown)
    viewer.dims.ndisplay = 3
    assert place_looked_at(viewer, layer) is None


def test_a_prediction_fills_what_is_not_painted_or_all_of_it(viewer, ct) -> None:
    image = add_volume(viewer, ct())
    layer = new_labels(viewer, image)
    found = viewer.add_labels(np.zeros(layer.data.shape, np.uint16), scale=layer.scale, translate=layer.translate)
    found.data[3, 2:6, 2:6] = 2
    layer.data[3, 4, 4] = 1
    box = (slice(3, 4), slice(0, 24), slice(0, 20))
    assert as_labels(found, layer, box) == 15
    assert layer.data[3, 4, 4] == 1
    assert as_labels(found, layer, box, over_paint=True) == 1
    assert as_labels(found, layer, box, over_paint=True) == 0
    layer.undo()
    layer.undo()
    assert int((layer.data > 0).sum()) == 1
    found.data[3, 0, 0] = 999
    with pytest.raises(Exception, match="expected a layer that holds value 999"):
        as_labels(found, layer, box)
    other = viewer.add_labels(np.zeros((12, 24, 20), np.uint8))
    with pytest.raises(Exception, match="expected labels on the grid of the scan"):
        as_labels(found, other, box)


def test_dice_is_drawn_in_the_colours_of_the_classes(qtbot) -> None:
    plot = DicePlot("dark")
    plot.set_classes([LabelClass(value=1, name="bone", colour="#ff0000")])
    plot.show_curves({"loss": ([1], [1.0]), "validation dice": ([5], [0.5]), "validation dice_bone": ([5], [0.25])})
    qtbot.waitUntil(lambda: "bone&nbsp;0.25" in plot.legend.text())
    assert "#ff0000" in plot.legend.text()
    assert len(plot._lines) == 2
    plot.set_theme("light")
    plot.set_classes(())
    assert not plot._lines
    plot.close()
    plot.deleteLater()


def test_a_prediction_on_a_working_grid_is_brought_back() -> None:
    geometry = Geometry((20, 30, 40), (2.0, 1.0, 1.0), (5.0, 6.0, 7.0))
    own = WorkingGrid(geometry, None)
    slab = Slab(np.ones((1, 30, 40), np.uint16), (4, 0, 0), 9)
    assert own.there(0, 4) == 4
    back = own.back(slab)
    assert (back.start, back.labels.shape, back.step) == ((4, 0, 0), (1, 30, 40), 9)
    coarse = WorkingGrid(geometry, (4.0, 2.0, 2.0))
    assert [coarse.there(0, z) for z in (0, 1, 10, 19)] == [0, 0, 5, 9]
    labels = np.zeros((1, 15, 20), np.uint16)
    labels[0, 5, 10] = 3
    back = coarse.back(Slab(labels, (5, 0, 0), 1))
    assert (back.start, back.labels.shape) == ((10, 0, 0), (2, 30, 40))
    assert np.argwhere(back.labels == 3)[:, 1:].min(axis=0).tolist() == [10, 20]
    assert int((back.labels == 3).sum()) == 8
    assert coarse.back(Slab(labels, (10, 0, 0), 1)) is None


def test_versions_are_compared_shown_and_taken(dock, qtbot, painted, segmentation_model, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "config.json").write_text("{}")
    for name in ("version-001", "best"):
        (folder / f"{name}.safetensors").write_bytes(segmentation_model.read_bytes())
    figures = {"dice": 0.5, "dice_organ": 0.25, "dice_bone": 0.75}
    (tmp_path / "run" / "versions.json").write_text(json.dumps([{"version": 1, "figures_now": figures}]))
    versions = dock.versions
    versions.show_run(tmp_path / "run")
    table = versions.table
    shown = [[table.item(row, column).text() for column in range(table.columnCount())] for row in range(2)]
    assert shown == [["1", "7", "", "0.500", "0.750", "0.250"], ["now", "7", "", "0.910", "", ""]]
    assert versions.selected().name == "now"
    table.selectRow(0)
    versions.take_button.click()
    assert dock.view.note.text() == "There is no prediction of this version yet: train, or press Show."
    versions.apply_button.click()
    qtbot.waitUntil(lambda: "prediction of version 1" in dock.viewer.layers and not dock.whole.running, timeout=60000)
    found = dock.viewer.layers["prediction of version 1"]
    assert structures_of(found)[3].name == "organ"
    assert found.data[:, 5:11, 5:11].all()
    assert int((found.data == 7).sum()) == 0
    assert dock.viewer.layers.selection.active is painted
    before = painted.data.copy()
    versions.take_button.click()
    assert np.array_equal(painted.data[before > 0], before[before > 0])
    assert int((painted.data == 3).sum()) == int(((found.data == 3) & (before == 0)).sum())
    dialog = versions.add_to_library()
    assert dialog.name.text() == "run"
    dialog.close()
    dialog.deleteLater()


def test_enter_in_a_table_starts_no_training(dock, qtbot, painted) -> None:
    table = dock.data.table
    table.setCurrentCell(1, 2)
    qtbot.keyClick(table, Qt.Key.Key_Return)
    assert table.state() == table.State.EditingState
    assert not dock.running
    assert dock.status.error.text() == ""
