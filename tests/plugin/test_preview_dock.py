"""The Preview dock in a real viewer: live, honest about bad layers, and gone without a trace."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from genesis3d.intensity import CtIntensity
from genesis3d.transforms import Chain, NonLinear, Step, chain_preset
from genesis3d.volume import Geometry, Volume
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.widgets.preview import face as preview_face
from napari_genesis.widgets.preview import model
from napari_genesis.widgets.preview.dock import PreviewDock
from napari_genesis.widgets.preview.engine import Resolver

SHAPE = (40, 72, 80)
SIZE = (32, 64, 64)


def phantom(seed: int = 0, name: str = "ct") -> Volume:
    data = np.random.default_rng(seed).integers(-1000, 900, SHAPE).astype(np.int16)
    return Volume(data[None], Geometry(SHAPE, (2.5, 0.75, 0.75), (-100.0, 12.0, 30.0)), "CT", "HU", name=name)


def settle(qtbot: Any, dock: PreviewDock) -> None:
    qtbot.waitUntil(lambda: not dock.resolver.busy, timeout=20_000)


def docked(viewer: Any, qtbot: Any) -> PreviewDock:
    """A dock of its own: a whole window costs seconds, and few tests are about it."""
    made = PreviewDock(viewer)
    qtbot.addWidget(made)
    settle(qtbot, made)
    return made


@pytest.fixture(autouse=True)
def _no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the test before are let go here and not at each closing, for pytest holds them until its end."""
    monkeypatch.setattr(preview_face, "_collect", int)
    gc.collect()


@pytest.fixture
def scene() -> ViewerModel:
    viewer = ViewerModel()
    add_volume(viewer, phantom())
    return viewer


@pytest.fixture
def dock(scene: ViewerModel, qtbot: Any) -> Iterator[PreviewDock]:
    made = docked(scene, qtbot)
    yield made
    made.shutdown()


def shown(dock: PreviewDock) -> tuple[np.ndarray, ...]:
    return tuple(np.array(layer.data) for layer in dock.views.layers)


def state(viewer: Any) -> dict[str, Any]:
    camera, grid = viewer.scene.camera, viewer.canvas.grid
    return {
        "camera": (camera.center, camera.zoom, camera.angles, camera.perspective, camera.orientation),
        "dims": (viewer.dims.ndisplay, viewer.dims.order, viewer.dims.point, viewer.dims.axis_labels),
        "grid": (grid.enabled, grid.shape, grid.stride, grid.spacing),
        "layers": [(layer.name, layer.visible, layer.opacity, layer.mode) for layer in viewer.layers],
        "selection": (set(viewer.layers.selection), viewer.layers.selection.active),
        "overlays": list(viewer.scene.overlays),
        "callbacks": list(viewer.mouse_drag_callbacks),
        "theme": viewer.theme,
    }


def test_it_shows_the_box_under_the_official_chain(dock: PreviewDock) -> None:
    original, transformed, difference = shown(dock)
    frame = dock.frame
    assert frame is not None
    assert (frame.start, frame.size, frame.chain) == ((4, 4, 8), SIZE, chain_preset("official"))
    expected = model.resolve(frame)
    np.testing.assert_array_equal(original, expected.original)
    np.testing.assert_array_equal(transformed, expected.transformed)
    np.testing.assert_array_equal(difference, transformed - original)
    assert dock.outcome.text() == f"outcome: {expected.outcome}"
    assert [layer.name.split()[0] for layer in dock.views.layers] == ["original", "transformed", "difference"]


def test_a_slider_changes_the_voxels_in_place(dock: PreviewDock, qtbot: Any) -> None:
    dock.chain.set_value(Chain(steps=(Step(transform=NonLinear(direction="increasing")),)))
    dock._update()
    settle(qtbot, dock)
    layers, buffers, before = dock.views.layers, [layer.data for layer in dock.views.layers], shown(dock)
    dock.chain.rows[0].curve.targets[0].setPos(-900.0, 900.0)
    settle(qtbot, dock)
    assert dock.views.layers == layers
    assert all(layer.data is buffer for layer, buffer in zip(layers, buffers, strict=True)), "written in place"
    assert not np.array_equal(shown(dock)[1], before[1])
    np.testing.assert_array_equal(shown(dock)[1], model.resolve(dock.frame).transformed)


def test_dragging_the_box_shows_what_is_under_it(scene: Any, dock: PreviewDock, qtbot: Any) -> None:
    dock.chain.set_value(chain_preset("identity"))
    dock.box._move(np.array([0.2, 7.6, 16.0]))
    settle(qtbot, dock)
    np.testing.assert_allclose(shown(dock)[0], scene.layers[0].data[0:32, 8:72, 16:80], atol=1e-3)
    assert dock.place.where.text() == "first voxel (x, y, z) 16, 8, 0"


def test_seed_is_locked_stepped_and_drawn(dock: PreviewDock, qtbot: Any) -> None:
    first = shown(dock)[1]
    dock.place.centre.emit()
    settle(qtbot, dock)
    np.testing.assert_array_equal(shown(dock)[1], first)
    dock.address.next()
    settle(qtbot, dock)
    assert not np.array_equal(shown(dock)[1], first)
    dock.address.set_value(0, 0, 0)
    dock._update()
    settle(qtbot, dock)
    np.testing.assert_array_equal(shown(dock)[1], first)
    dock.address.lock.setChecked(False)
    dock.place.centre.emit()
    assert dock.address.value == (1, 0, 0), "unlocked, each move draws anew"
    dock.primary.click()
    assert dock.address.step.value() == 0


def test_size_fields_keep_the_middle(dock: PreviewDock, qtbot: Any) -> None:
    dock.place.sides[0].setValue(32)
    dock.place.sides[2].setValue(16)
    settle(qtbot, dock)
    assert dock.frame.size == (16, 64, 32)
    assert dock.frame.start == (12, 4, 24)
    assert shown(dock)[0].shape == (16, 64, 32)
    dock.place.sides[2].setValue(64)
    settle(qtbot, dock)
    assert dock.frame.start[0] == -12, "larger than the scan: padded on both sides"


def test_a_size_that_does_not_suit_the_chain_is_said_and_mended(dock: PreviewDock, qtbot: Any) -> None:
    dock.place.sides[2].setValue(4)
    settle(qtbot, dock)
    assert "painting: expected at least" in dock.status.error.text()
    dock.place.sides[2].setValue(32)
    settle(qtbot, dock)
    assert dock.status.error.text() == ""


def test_one_contrast_for_all(scene: Any, dock: PreviewDock) -> None:
    scene.layers[0].contrast_limits = (-700, 300)
    original, transformed, difference = dock.views.layers
    assert tuple(original.contrast_limits) == tuple(transformed.contrast_limits) == (-700, 300)
    assert tuple(difference.contrast_limits) == (-500, 500)
    assert difference.name == "difference \N{PLUS-MINUS SIGN}500 HU"
    dock.looks.windows.setCurrentText("lung")
    assert tuple(original.contrast_limits) == (-1350, 150)
    dock.looks.windows.setCurrentText("whole range")
    assert tuple(original.contrast_limits) == (-1000, 1000)


def test_views_follow_the_viewer(scene: Any, dock: PreviewDock) -> None:
    scene.dims.ndisplay = 3
    assert dock.views.model.dims.ndisplay == 3
    dock.looks.dimension_group.button(1).click()
    assert dock.views.model.dims.ndisplay == 2
    assert scene.dims.ndisplay == 3, "the viewer is not touched"
    scene.dims.ndisplay = 2
    scene.dims.order = (1, 0, 2)
    assert tuple(dock.views.model.dims.order) == (1, 0, 2)
    scene.dims.set_point(1, 12.0 + 0.75 * 20)
    assert dock.views.model.dims.current_step[1] == 16


def test_overlay_orientation_and_readout(dock: PreviewDock) -> None:
    model_viewer = dock.views.model
    dock.looks.layout_group.button(1).click()
    assert not model_viewer.canvas.grid.enabled
    assert [layer.visible for layer in dock.views.layers] == [True, False, True]
    dock.looks.layout_group.button(0).click()
    assert model_viewer.canvas.grid.enabled
    assert all(layer.visible for layer in dock.views.layers)
    orientation = tuple(str(o) for o in model_viewer.scene.camera.orientation)
    assert orientation == ("away", "down", "right"), "napari's own would mirror it in 3D"
    model_viewer.cursor.position = (2.5 * 3, 0.75 * 5, 0.75 * 7)
    original, transformed, _ = (array[3, 5, 7] for array in shown(dock))
    assert f"{original:.0f}" in dock.views.readout.text()
    assert f"{transformed:.0f} HU" in dock.views.readout.text()
    assert "S -82.5  P 18.8  L 41.2 mm" in dock.views.readout.text()


def test_the_viewer_is_given_back_as_it_was(viewer: Any, qtbot: Any) -> None:
    scene = viewer
    add_volume(scene, phantom())
    scene.add_labels(np.zeros(SHAPE, int), name="mask")
    scene.layers.selection.active = scene.layers["ct"]
    scene.dims.order = (2, 0, 1)
    scene.dims.ndisplay = 3
    scene.scene.camera.angles = (10, 20, 30)
    before = state(scene)
    dock = PreviewDock(scene)
    widget = scene.window.add_dock_widget(dock, name="Preview")
    settle(qtbot, dock)
    dock.looks.dimension_group.button(1).click()
    dock.looks.layout_group.button(1).click()
    dock.address.next()
    settle(qtbot, dock)
    scene.window.remove_dock_widget(widget)
    assert dock.closed
    assert state(scene) == before


def test_the_viewer_closed_under_it(make_napari_viewer: Callable[..., Any], qtbot: Any) -> None:
    """With an answer still to come: no traceback, no thread, no timer, no viewer left (the gates look)."""
    viewer = make_napari_viewer()
    add_volume(viewer, phantom())
    dock = PreviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="Preview")
    dock.address.next()
    viewer.close()


@pytest.mark.parametrize("kind", ["flat", "rgb", "labels", "series", "pyramid"])
def test_layers_that_cannot_be_shown_are_refused_in_a_sentence(qtbot: Any, kind: str) -> None:
    viewer = ViewerModel()
    if kind == "flat":
        viewer.add_image(np.zeros((8, 9)), name="odd")
    elif kind == "rgb":
        viewer.add_image(np.zeros((8, 9, 3), np.uint8), rgb=True, name="odd")
    elif kind == "labels":
        viewer.add_labels(np.zeros((8, 9, 10), int), name="odd")
    elif kind == "series":
        viewer.add_image(np.zeros((2, 8, 9, 10)), name="odd")
    else:
        viewer.add_image([np.zeros((16, 16, 16)), np.zeros((8, 8, 8))], multiscale=True, name="odd")
    dock = docked(viewer, qtbot)
    assert "'odd': expected" in dock.status.error.text()
    assert dock.frame is None
    assert not dock.primary.isEnabled()
    add_volume(viewer, phantom())
    dock.layers.set_layer(viewer.layers["ct"])
    settle(qtbot, dock)
    assert dock.status.error.text() == ""
    assert shown(dock)[0].shape == SIZE
    dock.shutdown()


def test_no_contrast_is_refused(qtbot: Any) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((40, 70, 70)), name="flat")
    dock = docked(viewer, qtbot)
    assert "flat: expected voxels of more than one finite value" in dock.status.error.text()
    dock.shutdown()


def test_without_a_layer_it_says_what_to_do(qtbot: Any) -> None:
    viewer = ViewerModel()
    dock = docked(viewer, qtbot)
    assert "open a scan" in dock.outcome.text()
    dock.shutdown()


def test_the_layer_is_deleted_and_another_comes(scene: Any, dock: PreviewDock, qtbot: Any) -> None:
    scene.add_labels(np.zeros(SHAPE, int), name="mask")
    add_volume(scene, phantom(5, "second"))
    dock.address.next()
    scene.layers.remove("ct")
    settle(qtbot, dock)
    assert dock.layers.layer is scene.layers["second"]
    np.testing.assert_array_equal(dock.frame.volume.data[0], scene.layers["second"].data)
    scene.layers.remove("second")
    settle(qtbot, dock)
    assert dock.frame is None
    assert len(scene.scene.overlays) == 1
    assert not any(layer.visible for layer in dock.views.layers)
    assert "'mask': expected an image" in dock.status.error.text()


def test_the_layer_is_renamed_replaced_and_moved(scene: Any, dock: PreviewDock, qtbot: Any) -> None:
    layer = scene.layers[0]
    layer.name = "other name"
    settle(qtbot, dock)
    assert dock.layers.combo.currentText() == "other name"
    assert dock.frame.volume.name == "other name"
    layer.data = phantom(9).data[0]
    settle(qtbot, dock)
    np.testing.assert_array_equal(shown(dock)[0], model.resolve(dock.frame).original)
    layer.data = np.random.default_rng(1).normal(size=(50, 90, 100)).astype(np.float32) * 300
    settle(qtbot, dock)
    assert dock.frame.start == (9, 13, 18), "another shape: the middle again"
    layer.scale = (1.0, 2.0, 2.0)
    settle(qtbot, dock)
    assert tuple(dock.views.layers[0].scale) == (1.0, 2.0, 2.0)


def test_answers_about_a_scan_that_is_gone_are_dropped(scene: Any, dock: PreviewDock, qtbot: Any) -> None:
    Resolver.seconds_per_voxel = 1.0  # so slow that it goes to the thread
    dock._update()
    qtbot.waitUntil(lambda: dock.resolver._job is not None)
    scene.layers.clear()
    settle(qtbot, dock)
    assert not any(layer.visible for layer in dock.views.layers)


def test_slow_frames_are_made_in_a_thread_and_the_latest_wins(dock: PreviewDock, qtbot: Any) -> None:
    Resolver.seconds_per_voxel = 1.0
    for seed in (3, 4, 5):
        dock.address.seed.setValue(seed)
        qtbot.wait(20)
        Resolver.seconds_per_voxel = 1.0
    settle(qtbot, dock)
    np.testing.assert_array_equal(shown(dock)[1], model.resolve(dock.frame).transformed)
    assert dock.frame.seed == 5


def test_saved_chain_is_what_is_shown(dock: PreviewDock, tmp_path: Path, qtbot: Any) -> None:
    dock.chain.rows[2].only.setChecked(True)
    settle(qtbot, dock)
    dock.chain.save(str(tmp_path / "chain.yaml"))
    volume = volume_from_layer(dock.layers.layer)
    frame = model.Frame(volume, CtIntensity().fit(volume), (4, 4, 8), SIZE, model.read_chain(tmp_path / "chain.yaml"))
    np.testing.assert_array_equal(shown(dock)[1], model.resolve(frame).transformed)
    assert dock.outcome.text() == "outcome: non-linear"


def test_copied_python_makes_the_voxels(scene: Any, dock: PreviewDock, qtbot: Any, capsys: Any) -> None:
    dock.address.seed.setValue(17)
    settle(qtbot, dock)
    dock.copy_python()
    names: dict[str, Any] = {"viewer": scene}
    exec(QApplication.clipboard().text(), names)
    scale = CtIntensity().fit(dock.frame.volume)
    np.testing.assert_array_equal(scale.from_unit(names["input"][0, 0].numpy()), shown(dock)[1])
    assert names["outcome"] in dock.outcome.text()


def test_settings_are_remembered_and_reset(scene: Any, dock: PreviewDock, qtbot: Any) -> None:
    dock.chain.set_value(chain_preset("gentle"))
    dock.place.set_size((16, 32, 48))
    dock.address.set_value(4, 5, 6)
    dock.shutdown()
    again = docked(scene, qtbot)
    assert (again.chain.value, again.place.size3, again.address.value) == (
        chain_preset("gentle"),
        (16, 32, 48),
        (4, 5, 6),
    )
    again._on_reset()
    assert (again.chain.value, again.place.size3, again.address.value) == (chain_preset("official"), SIZE, (0, 0, 0))
    again.shutdown()


def test_napari_hands_it_a_proxy(make_napari_viewer_proxy: Callable[..., Any], qtbot: Any) -> None:
    viewer = make_napari_viewer_proxy()
    add_volume(viewer, phantom())
    dock = PreviewDock(viewer)
    widget = viewer.window.add_dock_widget(dock, name="Preview")
    settle(qtbot, dock)
    assert dock.frame is not None
    viewer.window.remove_dock_widget(widget)


def test_floated_and_docked_again_it_still_draws(
    make_napari_viewer: Callable[..., Any], qtbot: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Another window means another graphics context: the canvases are made anew, without an error in between."""
    viewer = make_napari_viewer(show=True)
    add_volume(viewer, phantom())
    dock = PreviewDock(viewer)
    widget = viewer.window.add_dock_widget(dock, name="Preview")
    settle(qtbot, dock)
    qtbot.wait(50)
    before = dock.views.viewer
    widget.setFloating(True)
    qtbot.wait(100)
    assert dock.views.viewer is not before
    picture = dock.views.viewer.screenshot(flash=False)
    assert picture.std() > 20, "something is drawn"
    widget.setFloating(False)
    qtbot.wait(100)
    assert dock.views.viewer.screenshot(flash=False).std() > 20
    assert "Error drawing visual" not in caplog.text
    viewer.window.remove_dock_widget(widget)


@pytest.mark.real
def test_a_real_ct_is_shared_not_copied(real_data: Path, qtbot: Any) -> None:
    from genesis3d.io import read_volume

    viewer = ViewerModel()
    layer = add_volume(viewer, read_volume(real_data / "open" / "chest_ct" / "lidc-0002.nii.gz"))
    dock = docked(viewer, qtbot)
    assert np.shares_memory(dock.frame.volume.data, layer.data)
    dock.place.random.emit()
    settle(qtbot, dock)
    assert shown(dock)[0].std() > 30, "a place with some contrast"
    dock.shutdown()
