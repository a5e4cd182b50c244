"""The Anomaly dock: reports and masks, two dates of a patient, and a folder of scans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.io import read_volume
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dock import AnomalyDock


@pytest.fixture
def dock(anomaly_dock: AnomalyDock) -> AnomalyDock:
    """A dock in a viewer with a chest of two opacities."""
    return anomaly_dock


def test_reports_and_masks(
    dock: AnomalyDock, viewer: Any, tmp_path: Path, monkeypatch: Any, run_map: Any, finish: Any
) -> None:
    run_map(dock)
    shown: list[str] = []
    monkeypatch.setattr(dock.files, "show", shown.append)
    dock.panel.table.selectRow(0)
    dock.panel.regions.exclude.click()
    dock.panel.report_button.click()
    finish(dock)
    page = Path(shown[0]).read_text()
    assert "1 region" in page
    assert "taken out by hand" in page
    assert "ot for clinical use" in page
    dock.files.report(tmp_path / "report.pdf")
    finish(dock)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert len(shown) == 1
    dock.files.mask(tmp_path / "mask.nii.gz")
    finish(dock)
    np.testing.assert_array_equal(read_volume(tmp_path / "mask.nii.gz").data > 0, dock.map.labels.data == 2)
    dock.files.mask(tmp_path / "mask.dcm")
    finish(dock)
    assert "expected a scan that was opened from DICOM" in dock.status.error.text()
    dock.files.describe()
    assert not dock.files.actions["seg"].isVisible()


def test_two_dates_of_a_patient(
    dock: AnomalyDock, viewer: Any, chest: Any, air_model: Path, tmp_path: Path, run_map: Any, finish: Any
) -> None:
    dock.recipes.set_recipe("difference")
    dock.models.set_path(air_model)
    dock.form.set_value(dock.form.value.replaced(device="cpu"))
    dock.more_form.set_value(dock.form.value.replaced(overlap=0.0, precision="32", rim_mm=6.0))
    run_map(dock)
    dock.save(tmp_path / "earlier")
    finish(dock)
    now = add_volume(viewer, chest(both=False, shift=10.0, name="later", radius=30.0))
    dock.layer_picker.set_layer(now)
    run_map(dock)
    panel = dock.dating.panel
    assert [panel.combo.itemText(i) for i in range(panel.combo.count())] == ["chest: difference · air", "a folder ..."]
    panel.button.click()
    finish(dock)
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
    finish(dock)
    assert dock.status.error.text() == ""
    assert {panel.table.item(row, 1).text() for row in range(panel.table.rowCount())} == {"grown", "gone"}
    assert len(viewer.layers) == count


def test_a_folder_of_scans(dock: AnomalyDock, chest: Any, tmp_path: Path, finish: Any) -> None:
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
    finish(dock)
    assert dock.status.error.text() == ""
    assert "2 of 3 mapped" in batch.told.text()
    assert "broken was not mapped" in batch.told.text()
    assert (tmp_path / "scans-maps" / "one" / "report.json").is_file()
    assert (tmp_path / "scans-maps" / "summary.csv").is_file()
    batch.button.click()
    finish(dock)
    assert "2 of them were there already" in batch.told.text()
    dock.more_form.set_value(dock.more_form.value.replaced(rim_mm=4.0))
    batch.button.click()
    finish(dock)
    assert "batch.json" in dock.status.error.text()
