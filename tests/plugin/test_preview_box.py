"""The box in the user's viewer: drawn, dragged, picked, removed without a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_genesis.widgets import box as preview_box
from napari_genesis.widgets.box import Grid, ScanBox
from napari_genesis.widgets.box_draw import LAYER_NAME, LayerBox, edges_2d, edges_3d

SHAPE = (20, 60, 80)
SPACING = np.array([2.5, 1.0, 1.0])
GRID = Grid(SHAPE, lambda index: np.asarray(index) * SPACING, lambda view: np.asarray(view) / SPACING)
CORNERS = np.array([[a, b, c] for a in (0, 10) for b in (20, 30) for c in (40, 60)], dtype=float)


def press(position: tuple[float, ...], kind: str = "mouse_press", **changes: Any) -> SimpleNamespace:
    event = SimpleNamespace(type=kind, position=position, button=1, modifiers=(), dims_displayed=(1, 2), handled=False)
    event.__dict__.update(changes)
    return event


def drag(box: ScanBox, *positions: tuple[float, ...], **changes: Any) -> bool:
    """Press, move and release; return whether the box took the press."""
    event = press(positions[0], **changes)
    steps = box._on_press(None, event)
    if next(steps, "none") == "none":
        return False
    for position in positions[1:-1]:
        event.type, event.position = "mouse_move", position
        next(steps)
    event.type, event.position = "mouse_release", positions[-1]
    next(steps, None)
    return True


@pytest.fixture
def scene() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(np.zeros(SHAPE, np.int16), scale=SPACING, units=("mm",) * 3)
    return viewer


@pytest.fixture
def box(scene: Any) -> Iterator[ScanBox]:
    made = ScanBox(scene)
    made.show(GRID, (4, 10, 20), (8, 16, 32))
    yield made
    made.remove()


def test_edges_of_the_box_in_3d() -> None:
    lines = edges_3d(CORNERS, (0, 1, 2)).reshape(12, 2, 3)
    lengths = np.abs(lines[:, 0] - lines[:, 1])
    assert (np.count_nonzero(lengths, axis=1) == 1).all(), "every edge runs along one axis"
    assert sorted(lengths.sum(axis=1).tolist()) == [10.0] * 8 + [20.0] * 4
    assert set(lines[..., 0].ravel()) == {40, 60}, "the last axis comes first"


def test_rectangle_in_2d_only_on_its_slices() -> None:
    inside = edges_2d(CORNERS, (1, 2), np.array([5.0, 0, 0]))
    assert inside is not None
    assert inside.shape == (8, 3)
    assert inside[:, 0].min() == 40
    assert inside[:, 1].max() == 30
    assert edges_2d(CORNERS, (1, 2), np.array([11.0, 0, 0])) is None
    assert edges_2d(CORNERS, (0, 2), np.array([11.0, 25, 0])) is not None, "coronal: only P decides"


def test_corners_are_the_outer_faces_of_the_voxels(box: ScanBox) -> None:
    corners = box.corners()
    np.testing.assert_allclose(corners.min(axis=0), [3.5 * 2.5, 9.5, 19.5])
    np.testing.assert_allclose(corners.max(axis=0), [11.5 * 2.5, 25.5, 51.5])


def test_it_is_no_layer_and_leaves_nothing(scene: Any) -> None:
    before = (
        list(scene.layers),
        set(scene.layers.selection),
        list(scene.scene.overlays),
        list(scene.mouse_drag_callbacks),
    )
    box = ScanBox(scene)
    box.show(GRID, (4, 10, 20), (8, 16, 32))
    assert list(scene.layers) == before[0]
    assert len(scene.scene.overlays) == len(before[2]) + 1
    box.remove()
    box.remove()
    after = (
        list(scene.layers),
        set(scene.layers.selection),
        list(scene.scene.overlays),
        list(scene.mouse_drag_callbacks),
    )
    assert after == before


def test_dragging_moves_it_in_the_plane(box: ScanBox) -> None:
    seen: list[tuple] = []
    box.moved.connect(seen.append)
    assert drag(box, (15.0, 15, 30), (15.0, 18, 33), (15.0, 25, 20))
    assert seen == [(4, 13, 23), (4, 20, 10)]


def test_dragging_in_another_plane(box: ScanBox) -> None:
    seen: list[tuple] = []
    box.moved.connect(seen.append)
    assert drag(box, (15.0, 15, 30), (20.0, 15, 30), dims_displayed=(0, 2))
    assert seen == [(6, 10, 20)]


def test_it_stays_inside_the_scan(box: ScanBox) -> None:
    seen: list[tuple] = []
    box.moved.connect(seen.append)
    drag(box, (15.0, 15, 30), (15.0, -500, 900))
    assert seen == [(4, 0, 48)]


@pytest.mark.parametrize(
    "changes", [{"button": 2}, {"modifiers": ("Alt",)}, {"dims_displayed": (0, 1, 2)}, {"position": (15.0, 50, 70)}]
)
def test_presses_that_are_not_for_it(box: ScanBox, changes: dict) -> None:
    event = press(**({"position": (15.0, 15, 30)} | changes))
    assert next(box._on_press(None, event), "none") == "none"
    assert not event.handled


def test_painting_goes_on_undisturbed(scene: Any, box: ScanBox) -> None:
    labels = scene.add_labels(np.zeros(SHAPE, int), scale=SPACING, units=("mm",) * 3)
    labels.mode = "paint"
    assert not drag(box, (15.0, 15, 30), (15.0, 18, 33))
    labels.mode = "pan_zoom"
    assert drag(box, (15.0, 15, 30), (15.0, 18, 33))


def test_picking_centres_it_at_the_next_press(box: ScanBox) -> None:
    seen: list[tuple] = []
    box.moved.connect(seen.append)
    box.pick_next()
    assert drag(box, (25.0, 40, 60), (25.0, 40, 60))
    assert seen == [(6, 32, 44)]
    assert not drag(box, (25.0, 5, 5), (25.0, 5, 5)), "one press only"


def test_going_to_it_moves_slices_alone(scene: Any, box: ScanBox) -> None:
    camera = (scene.scene.camera.center, scene.scene.camera.zoom)
    box.go()
    assert tuple(scene.dims.point) == pytest.approx((7.5 * 2.5, 17.5, 35.5), abs=1.3)
    assert (scene.scene.camera.center, scene.scene.camera.zoom) == camera


def test_hidden_it_takes_no_press(box: ScanBox) -> None:
    box.hide()
    assert not drag(box, (15.0, 15, 30), (15.0, 18, 33))


def test_helper_layer_where_overlays_cannot_be_had(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_box, "draw_box", LayerBox)
    before, active = set(scene.layers.selection), scene.layers.selection.active
    box = ScanBox(scene)
    box.show(GRID, (4, 10, 20), (8, 16, 32))
    layer = scene.layers[LAYER_NAME]
    assert layer.bounding_box.visible
    extent = layer.extent.world
    np.testing.assert_allclose(extent[0] - np.asarray(layer.scale) / 2, [3.5 * 2.5, 9.5, 19.5])
    np.testing.assert_allclose(extent[1] + np.asarray(layer.scale) / 2, [11.5 * 2.5, 25.5, 51.5])
    assert (set(scene.layers.selection), scene.layers.selection.active) == (before, active)
    scene.layers.remove(layer)
    box.show(GRID, (4, 10, 20), (8, 16, 32))
    assert LAYER_NAME in scene.layers, "deleted by the user, it comes back with the next move"
    box.remove()
    assert LAYER_NAME not in scene.layers


@pytest.mark.parametrize("ndisplay", [2, 3])
def test_it_is_seen_in_2d_and_3d(make_napari_viewer: Callable[..., Any], ndisplay: int) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros(SHAPE, np.int16), scale=SPACING, units=("mm",) * 3, contrast_limits=(0, 1))
    viewer.dims.ndisplay = ndisplay
    viewer.dims.set_point(0, 20)
    empty = viewer.screenshot(flash=False)
    box = ScanBox(viewer)
    box.show(GRID, (4, 10, 20), (8, 16, 32))
    drawn = viewer.screenshot(flash=False)
    yellow = (drawn[..., 0] > 180) & (drawn[..., 1] > 130) & (drawn[..., 2] < 120)
    assert yellow.sum() > 200
    box.remove()
    np.testing.assert_array_equal(viewer.screenshot(flash=False), empty)


def test_a_real_mouse_drags_it_and_does_not_pan(make_napari_viewer: Callable[..., Any], qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(np.zeros(SHAPE, np.int16), scale=SPACING, units=("mm",) * 3)
    viewer.dims.set_point(0, 20)
    box = ScanBox(viewer)
    box.show(GRID, (4, 10, 20), (8, 40, 40))
    seen: list[tuple] = []
    box.moved.connect(seen.append)
    canvas = viewer.window._qt_viewer.canvas
    qtbot.wait(100)
    zoom, centre = viewer.scene.camera.zoom, viewer.scene.camera.center
    width, height = canvas.native.width(), canvas.native.height()

    def at(p: float, el: float) -> QPoint:
        x, y = width / 2 + (el - centre[2]) * zoom, height / 2 + (p - centre[1]) * zoom
        return QPoint(round(x), round(y))

    QTest.mousePress(canvas.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at(30, 40))
    QTest.mouseMove(canvas.native, at(33, 44))
    qtbot.wait(50)
    QTest.mouseRelease(canvas.native, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at(35, 50))
    assert seen
    assert seen[-1] == (4, 15, 30)
    assert viewer.scene.camera.center == centre
    box.remove()
