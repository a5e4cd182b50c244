"""The Segment dock when things go wrong: one sentence each, and nothing lost."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.events import Finished, Started, Stepped
from genesis3d.networks import library as library_module
from genesis3d.networks.model_file import ModelCard, read_card, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment_settings import SegmentSettings
from napari_genesis.layers import add_volume
from napari_genesis.widgets.segment.dock import SegmentDock
from napari_genesis.widgets.segment.results import GONE

SHAPE = (24, 40, 48)
WAIT = 20_000
QUICK = SegmentSettings(quality="fast", device="cpu", threads=1, precision="32", window=(16, 16, 16), skip_air=False)


def body() -> Volume:
    hu = np.full(SHAPE, 40, np.int16)
    hu[4:12, 8:20, 8:20] = 200
    hu[6:20, 30:36, 4:8] = 700
    return Volume(hu[None], Geometry(SHAPE, (2.0, 1.5, 1.5), (-30.0, 12.0, 5.0)), "CT", "HU", "body")


@pytest.fixture(autouse=True)
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")


def opened(viewer: Any, model: Path | None, scan: bool = True) -> SegmentDock:
    if scan:
        add_volume(viewer, body())
    made = SegmentDock(viewer)
    viewer.window.add_dock_widget(made, name="Segment")
    if model is not None:
        made.models.set_path(model)
    made.form.set_value(QUICK)
    made.more_form.set_value(QUICK)
    made._describe()
    return made


@pytest.fixture
def dock(viewer: Any, segmentation_model: Path, qtbot: Any) -> Any:
    return opened(viewer, segmentation_model)


def wait(dock: SegmentDock, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not dock.running and not dock.panel.busy, timeout=WAIT)


class Half:
    """Stands for the work: paints one half, then waits for the order to stop (or fails)."""

    def __init__(self, error: Exception | None = None, finish: bool = False) -> None:
        self.go, self.error, self.finish = threading.Event(), error, finish

    def __call__(self, request: Any) -> Any:
        def work(control: Any) -> Any:
            yield Started(what="segment", total=2, unit="window")
            box = (slice(0, 24), slice(0, 20), slice(0, 48))
            request.canvas.paint(box, np.full((24, 20, 48), 3, np.uint16))
            yield Stepped(step=1, total=2)
            while control() == "run" and not self.go.wait(0.005):
                pass
            if self.error is not None:
                raise self.error
            if self.finish:
                from types import SimpleNamespace

                labels = request.volume.with_data(np.full(SHAPE, 3, np.uint8))
                request.result.append(
                    SimpleNamespace(labels=labels, complete=True, seconds=1.0, device="cpu", probabilities=None,
                                    entropy=None, card=read_card(request.model))
                )  # fmt: skip
            yield Finished(cancelled=not self.finish)

        return work


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the work by half of it; set its attributes before the button is pressed."""
    made = Half()
    monkeypatch.setattr("napari_genesis.widgets.segment.dock.segmenting", made)
    return made


def begin(dock: SegmentDock, viewer: Any, qtbot: Any, layers: int = 2) -> Any:
    dock.primary.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == layers, timeout=WAIT)
    return viewer.layers[-1]


def test_stopping_asks_and_keeps_or_discards(dock: SegmentDock, viewer: Any, qtbot: Any, half: Half) -> None:
    labels = begin(dock, viewer, qtbot)
    assert dock.primary.text() == "Stop"
    dock.primary.click()
    wait(dock, qtbot)
    assert dock.unfinished.asking
    assert dock.unfinished.text.text() == "Stopped after 50 %."
    assert (labels.data[:, :20] == 3).all()
    assert not labels.editable, "a stroke would be painted over"
    dock.unfinished.keep.click()
    wait(dock, qtbot)
    assert labels.editable
    assert labels.name == "body - segmentation (organs) (part)"
    assert [dock.panel.table.item(row, 2).text() for row in (0, 1)] == ["103.68", "0.00"]
    assert "a part of the scan" in dock.panel.summary.text()
    second = begin(dock, viewer, qtbot, 3)
    assert not labels.visible, "it would be replaced"
    dock.primary.click()
    wait(dock, qtbot)
    dock.unfinished.discard.click()
    assert second not in viewer.layers
    assert labels.visible
    assert dock.panel.layers.labels is labels


def test_starting_again_keeps_what_was_stopped(dock: SegmentDock, viewer: Any, qtbot: Any, half: Half) -> None:
    begin(dock, viewer, qtbot)
    dock.primary.click()
    wait(dock, qtbot)
    dock.replace_last.setChecked(False)
    dock.primary.click()
    assert not dock.unfinished.asking
    assert viewer.layers[1].name.endswith("(part)")
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=WAIT)
    dock.primary.click()
    wait(dock, qtbot)
    dock.unfinished.discard.click()
    assert len(viewer.layers) == 2


def test_stopped_before_anything_was_done(dock: SegmentDock, viewer: Any, qtbot: Any, monkeypatch: Any) -> None:
    def nothing(request: Any) -> Any:
        def work(control: Any) -> Any:
            yield Started(what="segment", total=2)
            while control() == "run":
                pass
            yield Finished(cancelled=True)

        return work

    monkeypatch.setattr("napari_genesis.widgets.segment.dock.segmenting", nothing)
    dock.primary.click()
    dock.primary.click()
    wait(dock, qtbot)
    assert len(viewer.layers) == 1
    assert dock.status.facts.text() == "stopped before anything was segmented"
    assert not dock.unfinished.asking


def test_an_error_half_way_leaves_the_choice(dock: SegmentDock, viewer: Any, qtbot: Any, half: Half) -> None:
    half.error = MemoryError("one window")
    labels = begin(dock, viewer, qtbot)
    half.go.set()
    wait(dock, qtbot)
    assert "not enough memory: one window" in dock.status.error.text()
    assert dock.unfinished.text.text() == "Ended by an error after 50 %."
    dock.unfinished.keep.click()
    wait(dock, qtbot)
    assert (labels.data[:, :20] == 3).all()
    assert labels in viewer.layers


def test_memory_that_does_not_suffice_is_no_end(
    dock: SegmentDock, viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genesis3d.inference.classes import ClassPredictor

    forward, calls = ClassPredictor._forward, []

    def tight(self: Any, x: Any) -> Any:
        calls.append(len(x))
        if len(x) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, x)

    monkeypatch.setattr(ClassPredictor, "_forward", tight)
    dock.more_form.set_value(QUICK.replaced(batch=2))
    dock.primary.click()
    wait(dock, qtbot)
    assert max(calls) == 2
    assert "memory of cpu did not suffice" in dock.status.warning.text()
    assert dock.status.error.text() == ""
    assert set(np.unique(viewer.layers[1].data)) == {0, 3, 7}


def test_its_layer_deleted_meanwhile_comes_back_complete(
    dock: SegmentDock, viewer: Any, qtbot: Any, half: Half
) -> None:
    half.finish = True
    begin(dock, viewer, qtbot)
    viewer.layers.pop()
    dock.show_now.layers.volume.data[0, 0, 0, 0] = 3
    canvas = dock.show_now._painter._canvas
    canvas.paint((slice(0, 1),) * 3, np.full((1, 1, 1), 3, np.uint16))
    qtbot.waitUntil(lambda: any("was taken away" in text for text in dock._jobs[0].state.warnings), timeout=WAIT)
    half.go.set()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    assert "labels layer was taken away" in dock.status.warning.text()
    assert len(viewer.layers) == 2
    assert (viewer.layers[1].data == 3).all()


def test_its_scan_deleted_meanwhile(dock: SegmentDock, viewer: Any, qtbot: Any, half: Half) -> None:
    half.finish = True
    dock.primary.click()
    viewer.layers.clear()
    half.go.set()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    assert [layer.name for layer in viewer.layers] == ["body - segmentation (organs)"]
    assert not dock.primary.isEnabled()
    viewer.layers.clear()
    dock.panel.undo_button.click()
    for act in (dock.panel.buttons["largest"].click, dock.panel.buttons["entropy"].click, dock.files._on_save):
        dock.show_error("")
        act()
        assert dock.status.error.text() == f"✖ {GONE}"
    assert not dock.running


@pytest.mark.parametrize("how", ["dock", "viewer"])
def test_closing_while_it_works(
    how: str, make_napari_viewer: Any, segmentation_model: Path, qtbot: Any, half: Half
) -> None:
    viewer = make_napari_viewer()
    before = len(viewer.mouse_drag_callbacks)
    dock = opened(viewer, segmentation_model)
    dock.region.set_kind(1)
    labels = begin(dock, viewer, qtbot)
    job = dock._jobs[0]
    if how == "dock":
        viewer.window.remove_dock_widget(dock)
        assert dock.closed
        assert len(viewer.mouse_drag_callbacks) == before
        assert labels in viewer.layers, "what is done is the user's"
        assert not list(viewer.scene.overlays) or "genesis_region_to_segment" not in viewer.scene.overlays
    else:
        viewer.close()
    assert job.wait_closed()


def test_a_mask_of_another_grid_and_an_empty_one(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    other = body().crop((0, 0, 0), (24, 40, 40)).with_data(np.ones((1, 24, 40, 40), np.uint8), name="other")
    add_volume(viewer, other, kind="labels", name="other")
    empty = body().with_data(np.zeros(SHAPE, np.uint8), name="empty")
    add_volume(viewer, empty, kind="labels", name="empty")
    dock.region.set_kind(2)
    dock.region.masks.set_layer(viewer.layers["other"])
    dock.primary.click()
    assert "other: expected a mask on the grid of body" in dock.status.error.text()
    dock.region.masks.set_layer(viewer.layers["empty"])
    dock.primary.click()
    assert "empty: expected a mask with at least one painted voxel" in dock.status.error.text()
    assert len(viewer.layers) == 3
    assert not dock.running
    viewer.layers["empty"].data[5, 9, 9] = 1
    dock.primary.click()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    labels = viewer.layers[-1].data
    assert (labels[5, 9, 9], (labels > 0).sum()) == (3, 1), "a single painted voxel is enough"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("4-D", "expected a 3D volume, got 4 dimensions"),
        ("2-D", "expected a 3D volume, got 2 dimensions"),
        ("RGB", "got an RGB picture"),
        ("multiscale", "got a multiscale pyramid"),
    ],
)
def test_layers_that_are_no_scan_are_told_apart(
    kind: str, sentence: str, dock: SegmentDock, viewer: Any, qtbot: Any
) -> None:
    zeros = np.zeros
    data: Any = {
        "4-D": zeros((2, 8, 8, 8)), "2-D": zeros((8, 8)), "RGB": zeros((8, 8, 8, 3), np.uint8),
        "multiscale": [zeros((16, 16, 16)), zeros((8, 8, 8))],
    }[kind]  # fmt: skip
    layer = viewer.add_image(data, name=kind, rgb=kind == "RGB", multiscale=kind == "multiscale")
    dock.scans.pickers[0].set_layer(layer)
    assert sentence in dock.status.error.text()
    assert not dock.primary.isEnabled()
    dock.scans.pickers[0].set_layer(viewer.layers["body"])
    assert dock.status.error.text() == ""
    assert dock.primary.isEnabled()


def test_a_layer_without_geometry_is_taken_in_millimetres(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    plain = viewer.add_image(body().data[0].astype(np.float32), name="plain")
    dock.scans.pickers[0].set_layer(plain)
    dock.primary.click()
    wait(dock, qtbot)
    assert "plain: expected a CT in HU, on which the model was trained" in dock.status.error.text()
    assert len(viewer.layers) == 2
    assert not dock.unfinished.asking


def test_models_that_restore_are_explained_not_offered(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    network = UNet3d(width=2)
    restoring = tmp_path / "restoring.safetensors"
    write_model(restoring, network.build(0), ModelCard(title="restoring", network=network, patch=(16, 16, 16)))
    dock = opened(viewer, None)
    assert dock.models.info.text().startswith("No segmentation model yet: fine-tune one")
    assert not dock.primary.isEnabled()
    assert dock.primary.toolTip() == "choose a segmentation model first"
    dock.models.set_path(restoring)
    assert dock.models.combo.labels() == []
    assert dock.models.panel.mismatch.text() == "⚠ restoring restores scans: it cannot be used here."
    assert not dock.files.batch.button.isEnabled()


def test_two_channels_are_two_layers_on_one_grid(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    network = UNet3d(width=2, norm="none", in_channels=2, out_channels=2)
    two = tmp_path / "two.safetensors"
    task, patch = {"name": "segmentation"}, (16, 16, 16)
    card = ModelCard(title="two", network=network, task=task, activation="softmax", patch=patch)
    write_model(two, network.build(0), card)
    dock = opened(viewer, two)
    first, second = dock.scans.pickers
    assert not second.isHidden()
    small = body().crop((0, 0, 0), (16, 16, 16))
    other = add_volume(viewer, small.with_data(small.data, name="small"))
    second.set_layer(other)
    first.set_layer(viewer.layers["body"])
    dock.primary.click()
    assert "expected the grid of body" in dock.status.error.text()
    second.set_layer(viewer.layers["body"])
    dock.primary.click()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    assert len(viewer.layers) == 3


def test_a_full_disk_is_said(dock: SegmentDock, viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    dock.primary.click()
    wait(dock, qtbot)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    dock.files.save(tmp_path / "out.nii.gz")
    wait(dock, qtbot)
    assert "No space left on device" in dock.status.error.text()
    dock.files.export(tmp_path / "table.csv")
    assert "No space left on device" in dock.status.error.text()
    assert not (tmp_path / "out.nii.gz").exists()
    assert not (tmp_path / "table.csv").exists()


def test_a_folder_that_holds_no_scan_is_said(dock: SegmentDock, qtbot: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    dock.files.batch.scans.line.setText(str(tmp_path / "empty"))
    dock.files.batch.out.line.setText(str(tmp_path / "out"))
    dock.files.batch.button.click()
    wait(dock, qtbot)
    assert str(tmp_path / "empty") in dock.status.error.text()
