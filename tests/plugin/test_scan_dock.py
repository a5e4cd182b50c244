"""The Scan dock: windows, planes, positions, readout and the three planes, in a real viewer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.utils import Colormap
from qtpy.QtWidgets import QLabel
from scipy.spatial.transform import Rotation

from genesis3d.data import phantoms
from genesis3d.volume import Geometry, Volume
from napari_genesis.layers import add_volume, patient_point
from napari_genesis.widgets.scan.dock import HIDE, SHOW, ScanDock
from napari_genesis.widgets.scan.readout import REST, describe_point, describe_value
from napari_genesis.widgets.scan.views import PLANES, anatomical_orientation


def ct(shape: tuple[int, int, int] = (6, 8, 10), tilt: float = 0, name: str = "ct") -> Volume:
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(1, *shape) - 1000
    direction = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    geometry = Geometry(shape, (2.5, 0.5, 0.75), (-20, -2, -3), tuple(map(tuple, direction.tolist())))
    return Volume(data, geometry, modality="CT", unit="HU", name=name)


def mr(name: str = "mr") -> Volume:
    values = np.linspace(0, 1000, 6 * 8 * 10, dtype=np.float32).reshape(1, 6, 8, 10)
    return Volume(values, Geometry((6, 8, 10)), modality="MR", name=name)


@pytest.fixture
def docked(viewer: Any) -> Any:
    """A Scan dock in a viewer with a CT."""
    add_volume(viewer, ct())
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    return dock


def orientation(viewer: Any) -> tuple[str, ...]:
    return tuple(str(side) for side in viewer.scene.camera.orientation)


def test_an_empty_dock_says_what_to_do(viewer: Any) -> None:
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    assert "Drop a DICOM folder" in dock.facts.text()
    assert not dock.primary.isEnabled()
    add_volume(viewer, ct())
    assert dock.facts.text() == "CT, values in HU"
    assert dock.primary.isEnabled()


def test_windows_and_contrast_follow_each_other(docked: Any) -> None:
    controls, layer = docked.window_controls, docked.layer
    controls.windows["lung"].click()
    assert layer.contrast_limits == [-1350, 150]
    assert (controls.level.value(), controls.width.value()) == (-600, 1500)
    assert controls.windows["lung"].isChecked()
    layer.contrast_limits = (-160, 240)
    assert (controls.level.value(), controls.width.value()) == (40, 400)
    assert controls.windows["soft tissue"].isChecked()
    assert not controls.windows["lung"].isChecked()
    controls.width.setValue(100)
    assert layer.contrast_limits == [-10, 90]
    docked.reset()
    assert controls.windows["soft tissue"].isChecked() or controls.windows["lung"].isChecked()


def test_scans_without_hu_get_percentiles(docked: Any) -> None:
    layer = add_volume(docked.viewer, mr())
    docked.layer_picker.set_layer(layer)
    controls = docked.window_controls
    assert all(button.isHidden() for button in controls.windows.values())
    controls.percentiles["whole range"].click()
    assert layer.contrast_limits == [0, 1000]
    controls.percentiles["2 to 98 %"].click()
    np.testing.assert_allclose(layer.contrast_limits, [20, 980], atol=1)
    flat = add_volume(docked.viewer, mr("flat").with_data(np.zeros((6, 8, 10))))
    docked.layer_picker.set_layer(flat)
    before = list(flat.contrast_limits)
    controls.percentiles["2 to 98 %"].click()
    assert flat.contrast_limits == before


def test_planes_are_head_up_and_the_camera_is_given_back(docked: Any) -> None:
    viewer, planes = docked.viewer, docked.plane_controls
    assert orientation(viewer) == ("away", "down", "right")
    planes.planes["coronal"].click()
    assert viewer.dims.order == (1, 0, 2)
    assert orientation(viewer)[1:] == ("up", "right")
    planes.planes["sagittal"].click()
    assert viewer.dims.order == (2, 0, 1)
    planes.volume.click()
    assert viewer.dims.ndisplay == 3
    assert viewer.dims.order == (0, 1, 2)
    np.testing.assert_allclose(viewer.scene.camera.view_direction, (0, 1, 0), atol=1e-6)
    viewer.dims.ndisplay = 2
    assert planes.planes["axial"].isChecked()
    viewer.dims.order = (1, 0, 2)
    assert planes.planes["coronal"].isChecked()
    planes.anatomical.setChecked(False)
    assert orientation(viewer) == ("towards", "down", "right")
    planes.anatomical.setChecked(True)
    viewer.window.remove_dock_widget(docked)
    assert orientation(viewer) == ("towards", "down", "right")
    assert list(viewer.mouse_move_callbacks) == []


def test_a_lung_window_is_put_aside_in_3d_and_comes_back(docked: Any) -> None:
    viewer, layer = docked.viewer, docked.layer
    docked.window_controls.windows["lung"].click()
    docked.plane_controls.volume.click()
    assert layer.rendering == "attenuated_mip"
    assert layer.contrast_limits == [-160, 240]
    docked.plane_controls.planes["axial"].click()
    assert layer.contrast_limits == [-1350, 150]
    assert layer.rendering == "mip"
    viewer.dims.ndisplay = 3
    docked.window_controls.windows["bone"].click()
    viewer.dims.ndisplay = 2
    assert layer.contrast_limits == [-500, 1300]  # chosen in 3D: it stays
    docked.window_controls.windows["lung"].click()
    viewer.dims.ndisplay = 3
    viewer.window.remove_dock_widget(docked)
    assert layer.rendering == "mip"
    assert layer.contrast_limits == [-1350, 150]


def test_layers_outside_of_patient_space_keep_napari_s_camera(viewer: Any) -> None:
    viewer.add_image(np.zeros((4, 5, 6)), name="cells")
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    assert not dock.plane_controls.anatomical.isEnabled()
    assert orientation(viewer) == ("towards", "down", "right")
    assert "the layer does not say" in dock.facts.text()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 0, 1), (0, 2, 1), (1, 2, 0), (2, 1, 0)])
def test_no_order_of_axes_is_mirrored(order: tuple[int, int, int]) -> None:
    depth, vertical, horizontal = anatomical_orientation(order)
    axes = np.eye(3)  # columns: S, P, L in the right-handed frame (L, P, S) read backwards
    lps = axes[:, ::-1]
    away = lps[order[0]] * (1 if depth == "away" else -1)
    down = lps[order[1]] * (1 if vertical == "down" else -1)
    right = lps[order[2]] * (1 if horizontal == "right" else -1)
    assert np.linalg.det([right, -down, -away]) > 0  # right, up and towards the viewer: right-handed as in life
    assert vertical == ("up" if order[1] == 0 else "down")


def test_positions_are_read_and_typed_in_patient_millimetres(viewer: Any) -> None:
    layer = add_volume(viewer, ct(tilt=10))
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    assert "tilted by 10.0 degrees" in dock.facts.text()
    index = np.array((2, 3, 4))
    world = ct(tilt=10).geometry.to_world(index)
    for axis, value in zip(("S", "P", "L"), world, strict=True):
        dock.jump.fields[axis].setValue(float(value))
    dock.jump.button.click()
    np.testing.assert_allclose(layer.world_to_data(viewer.dims.point), index, atol=0.2)  # typed to 0.1 mm
    np.testing.assert_allclose(viewer.scene.camera.center[1:], viewer.dims.point[1:])
    viewer.dims.set_current_step(0, 5)
    expected = patient_point(layer, viewer.dims.point)[0]
    assert dock.jump.fields["S"].value() == pytest.approx(expected, abs=0.06)


def test_the_readout_names_value_and_sides(docked: Any, MouseEvent: Any) -> None:
    viewer, layer = docked.viewer, docked.layer
    point = layer.data_to_world((1, 2, 3))
    event = MouseEvent(type="mouse_move", position=point)
    for callback in viewer.mouse_move_callbacks:
        callback(viewer, event)
    assert docked.readout.text() == f"R 0.8  A 1.0  I 17.5 mm\n{layer.data[1, 2, 3]} HU"
    docked.readout.on_move((0, 0, 900))
    assert docked.readout.text() == "outside of the scan"
    docked.readout.on_move(point, ndisplay=3)
    assert "switch 3D off" in docked.readout.text()
    viewer.layers.clear()
    docked.readout.on_move(point)
    assert docked.readout.text() == ""
    add_volume(viewer, mr())
    assert docked.readout.text() == REST


def test_readout_words() -> None:
    assert describe_point((101, -40.2, -12.34)) == "R 12.3  A 40.2  S 101.0 mm"
    assert describe_point((-0.04, 0.04, 5)) == "L 5.0  P 0.0  S 0.0 mm"
    assert describe_value(np.int16(-723), "HU") == "-723 HU"
    assert describe_value(np.float32(0.123456), None) == "0.1235"
    assert describe_value(np.float32("nan"), "HU") == "not a number"


def test_scans_of_other_tilt_are_said_in_the_dock(docked: Any) -> None:
    other = add_volume(docked.viewer, ct(tilt=7, name="tilted"))
    docked.layer_picker.set_layer(other)
    assert "7.0 degrees" in _said(docked)
    docked.viewer.layers.remove(other)
    assert "degrees" not in _said(docked)


def _said(dock: ScanDock) -> str:
    return " ".join(label.text() for label in dock.status.findChildren(QLabel))


def test_three_planes_follow_and_lead(docked: Any, qtbot: Any) -> None:
    viewer, layer = docked.viewer, docked.layer
    docked.primary.click()
    assert docked.primary.text() == HIDE
    planes = docked.planes
    assert [tuple(view.model.dims.order) for view in planes.views] == list(PLANES.values())
    for view in planes.views:
        assert np.shares_memory(view.model.layers[0].data, layer.data)
    viewer.dims.set_point(range(3), layer.data_to_world((1, 2, 3)))
    for view in planes.views:
        depth = PLANES[view.name][0]
        assert view.model.dims.point[depth] == pytest.approx(viewer.dims.point[depth])
        assert view.model.dims.nsteps[depth] == viewer.dims.nsteps[depth]
        np.testing.assert_allclose((view.cross.data[:, 0] * view.cross.scale).max(axis=0), viewer.dims.point)
    assert planes.views[0].title.text() == "Axial  I 17.5 mm"
    planes.views[1].pointed.emit(tuple(layer.data_to_world((4, 5, 6))))
    np.testing.assert_allclose(layer.world_to_data(viewer.dims.point), (4, 5, 6))
    layer.contrast_limits = (0, 80)
    assert all(view.model.layers[0].contrast_limits == [0, 80] for view in planes.views)
    labels = add_volume(viewer, ct(name="mask").with_data(np.zeros((6, 8, 10), np.uint8)), like=layer, kind="labels")
    assert [len(view.model.layers) for view in planes.views] == [3, 3, 3]
    labels.visible = False
    assert not planes.views[0].model.layers[1].visible
    viewer.layers.remove(labels)
    assert [view.model.layers[-1].name for view in planes.views] == ["crosshair"] * 3
    docked.primary.click()
    assert docked.planes is None
    assert docked.primary.text() == SHOW


def test_pressing_and_dragging_in_a_plane_moves_the_point(docked: Any, MouseEvent: Any) -> None:
    docked.start()
    view = docked.planes.views[0]
    heard: list[tuple[float, ...]] = []
    view.pointed.connect(heard.append)
    event = MouseEvent(type="mouse_press", position=(1, 2, 3), button=1)
    drag = view.model.mouse_drag_callbacks[-1](view.model, event)
    next(drag)
    event.type, event.position = "mouse_move", (1, 3, 4)
    next(drag)
    event.type, event.position = "mouse_release", (1, 5, 6)
    assert list(drag) == []
    assert heard == [(1, 2, 3), (1, 3, 4), (1, 5, 6)]
    other = MouseEvent(type="mouse_press", position=(1, 2, 3), button=2)
    assert list(view.model.mouse_drag_callbacks[-1](view.model, other)) == []


def test_the_three_planes_closed_by_their_own_cross(docked: Any) -> None:
    docked.start()
    docked.viewer.window.remove_dock_widget(docked.planes)
    assert docked.planes is None
    assert docked.primary.text() == SHOW
    docked.viewer.dims.set_point(0, -10)  # nothing listens any more


def test_the_last_layer_removed_or_renamed_under_the_dock(docked: Any) -> None:
    viewer = docked.viewer
    docked.start()
    docked.layer.name = "renamed"
    assert docked.layer_picker.combo.currentText() == "renamed"
    viewer.layers.clear()
    assert docked.layer is None
    assert docked.planes is None
    docked.window_controls.set_limits(0, 1)
    docked.jump.go()


def test_the_viewer_closed_with_everything_open(docked: Any) -> None:
    docked.start()
    docked.plane_controls.show_plane("3D")
    docked.viewer.close()


def test_the_dock_closed_with_everything_open(docked: Any) -> None:
    viewer = docked.viewer
    docked.start()
    viewer.window.remove_dock_widget(docked)
    assert docked.closed
    assert len(viewer.window.dock_widgets) == 0
    viewer.layers[0].contrast_limits = (0, 10)


COLOURS = Colormap([[0, 0, 0, 0], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]], interpolation="zero")


def chirality_layer(viewer: Any) -> None:
    """Opaque cubes: a red one at the front left hides part of a green one at the back left; a blue one at the head."""
    data = np.zeros((1, 40, 40, 40), np.float32)
    data[0, 12:26, 28:38, 24:38] = 2
    data[0, 16:22, 3:10, 28:34] = 1
    data[0, 32:38, 17:23, 14:20] = 3
    cubes = Volume(data, Geometry((40, 40, 40), (1, 1, 1), (-20, -20, -20)), name="cubes")
    looks = {"colormap": COLOURS, "contrast_limits": (0, 4), "rendering": "translucent", "interpolation3d": "nearest"}
    add_volume(viewer, cubes, **looks)


def centre(picture: Any, channel: int) -> Any:
    others = [c for c in range(3) if c != channel]
    mask = (picture[..., channel] > 100) & (picture[..., others] < 60).all(axis=-1)
    assert mask.sum() > 20, f"channel {channel} is not seen"
    return np.argwhere(mask).mean(axis=0)


def test_the_scan_is_not_mirrored_in_3d(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer(show=True)
    chirality_layer(viewer)
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    dock.plane_controls.show_plane("3D")
    picture = viewer.screenshot(flash=False)
    rows, columns = picture.shape[:2]
    red, green, blue = (centre(picture, channel) for channel in range(3))
    assert red[1] > columns / 2 + 10  # seen from the front, the patient's left is on the right
    assert blue[0] < rows / 2 - 10  # and the head is up
    assert abs(green[1] - red[1]) < 0.2 * columns
    hidden = picture[round(red[0]), round(red[1])]
    assert hidden[0] > hidden[1]  # what lies in front hides what lies behind: this is no view from the back
    dock.plane_controls.anatomical.setChecked(False)
    viewer.scene.camera.set_view_direction((0, 1, 0), (1, 0, 0))
    assert centre(viewer.screenshot(flash=False), 0)[1] < columns / 2 - 10  # napari's own camera mirrors


def test_the_letter_r_reads_rightly_from_the_patient_s_right(make_napari_viewer: Any) -> None:
    viewer = make_napari_viewer(show=True)
    colours = Colormap([[0, 0, 0, 0], [1, 1, 1, 1]], interpolation="zero")
    volume = phantoms.chirality()
    layer = add_volume(viewer, volume, colormap=colours, contrast_limits=(300, 900), rendering="translucent")
    dock = ScanDock(viewer)
    viewer.window.add_dock_widget(dock, name="Scan")
    dock.plane_controls.show_plane("3D")
    camera = viewer.scene.camera
    camera.set_view_direction((0, 0, 1), (1, 0, 0))
    picture = viewer.screenshot(flash=False)[..., 0] > 128
    # orthographic: a pixel's patient position, head up and the patient's front to the right
    rows, columns = (n // 2 + np.arange(-60, 60) for n in picture.shape)
    s = camera.center[0] - (rows - picture.shape[0] / 2) / camera.zoom
    p = camera.center[1] - (columns - picture.shape[1] / 2) / camera.zoom
    near = layer.data[..., : layer.data.shape[2] // 4].max(axis=2) > 600  # the plate at the right of the patient
    (s0, p0, _), (ds, dp, _) = volume.geometry.origin, volume.geometry.spacing
    letter = near[np.ix_(np.round((s - s0) / ds).astype(int), np.round((p - p0) / dp).astype(int))]
    seen = picture[np.ix_(rows, columns)]
    assert np.mean(seen == letter) > 0.85
    assert np.mean(seen[:, ::-1] == letter) < np.mean(seen == letter) - 0.1
