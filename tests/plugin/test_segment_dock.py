"""The Segment dock: labels that appear, names and colours, table both ways, corrections, files, batch, a warm model."""

from __future__ import annotations

import csv
import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genesis3d.events import Finished
from genesis3d.networks import library as library_module
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment_settings import SegmentSettings
from napari_genesis.layers import add_volume, patient_point, volume_from_layer
from napari_genesis.widgets.segment.dock import SegmentDock

SHAPE, SPACING = (24, 40, 48), (2.0, 1.5, 1.5)
WAIT = 20_000
QUICK = SegmentSettings(quality="fast", device="cpu", threads=1, precision="32", window=(16, 16, 16), skip_air=False)


def body(name: str = "body", turned: bool = False) -> Volume:
    """A body of 40 HU between air, with two organs of 200 HU, one of them hollow, and a bone of 700 HU."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[:, 3:37, 3:45] = 40
    hu[4:12, 8:20, 8:20] = 200
    hu[7:9, 12:15, 12:15] = 40
    hu[16:20, 28:34, 30:40] = 200
    hu[6:20, 30:36, 4:8] = 700
    geometry = Geometry(SHAPE, SPACING, (-30.0, 12.0, 5.0))
    if not turned:
        return Volume(hu[None], geometry, "CT", "HU", name)
    away = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    corner = tuple(float(v) for v in geometry.to_world((SHAPE[0] - 1, 0, SHAPE[2] - 1)))
    return Volume(hu[None, ::-1, :, ::-1].copy(), Geometry(SHAPE, SPACING, corner, away), "CT", "HU", name)


def expected(hu: Any) -> Any:
    return np.where(hu > 440, 7, np.where(hu > 120, 3, 0))


@pytest.fixture(autouse=True)
def nothing_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")


@pytest.fixture
def dock(viewer: Any, segmentation_model: Path, qtbot: Any) -> Any:
    """A dock in a viewer with the body and the model picked."""
    add_volume(viewer, body())
    made = SegmentDock(viewer)
    viewer.window.add_dock_widget(made, name="Segment")
    made.models.set_path(segmentation_model)
    made.form.set_value(QUICK)
    made.more_form.set_value(QUICK)
    made._describe()
    return made


def wait(dock: SegmentDock, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not dock.running and not dock.panel.busy, timeout=WAIT)


def segment(dock: SegmentDock, qtbot: Any) -> Any:
    dock.primary.click()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    assert dock.panel.layers is not None
    return dock.panel.layers.labels


def cells(dock: SegmentDock, row: int) -> list[str]:
    return [dock.panel.table.item(row, column).text() for column in range(dock.panel.table.columnCount())]


def test_a_scan_is_segmented_in_one_click(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    assert dock.primary.text().replace("\n", " ").startswith("Segment body (48x40x24) on CPU, about ")
    assert "finds organ, bone" in dock.models.info.text()
    assert dock.meaning.text() == "windows share 12.5 % with the next, no mirror images"
    assert dock.panel.isHidden()
    labels = segment(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == ["body", "body - segmentation (organs)"]
    np.testing.assert_array_equal(labels.data, expected(viewer.layers["body"].data))
    np.testing.assert_allclose(labels.scale, viewer.layers["body"].scale)
    np.testing.assert_allclose(labels.translate, viewer.layers["body"].translate)
    np.testing.assert_allclose(labels.get_color(3)[:3], [0x3F / 255, 0xA7 / 255, 0xF5 / 255], atol=1e-3)
    assert labels.get_color(7)[3] == 1
    assert [each["name"] for each in labels.metadata["structures"]] == ["organ", "bone"]
    place = labels.data_to_world((5, 9, 9))
    assert "name: organ" in str(labels.get_status(place, world=True))
    assert dock.panel.table.rowCount() == 2
    voxel = np.prod(SPACING) / 1000
    organ, bone = (int((labels.data == value).sum()) * voxel for value in (3, 7))
    assert cells(dock, 0)[1:3] == ["organ", f"{organ:.2f}"]
    assert cells(dock, 1)[1:3] == ["bone", f"{bone:.2f}"]
    assert [cells(dock, row)[4] for row in (0, 1)] == ["200", "700"]
    assert f"organ {organ:.1f} mL, bone {bone:.1f} mL" in dock.panel.summary.text()
    assert not dock.unfinished.asking


def test_labels_appear_meanwhile_where_the_user_looks(
    dock: SegmentDock, viewer: Any, qtbot: Any, monkeypatch: Any
) -> None:
    from genesis3d.inference.canvas import Canvas

    painted: list[Any] = []
    paint, seen = Canvas.paint, threading.Event()

    def watched(self: Canvas, box: Any, values: Any) -> None:
        if len(painted) == 1:
            assert seen.wait(WAIT / 1000), "the first labels are shown before the others are computed"
        painted.append(box)
        paint(self, box, values)

    monkeypatch.setattr(Canvas, "paint", watched)
    scan = viewer.layers[0]
    viewer.dims.set_point(0, scan.data_to_world((18, 0, 0))[0])
    viewer.scene.camera.center = (0, *scan.data_to_world((18, 30, 36))[1:])
    dock.primary.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT)
    assert dock.running
    labels = viewer.layers[1]
    assert labels.data[18, 30, 36] == 3
    assert not (labels.data == 7).any()
    seen.set()
    wait(dock, qtbot)
    assert all(part.start <= place < part.stop for part, place in zip(painted[0], (18, 30, 36), strict=True))
    np.testing.assert_array_equal(labels.data, expected(scan.data))


def test_in_3d_it_is_drawn_less_often(viewer: Any, qtbot: Any) -> None:
    from genesis3d.inference.canvas import Canvas
    from napari_genesis.widgets.segment.live import Painter

    class Drawing:
        count = 0

        def draw(self) -> None:
            self.count += 1

    drawing, canvas = Drawing(), Canvas(np.zeros((2, 2, 2), np.uint16))
    painter = Painter(viewer.window._qt_window, viewer, drawing.draw)
    painter.follow(canvas)
    one = ((slice(0, 1),) * 3, np.ones((1, 1, 1), np.uint16))
    for ndisplay, draws in ((2, 3), (3, 3)):  # the rest since the last drawing is not over
        viewer.dims.ndisplay = ndisplay
        for _ in range(3):
            canvas.paint(*one)
            painter.look()
        assert drawing.count == draws
    viewer.dims.ndisplay = 2
    painter.look()
    assert drawing.count == 4, "what was not drawn in 3D is not forgotten"
    painter.end()


def test_a_row_goes_to_its_structure_and_a_click_marks_its_row(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    labels = segment(dock, qtbot)
    dock.panel.parts.setChecked(True)
    wait(dock, qtbot)
    names = [cells(dock, row)[1] for row in range(dock.panel.table.rowCount())]
    assert names == ["organ 1", "organ 2", "bone 1"]
    for row, value in enumerate((3, 3, 7)):
        dock.panel.table.selectRow(row)
        place = np.round(labels.world_to_data(viewer.dims.point)).astype(int)
        assert labels.data[tuple(place)] == value
        np.testing.assert_allclose(viewer.scene.camera.center[-2:], viewer.dims.point[-2:])
    click(dock, viewer, labels.data_to_world((17, 30, 33)))
    assert {index.row() for index in dock.panel.table.selectedIndexes()} == {1}
    click(dock, viewer, labels.data_to_world((5, 9, 9)))
    assert {index.row() for index in dock.panel.table.selectedIndexes()} == {0}


def click(dock: SegmentDock, viewer: Any, position: Any) -> None:
    viewer.dims.set_point(0, position[0])
    event = SimpleNamespace(
        type="mouse_press", position=position, view_direction=None, dims_displayed=list(viewer.dims.displayed)
    )
    pressed = dock.panel._clicks.on_mouse(viewer, event)
    next(pressed)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(pressed)


def test_parts_and_holes_go_and_come_back(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    labels = segment(dock, qtbot)
    before = labels.data.copy()
    dock.panel.buttons["largest"].click()
    wait(dock, qtbot)
    assert not labels.data[16:20, 28:34, 30:40].any()
    assert (labels.data == 7).sum() == (before == 7).sum()
    dock.panel.buttons["fill"].click()
    wait(dock, qtbot)
    assert (labels.data[4:12, 8:20, 8:20] == 3).all()
    dock.panel.undo_button.click()
    dock.panel.undo_button.click()
    np.testing.assert_array_equal(labels.data, before)
    with qtbot.waitSignal(dock.panel.measured, timeout=WAIT):
        pass
    assert dock.panel.table.rowCount() == 2
    assert not dock.panel.layers.edited, "what the buttons did is no correction by hand"


def test_corrections_are_measured_saved_and_kept(dock: SegmentDock, viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    from genesis3d.io import read_volume, write_volume

    viewer.layers.clear()
    write_volume(body(turned=True), tmp_path / "ct.nii.gz")
    scan = read_volume(tmp_path / "ct.nii.gz")
    add_volume(viewer, scan)
    labels = segment(dock, qtbot)
    labels.data_setitem(tuple(np.indices((2, 3, 4)).reshape(3, -1)), 9)
    labels.events.paint(value=[])
    with qtbot.waitSignal(dock.panel.measured, timeout=WAIT):
        pass
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        dock.files.save(tmp_path / f"out{suffix}")
        wait(dock, qtbot)
        assert dock.status.error.text() == ""
        saved = read_volume(tmp_path / f"out{suffix}")
        assert saved.geometry.matches(scan.geometry)
        np.testing.assert_array_equal(saved.canonical().data[0], volume_from_layer(labels).data[0])
    dock.files.export(tmp_path / "table.csv")
    rows = list(csv.reader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert len(rows) == 1 + dock.panel.table.rowCount()
    segment(dock, qtbot)
    assert len(viewer.layers) == 3, "a segmentation corrected by hand is not replaced"
    assert (labels.data == 9).any()


def test_running_again_replaces_or_adds_and_does_not_load_again(
    dock: SegmentDock, viewer: Any, qtbot: Any, monkeypatch: Any
) -> None:
    from genesis3d.networks import model_file

    first = segment(dock, qtbot)
    monkeypatch.setattr(model_file, "read_model", None)  # to load again would fail
    second = segment(dock, qtbot)
    assert first not in viewer.layers
    assert second in viewer.layers
    assert len(viewer.layers) == 2
    dock.replace_last.setChecked(False)
    segment(dock, qtbot)
    assert len(viewer.layers) == 3


def test_probabilities_and_uncertainty_on_demand(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    labels = segment(dock, qtbot)
    before = labels.data.copy()
    dock.panel.buttons["entropy"].click()
    wait(dock, qtbot)
    entropy = viewer.layers["body - uncertainty (organs)"]
    assert entropy.contrast_limits == [0, 1]
    assert entropy.colorbar.visible
    dock.panel.buttons["probabilities"].click()
    wait(dock, qtbot)
    organ = viewer.layers["body - probability of organ (organs)"]
    np.testing.assert_array_equal(np.asarray(organ.data) > 0.5, before == 3)
    assert "body - probability of bone (organs)" in viewer.layers
    np.testing.assert_array_equal(labels.data, before)
    assert dock.scans.layer.name == "body", "a probability is no scan to segment"
    dock.more_form.field("entropy").set_value(True)
    dock.more_form._on_edited()
    segment(dock, qtbot)
    assert dock.panel.result.entropy is not None
    assert sum("uncertainty" in layer.name for layer in viewer.layers) == 1, "the older went with its segmentation"


def test_a_box_and_a_mask_bound_what_is_segmented(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    dock.region.set_kind(1)
    dock.region.rows.set_box((0, 0, 0), (10, 40, 24))
    dock.region.rows._tell()
    assert dock.primary.text().startswith("Segment part of body")
    corners = dock.region.box.corners()
    np.testing.assert_allclose(corners.min(axis=0), viewer.layers[0].data_to_world((-0.5, -0.5, -0.5)))
    labels = segment(dock, qtbot)
    wanted = expected(viewer.layers["body"].data)
    bounded = np.zeros_like(wanted)
    bounded[:10, :, :24] = wanted[:10, :, :24]
    np.testing.assert_array_equal(labels.data, bounded)
    dock.region.box.moved.emit((12, 0, 20))
    assert dock.region.slices() == (slice(12, 22), slice(0, 40), slice(20, 44))
    marked = np.zeros(SHAPE, np.uint8)
    marked[14:, 20:] = 1
    add_volume(viewer, body().with_data(marked, name="mask"), viewer.layers["body"], kind="labels")
    dock.region.set_kind(2)
    dock.region.masks.set_layer(viewer.layers["mask"])
    labels = segment(dock, qtbot)
    np.testing.assert_array_equal(labels.data, np.where(marked, wanted, 0))


def test_the_box_becomes_what_the_view_shows(dock: SegmentDock, viewer: Any) -> None:
    dock.region.set_kind(1)
    viewer.scene.camera.center = (0, *viewer.layers[0].data_to_world((0, 20, 24))[1:])
    viewer.scene.camera.zoom = min(viewer.canvas.size) / 30.0  # mm
    before = dock.region.slices()
    dock.region.seen.click()
    after = dock.region.slices()
    assert after[0] == before[0]
    size = after[1].stop - after[1].start
    assert abs(size - min(SHAPE[1], viewer.canvas.size[0] / viewer.scene.camera.zoom / SPACING[1])) <= 2


def test_a_folder_is_segmented_one_failure_stops_nothing_and_it_goes_on(
    dock: SegmentDock, viewer: Any, qtbot: Any, tmp_path: Path
) -> None:
    from genesis3d.io import read_volume, write_volume

    scans = tmp_path / "scans"
    scans.mkdir()
    for name in ("a", "c"):
        write_volume(body(name), scans / f"{name}.nii.gz")
    (scans / "b.nii.gz").write_bytes(b"nothing of the kind")
    batch = dock.files.batch
    assert not batch.button.isEnabled()
    batch.scans.line.setText(str(scans))
    batch.scans.line.editingFinished.emit()
    assert batch.out.path == str(tmp_path / "scans-segmented")
    batch.button.click()
    assert dock.primary.text() == "Stop"
    wait(dock, qtbot)
    assert "2 of 3 segmented" in batch.told.text()
    assert "1 failed" in batch.told.text()
    assert "b.nii.gz" in batch.told.text()
    made = sorted(path for path in (tmp_path / "scans-segmented").rglob("*.nii.gz"))
    assert len(made) == 2
    np.testing.assert_array_equal(read_volume(made[0]).data[0], expected(body().data[0]))
    times = [path.stat().st_mtime_ns for path in made]
    batch.button.click()
    wait(dock, qtbot)
    assert [path.stat().st_mtime_ns for path in made] == times, "what is there is not made again"
    assert len(viewer.layers) == 1


def test_settings_are_remembered_and_reset(dock: SegmentDock, viewer: Any) -> None:
    dock.form.field("quality").set_value("best")
    dock.form._on_edited()
    assert dock.meaning.text() == "windows share 50 % with the next, the mean of 8 mirror images"
    again = SegmentDock(viewer)
    viewer.window.add_dock_widget(again, name="again")
    assert again.config.quality == "best"
    again._on_reset()
    assert again.config == SegmentSettings()


def test_the_middle_of_the_view_is_found_in_a_turned_scan(viewer: Any) -> None:
    from napari_genesis.widgets.segment.looking import looked_at

    layer = add_volume(viewer, body(turned=True))
    volume = volume_from_layer(layer)
    viewer.dims.set_point(0, layer.data_to_world((5, 0, 0))[0])
    viewer.scene.camera.center = (0, *layer.data_to_world((5, 10, 30))[1:])
    voxel, along = looked_at(viewer, layer, volume.geometry)
    assert (voxel, along) == ((5, 10, 30), 0)
    np.testing.assert_allclose(
        volume.geometry.to_world(voxel), patient_point(layer, layer.data_to_world((5, 10, 30))), atol=1e-6
    )
    viewer.dims.order = (1, 0, 2)
    _voxel, along = looked_at(viewer, layer, volume.geometry)
    assert along == 1


def series(folder: Path) -> Path:
    """Write the body as a DICOM series of axial slices."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, uid, frame = generate_uid(), generate_uid(), generate_uid()
    folder.mkdir()
    for index, plane in enumerate(body().data[0]):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = study, uid, frame
        d.Modality, d.PatientID, d.PatientName, d.StudyDate = "CT", "x", "x", "20200101"
        d.PatientBirthDate = d.PatientSex = d.AccessionNumber = d.StudyID = d.StudyTime = d.ReferringPhysicianName = ""
        d.SeriesNumber, d.InstanceNumber, d.PatientPosition = 1, index + 1, "HFS"
        d.Rows, d.Columns = plane.shape
        d.PixelSpacing, d.SliceThickness, d.ImageOrientationPatient = [1.5, 1.5], 2.0, [1, 0, 0, 0, 1, 0]
        d.ImagePositionPatient = [5.0, 12.0, -30.0 + 2.0 * index]
        d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, 16, 15, 1
        d.RescaleSlope, d.RescaleIntercept, d.RescaleType = 1, 0, "HU"
        d.PixelData = plane.astype("<i2").tobytes()
        pydicom.dcmwrite(folder / f"{index:03d}.dcm", d, enforce_file_format=True)
    return folder


def test_a_scan_from_dicom_is_saved_as_dicom_seg(dock: SegmentDock, viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    import pydicom

    from genesis3d.io import read_segmentation, read_volume

    viewer.layers.clear()
    scan = read_volume(series(tmp_path / "ct"))
    add_volume(viewer, scan)
    labels = segment(dock, qtbot)
    asked = []
    dock.files.ask = lambda kinds: asked.extend(kinds) or (str(tmp_path / "out"), kinds[-1])
    dock.panel.save_button.click()
    wait(dock, qtbot)
    assert dock.status.error.text() == ""
    assert asked[-1] == "DICOM SEG (*.dcm)"
    assert [each.SegmentLabel for each in pydicom.dcmread(tmp_path / "out.dcm").SegmentSequence] == ["organ", "bone"]
    again, classes = read_segmentation(tmp_path / "out.dcm", scan)
    assert [each.name for each in classes if each.value] == ["organ", "bone"]
    assert again.geometry.matches(scan.geometry)
    shown = volume_from_layer(labels).data[0]
    found = np.zeros_like(shown)
    for one, value in zip([each for each in classes if each.value], (3, 7), strict=True):
        found[again.canonical().data[0] == one.value] = value
    np.testing.assert_array_equal(found, shown)


def test_a_model_is_loaded_while_the_user_still_looks(
    make_napari_viewer: Any, segmentation_model: Path, qtbot: Any, monkeypatch: Any
) -> None:
    loaded = []

    def loading(*wanted: Any) -> Any:
        loaded.append(wanted)
        return lambda control: iter(())

    monkeypatch.setattr("napari_genesis.widgets.segment.dock.warming", loading)
    viewer = make_napari_viewer(show=True)
    dock = SegmentDock(viewer)
    viewer.window.add_dock_widget(dock, name="Segment")
    dock.models.set_path(segmentation_model)
    assert not loaded, "without a scan nobody is about to segment"
    add_volume(viewer, body())
    qtbot.waitUntil(lambda: len(loaded) == 1, timeout=WAIT)
    assert loaded == [(segmentation_model, "auto", "auto")]
    dock._describe()
    assert len(loaded) == 1
    qtbot.waitUntil(lambda: not any(job.running for job in dock._tended), timeout=WAIT)


def test_enter_starts_and_escape_stops(dock: SegmentDock, viewer: Any, qtbot: Any, monkeypatch: Any) -> None:
    from qtpy.QtCore import Qt

    def endless(request: Any) -> Any:
        def work(control: Any) -> Any:
            while control() == "run":
                pass
            yield Finished(cancelled=True)

        return work

    monkeypatch.setattr("napari_genesis.widgets.segment.dock.segmenting", endless)
    qtbot.keyClick(dock, Qt.Key.Key_Return)
    assert dock.primary.text() == "Stop"
    qtbot.keyClick(dock, Qt.Key.Key_Escape)
    wait(dock, qtbot)
    assert dock.status.facts.text() == "stopped before anything was segmented"


def test_a_layer_whose_array_lies_otherwise(dock: SegmentDock, viewer: Any, qtbot: Any) -> None:
    scan = viewer.layers[0]
    translate = scan.data_to_world((SHAPE[0] - 1, 0, 0))
    scan.data = scan.data[::-1].copy()
    scan.scale, scan.translate = (-SPACING[0], *SPACING[1:]), translate
    labels = segment(dock, qtbot)
    np.testing.assert_array_equal(labels.data, expected(scan.data))
    np.testing.assert_allclose(labels.data_to_world((3, 4, 5)), scan.data_to_world((3, 4, 5)))
    before = labels.data.copy()
    dock.panel.buttons["largest"].click()
    wait(dock, qtbot)
    assert (labels.data == 3).sum() < (before == 3).sum()
    assert not ((labels.data != before) & (labels.data != 0)).any(), "voxels only go"
    dock.panel.table.selectRow(0)
    assert labels.data[tuple(np.round(labels.world_to_data(viewer.dims.point)).astype(int))] == 3
    dock.panel.undo_button.click()
    np.testing.assert_array_equal(labels.data, before)
