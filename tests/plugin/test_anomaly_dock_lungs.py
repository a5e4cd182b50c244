"""The Anomaly dock: ways to the lungs, the brush, the coarse map, reports and masks, and two dates of a patient."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.events import Finished, Started, Stepped
from genesis3d.io import read_volume
from genesis3d.networks import library as library_module
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dock import AnomalyDock

WAIT = 120_000
MIDDLE = (20, 22, 43)


@pytest.fixture
def dock(viewer: Any, chest: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnomalyDock:
    """A dock in a viewer with a chest; no model, so the recipe is that of the HU."""
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")
    add_volume(viewer, chest(both=True))
    made = AnomalyDock(viewer)
    viewer.window.add_dock_widget(made, name="Anomaly map")
    made.lungs_picker.set_way("classical")
    return made


def run(dock: AnomalyDock, qtbot: Any) -> None:
    dock.primary.click()
    finish(dock, qtbot)
    assert dock.status.error.text() == ""


def finish(dock: AnomalyDock, qtbot: Any) -> None:
    def done() -> bool:
        panel = dock.panel
        waiting = panel._settle.isActive() or panel._edit.isActive()
        return not (dock.running or waiting or panel.busy or panel.figures.busy or dock.keeping.compare.busy)

    qtbot.waitUntil(done, timeout=WAIT)


def test_without_any_model_the_hu_are_mapped(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    assert dock.recipes.recipe.name == "hu"
    assert dock.models.isHidden()
    run(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == [
        "chest", "score, HU - chest (hu)", "lungs - chest (hu)", "regions - chest (hu)"
    ]  # fmt: skip
    assert dock.map.card is None
    assert dock.map.lungs_from == "classical"
    assert dock.panel.table.isColumnHidden(5)  # nothing was restored, so there is no difference
    assert dock.panel.table.rowCount() == 2


def test_the_brush_finds_lungs_first_and_then_edits_those_of_the_map(
    dock: AnomalyDock, viewer: Any, qtbot: Any
) -> None:
    dock.lungs_picker.brush.click()
    finish(dock, qtbot)
    found = dock.lungs_picker.layer
    assert found is viewer.layers.selection.active
    assert found.mode == "paint"
    assert dock.lungs_picker.way == "layer"
    assert set(np.unique(found.data)) == {0, 1, 2}
    assert found.data[MIDDLE] == 1
    found.data_setitem(tuple(np.mgrid[14:27, 15:30, 37:50].reshape(3, -1)), 0)  # without the opacity in the left lung
    run(dock, qtbot)
    assert dock.map.lungs_from == "layer"
    assert [item.lung for item in dock.map.regions] == ["right"]
    dock.lungs_picker.brush.click()
    mine = viewer.layers.selection.active
    assert mine is dock.panel.layers.layer("lungs")
    assert mine.visible
    mine.data_setitem(tuple(np.mgrid[14:27, 15:30, 37:50].reshape(3, -1)), 1)  # the map follows the brush
    qtbot.waitUntil(dock.panel._edit.isActive, timeout=WAIT)
    finish(dock, qtbot)
    assert {item.lung for item in dock.map.regions} == {"left", "right"}


def test_a_coarse_map_comes_first_and_is_replaced(
    dock: AnomalyDock, viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_genesis.widgets.anomaly import work

    go_on, mapping = threading.Event(), work.mapping

    def slowly(request: Any) -> Any:
        def made(control: Any) -> Iterator[Any]:
            yield Started(what="anomaly", total=2, unit="window")
            first = request.volume.with_data(np.ones((1, *request.volume.geometry.shape), np.float32))
            for step, value in ((1, 100.0), (2, 200.0)):
                request.coarse.append(first.with_data(first.data * value))
                yield Stepped(step=step, total=2)
            while not go_on.wait(0.01):
                if control() == "stop":
                    yield Finished(cancelled=True)
                    return
            yield from mapping(request)(control)

        return made

    monkeypatch.setattr("napari_genesis.widgets.anomaly.dock.mapping", slowly)
    dock.primary.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT)
    coarse = viewer.layers["score, coarse - chest"]
    qtbot.waitUntil(lambda: float(coarse.data.max()) == 200, timeout=WAIT)
    coarse.opacity = 0.4
    dock.primary.click()  # stop
    finish(dock, qtbot)
    assert [layer.name for layer in viewer.layers] == ["chest"]
    dock.primary.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT)
    viewer.layers["score, coarse - chest"].opacity = 0.4
    go_on.set()
    finish(dock, qtbot)
    assert "score, coarse - chest" not in [layer.name for layer in viewer.layers]
    assert dock.panel.layers.layer("score").opacity == pytest.approx(0.4)


def test_a_model_of_opacity_gives_probabilities(dock: AnomalyDock, opacity_model: Path, qtbot: Any) -> None:
    dock.recipes.set_recipe("opacity")
    assert not dock.models.isHidden()
    assert not dock.primary.isEnabled()
    dock.models.set_path(opacity_model)
    dock.form.set_value(dock.form.value.replaced(device="cpu"))
    run(dock, qtbot)
    assert dock.panel.threshold.label.text() == "Threshold (probability)"
    assert dock.panel.threshold.value() == pytest.approx(0.5)
    assert dock.panel.threshold.bar.labels()[-1] == "1 probability"
    assert dock.panel.layers.layer("score").contrast_limits == [0.0, 1.0]
    assert not dock.panel.layers.layer("baseline").visible
    assert dock.map.score.data[0][MIDDLE] > 0.5
    assert {item.lung for item in dock.map.regions} == {"left", "right"}
    dock.recipes.set_recipe("difference")
    assert dock.models.path == opacity_model  # it restores as well


def test_reports_and_masks(dock: AnomalyDock, viewer: Any, qtbot: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run(dock, qtbot)
    shown: list[str] = []
    monkeypatch.setattr(dock.files, "show", shown.append)
    dock.panel.table.selectRow(0)
    dock.panel.regions.exclude.click()
    dock.panel.report_button.click()
    finish(dock, qtbot)
    page = Path(shown[0]).read_text()
    assert "1 region" in page
    assert "taken out by hand" in page
    assert "ot for clinical use" in page
    dock.files.report(tmp_path / "report.pdf")
    finish(dock, qtbot)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(shown) == 1
    dock.files.mask(tmp_path / "mask.nii.gz")
    finish(dock, qtbot)
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii.gz").data > 0, dock.map.labels.data == 2)
    dock.files.mask(tmp_path / "mask.dcm")
    finish(dock, qtbot)
    assert "expected a scan that was opened from DICOM" in dock.status.error.text()
    dock.files.describe()
    assert not dock.files.actions["seg"].isVisible()


def test_two_dates_of_a_patient(
    dock: AnomalyDock, viewer: Any, chest: Any, air_model: Path, qtbot: Any, tmp_path: Path
) -> None:
    dock.recipes.set_recipe("difference")
    dock.models.set_path(air_model)
    dock.form.set_value(dock.form.value.replaced(device="cpu"))
    dock.more_form.set_value(dock.form.value.replaced(overlap=0.0, precision="32", rim_mm=6.0))
    run(dock, qtbot)
    dock.save(tmp_path / "earlier")
    finish(dock, qtbot)
    now = add_volume(viewer, chest(both=False, shift=10.0, name="later", radius=30.0))
    dock.layer_picker.set_layer(now)
    run(dock, qtbot)
    panel = dock.dating.panel
    assert [panel.combo.itemText(i) for i in range(panel.combo.count())] == ["chest: difference · air", "a folder ..."]
    panel.button.click()
    finish(dock, qtbot)
    assert dock.status.error.text() == ""
    states = {panel.table.item(row, 1).text(): row for row in range(panel.table.rowCount())}
    assert set(states) == {"grown", "gone"}
    assert "mL, then" in panel.told.text()
    change = dock.dating.layers[-1]
    assert change.name == "later over chest - change"
    np.testing.assert_allclose(change.translate, viewer.layers["chest"].translate)
    panel.table.selectRow(states["gone"])
    place = np.round(change.world_to_data(viewer.dims.point)).astype(int)
    assert change.data[tuple(place)] == 1
    count = len(viewer.layers)
    panel.add_folder(tmp_path / "earlier")  # the same, read back
    panel.button.click()
    finish(dock, qtbot)
    assert dock.status.error.text() == ""
    assert {panel.table.item(row, 1).text() for row in range(panel.table.rowCount())} == {"grown", "gone"}
    assert len(viewer.layers) == count


def test_lungs_that_cannot_be_are_said(dock: AnomalyDock, viewer: Any, chest: Any, qtbot: Any) -> None:
    scan = chest()
    air = add_volume(viewer, scan.with_data(np.full_like(scan.data, 40), name="abdomen"))
    dock.layer_picker.set_layer(air)
    dock.primary.click()
    finish(dock, qtbot)
    assert "abdomen" in dock.status.error.text()
    assert "lung" in dock.status.error.text()
    assert dock.primary.isEnabled()
    dock.lungs_picker.set_way("layer")
    dock.primary.click()
    finish(dock, qtbot)
    assert "expected a labels layer for the lungs, got none" in dock.status.error.text()
    head = add_volume(viewer, scan.with_data(scan.data, modality="MR", unit=None, name="head"))
    dock.layer_picker.set_layer(head)
    dock.lungs_picker.set_way("auto")
    dock.primary.click()
    finish(dock, qtbot)
    assert "expected a CT in HU" in dock.status.error.text()
    dock.lungs_picker.set_way("layer")
    ones = add_volume(viewer, scan.with_data(np.ones(scan.data.shape, np.uint8), name="everywhere"), kind="labels")
    dock.layer_picker.set_layer(viewer.layers["chest"])
    dock.lungs_picker.set_layer(ones)
    viewer.layers.remove(ones)
    assert dock.lungs_picker.layer is None
    dock.primary.click()
    finish(dock, qtbot)
    assert "got none" in dock.status.error.text()
    assert dock.map is None
    assert len(viewer.layers) == 3


def test_a_folder_of_scans(dock: AnomalyDock, chest: Any, qtbot: Any, tmp_path: Path) -> None:
    from genesis3d.io import write_volume

    batch = dock.files.batch
    assert not batch.button.isEnabled()
    (tmp_path / "scans").mkdir()
    for name in ("one", "two"):
        write_volume(chest(name=name), tmp_path / "scans" / f"{name}.nii.gz")
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"not a scan")
    batch.scans.line.setText(str(tmp_path / "scans"))
    batch.scans.line.editingFinished.emit()
    assert batch.out.path == str(tmp_path / "scans-maps")
    assert batch.button.isEnabled()
    batch.button.click()
    finish(dock, qtbot)
    assert dock.status.error.text() == ""
    assert "2 of 3 mapped" in batch.told.text()
    assert "broken was not mapped" in batch.told.text()
    assert (tmp_path / "scans-maps" / "one" / "report.json").is_file()
    assert (tmp_path / "scans-maps" / "summary.csv").is_file()
    batch.button.click()
    finish(dock, qtbot)
    assert "2 of them were there already" in batch.told.text()
    dock.more_form.set_value(dock.more_form.value.replaced(rim_mm=4.0))
    batch.button.click()
    finish(dock, qtbot)
    assert "batch.json" in dock.status.error.text()
