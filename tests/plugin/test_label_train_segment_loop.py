"""The whole loop on a real napari: paint, train, see, correct, go on, keep the model, segment, export, re-open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.io import read_volume, write_volume
from genesis3d.networks.model_file import read_card
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment_settings import SegmentSettings
from napari_genesis import devices
from napari_genesis.structures import structures_of
from napari_genesis.widgets.finetune.dock import FinetuneDock
from napari_genesis.widgets.segment.dock import SegmentDock

SHAPE = (20, 40, 36)
# right to left, back to front, head to feet: what is shown is turned, what is saved must not be
AWAY = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0))
WAIT = 240_000


def body() -> tuple[Volume, np.ndarray]:
    """A noisy CT with two organs that run through all slices, and which voxel is which."""
    truth = np.zeros(SHAPE, np.uint8)
    truth[:, 6:18, 8:28] = 1
    truth[:, 24:34, 8:28] = 2
    hu = np.array([-800, 60, 700])[truth] + np.random.default_rng(3).normal(0, 40, SHAPE)
    return Volume(hu.astype(np.int16)[None], Geometry(SHAPE, (2.5, 1.1, 1.1), (10.0, 20.0, 30.0), AWAY)), truth


def paint(layer: Any, truth: np.ndarray, z: int) -> None:
    """Paint a slice by the brush: one touch in the middle of each structure, and the rest by its bucket."""
    shown = truth[::-1, ::-1, ::-1][z]
    for value in (1, 2):
        layer.selected_label = value
        rows, columns = np.nonzero(shown == value)
        layer.brush_size = 3
        layer.paint((z, int(rows.mean()), int(columns.mean())), value)
        layer.data_setitem((np.full(rows.size, z), rows, columns), value)


def settings(dock: FinetuneDock, steps: int) -> None:
    config = dock.form.config()
    dock.form.set_config(
        config.replaced(
            model=None, steps=steps, minutes=None, batch=2, augmentation="none", threads=1, device="cpu",
            precision="32", sampling={"patch": (8, 24, 24)}, optimiser={"lr": 1e-2, "warmup": 2, "weight_decay": 0},
            averaging={"decay": 0}, validation={"every": 10, "windows": 4}, keep={"seconds": 0, "samples_every": 1000},
        )
    )  # fmt: skip


def dice(found: np.ndarray, truth: np.ndarray, value: int) -> float:
    both = int(((found == value) & (truth == value)).sum())
    return 2 * both / max(1, int((found == value).sum() + (truth == value).sum()))


@pytest.mark.slow
@pytest.mark.usefixtures("known_plugin")
def test_from_a_few_painted_slices_to_a_segmentation_on_the_scans_own_grid(
    make_napari_viewer, qtbot, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])
    volume, truth = body()
    write_volume(volume, tmp_path / "scan.nii.gz")
    viewer = make_napari_viewer()
    viewer.open(str(tmp_path / "scan.nii.gz"), plugin="napari-genesis")
    scan = viewer.layers[0]

    dock = FinetuneDock(viewer)
    viewer.window.add_dock_widget(dock, name="Fine-tune")
    dock.data.new_button.click()
    labels = dock.data.labels.layer
    for z in (4, 9, 15):
        viewer.dims.set_point(0, labels.data_to_world((z, 0, 0))[0])
        paint(labels, truth, z)
    qtbot.waitUntil(lambda: dock.data.painted.slices == 3, timeout=WAIT)
    for row, name in enumerate(("organ", "bone")):
        dock.data.table.item(row, 1).setText(name)
    settings(dock, 40)
    viewer.dims.set_point(0, labels.data_to_world((7, 0, 0))[0])
    dock.primary.click()
    overlay = dock.view.overlay
    qtbot.waitUntil(lambda: overlay.layer is not None and overlay.step > 0, timeout=WAIT)
    assert overlay.slice_box() is not None
    qtbot.waitUntil(lambda: not dock.running, timeout=WAIT)
    assert dock.follower.state.state == "finished", dock.status.error.text()
    qtbot.waitUntil(lambda: overlay.step == 40, timeout=WAIT)
    assert set(dock.follower.state.curves) >= {"loss", "validation dice", "validation dice_organ"}

    dock.view.take_button.click()
    assert labels.data[7].any()
    paint(labels, truth, 7)  # corrected
    settings(dock, 20)
    dock.view.continue_button.click()
    run = dock.follower.run_dir
    qtbot.waitUntil(lambda: dock.running and dock.follower.state.step > 40, timeout=WAIT)
    qtbot.waitUntil(lambda: not dock.running, timeout=WAIT)
    assert (dock.follower.state.state, dock.follower.state.step) == ("finished", 60), dock.status.error.text()
    assert sorted(path.name for path in (run / "inputs").glob("labels*")) == ["labels-001.nii.gz", "labels-002.nii.gz"]
    qtbot.waitUntil(lambda: [each.name for each in dock.versions.versions] == ["1", "now"], timeout=WAIT)
    before, now = (dock.versions.table.item(row, 2).text() for row in range(2))
    assert int(before.replace(",", "")) < int(now.replace(",", ""))

    dialog = dock.versions.add_to_library()
    dialog.name.setText("organs")
    dialog.primary.click()
    qtbot.waitUntil(lambda: "in the library as organs" in dock.status.facts.text(), timeout=WAIT)
    card = read_card("organs")
    assert [one.name for one in card.classes] == ["background", "organ", "bone"]
    assert card.data["labelled_voxels"]["organ"] > 0
    assert "dice_bone" in card.metrics

    segment = SegmentDock(viewer)
    viewer.window.add_dock_widget(segment, name="Segment")
    segment.models.set_path("organs")
    quick = SegmentSettings(quality="fast", device="cpu", threads=1, precision="32")
    segment.form.set_value(quick)
    segment.more_form.set_value(quick)
    segment.scans.pickers[0].set_layer(scan)
    segment._describe()
    segment.primary.click()
    qtbot.waitUntil(lambda: segment.panel.result is not None and not segment.running, timeout=WAIT)
    found = segment.panel.layers.labels
    shown = np.asarray(truth[::-1, ::-1, ::-1])
    assert min(dice(found.data, shown, value) for value in (1, 2)) > 0.5
    assert [structures_of(found)[value].name for value in (1, 2)] == ["organ", "bone"]

    found.save(str(tmp_path / "found.nii.gz"), plugin="napari-genesis")
    again, source = read_volume(tmp_path / "found.nii.gz"), read_volume(tmp_path / "scan.nii.gz")
    assert again.geometry.matches(source.geometry)
    assert np.array_equal(again.canonical().data[0], found.data)
    viewer.open(str(tmp_path / "found.nii.gz"), plugin="napari-genesis")
    reopened = viewer.layers[-1]
    assert reopened.extent.world == pytest.approx(scan.extent.world, abs=1e-3)
