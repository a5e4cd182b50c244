"""The Anomaly dock: recipes compared, regions excluded and taken back, thresholds by healthy share, linked views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from genesis3d.networks import library as library_module
from genesis3d.workflows.anomaly import AnomalySettings
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dock import AnomalyDock
from napari_genesis.widgets.anomaly.exclusions import Exclusions

WAIT = 120_000


@pytest.fixture
def dock(
    viewer: Any, air_model: Path, chest: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AnomalyDock:
    """A dock in a viewer with a chest of two opacities, one in each lung."""
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")
    add_volume(viewer, chest(both=True))
    made = AnomalyDock(viewer)
    viewer.window.add_dock_widget(made, name="Anomaly map")
    made.recipes.set_recipe("difference")
    made.models.set_path(air_model)
    settings = AnomalySettings(overlap=0.0, device="cpu", threads=1, precision="32", rim_mm=6.0, least_ml=1)
    made.form.set_value(settings)
    made.more_form.set_value(settings)
    return made


def make_map(dock: AnomalyDock, qtbot: Any) -> None:
    dock.primary.click()
    qtbot.waitUntil(lambda: not dock.running, timeout=WAIT)
    assert dock.status.error.text() == ""
    settled(dock, qtbot)


def settled(dock: AnomalyDock, qtbot: Any) -> None:
    def done() -> bool:
        panel = dock.panel
        waiting = panel._settle.isActive() or panel._edit.isActive()
        return not (waiting or panel.busy or panel.figures.busy or dock.keeping.compare.busy)

    qtbot.waitUntil(done, timeout=WAIT)


def texts(table: Any, row: int) -> list[str]:
    return [table.item(row, column).text() for column in range(table.columnCount())]


def test_recipes_side_by_side(dock: AnomalyDock, viewer: Any, qtbot: Any) -> None:
    assert dock.keeping.compare_fold.isHidden()
    make_map(dock, qtbot)
    first = dock.panel.kept
    assert dock.keeping.compare_fold.isHidden()  # nothing to compare yet
    dock.recipes.set_recipe("hu")
    assert dock.models.isHidden()
    assert "HU above" in dock.recipes.info.text()
    assert dock.primary.isEnabled()
    make_map(dock, qtbot)
    second = dock.panel.kept
    assert second is not first
    assert not dock.keeping.compare_fold.isHidden()
    table = dock.keeping.compare.table
    assert [texts(table, row)[1] for row in range(2)] == ["difference · air", "hu"]
    assert texts(table, 1)[-1] == "shown"
    ours, theirs = (kept.result.labels.data > 0 for kept in (first, second))
    expected = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
    assert 0.5 < expected <= 1
    assert texts(table, 0)[-1] == f"{expected:.2f}"
    assert not first.layers.layer("score").visible
    assert second.layers.layer("score").visible
    dock.keeping.compare.flick.click()
    assert dock.panel.kept is first
    assert first.layers.layer("score").visible
    assert not second.layers.layer("regions").visible
    settled(dock, qtbot)
    assert texts(table, 0)[-1] == "shown"
    dock.keeping.compare.flick.click()
    assert dock.panel.kept is second
    table.selectRow(0)
    assert dock.panel.kept is first
    before = len(viewer.layers)
    dock.keeping.compare.drop.click()
    assert dock.panel.kept is second
    assert dock.keeping.maps == [second]
    assert len(viewer.layers) == before - 6
    dock.keeping.compare.drop.click()
    assert dock.panel.isHidden()
    assert [layer.name for layer in viewer.layers] == ["chest"]


def test_excluded_regions_count_nowhere_and_come_back(
    dock: AnomalyDock, viewer: Any, qtbot: Any, tmp_path: Any
) -> None:
    make_map(dock, qtbot)
    panel, kept = dock.panel, dock.panel.kept
    assert panel.table.rowCount() == 2
    whole = kept.millilitres()
    larger = kept.result.regions[0].region.volume_ml
    assert not panel.regions.exclude.isEnabled()
    panel.table.selectRow(0)
    qtbot.keyClick(panel.table, Qt.Key.Key_Delete)
    assert kept.excluded == {1}
    assert kept.millilitres() == pytest.approx(whole - larger)
    assert "in 1 region, 1 excluded" in panel.summary.text()
    assert texts(panel.table, 0)[0] == "1 out"
    assert set(np.unique(kept.layers.layer("regions").data)) == {0, 2, 65535}
    settled(dock, qtbot)
    assert kept.figures.zones[0].flagged_ml == pytest.approx(kept.millilitres(), rel=1e-3)
    dock.export(tmp_path / "table.csv")
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 2
    dock.save(tmp_path / "out")
    qtbot.waitUntil(lambda: not dock.running, timeout=WAIT)
    from genesis3d.io import read_volume

    mask = read_volume(tmp_path / "out" / "mask.nii.gz").data > 0
    np.testing.assert_array_equal(mask, kept.result.labels.data == 2)
    assert "1 region, " in (tmp_path / "out" / "report.json").read_text()
    assert kept.layers.layer("regions").data.max() == 65535  # the view still shows what is out

    panel.slider.setValue(120)  # the regions are numbered anew, and a little larger
    settled(dock, qtbot)
    assert kept.excluded == {1}
    panel.regions.undo.click()
    assert kept.excluded == frozenset()
    assert not panel.regions.undo.isEnabled()
    panel.regions.redo.click()
    assert kept.excluded == {1}
    panel.table.selectRow(0)
    assert panel.regions.exclude.text() == "Take back in"
    panel.regions.exclude.click()
    assert kept.excluded == frozenset()
    qtbot.keyClick(panel.table, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert kept.excluded == {1}


def test_exclusions_are_places_not_numbers() -> None:
    labels = np.zeros((1, 4, 10), np.int32)
    labels[0, 0, :6], labels[0, 2, :4] = 1, 2
    region = [_region(1, 6), _region(2, 4)]
    out = Exclusions()
    out.exclude(labels, 2)
    assert out.numbers(labels, region, 1.0) == {2}
    swapped = np.where(labels == 1, 2, np.where(labels == 2, 1, 0))
    assert out.numbers(swapped, [_region(1, 4), _region(2, 6)], 1.0) == {1}
    grown = np.where(labels == 2, 1, 0)
    grown[0, 3] = 1
    assert out.numbers(grown, [_region(1, 14)], 1.0) == frozenset()  # joined to something larger
    assert out.undo()
    assert not out.undo()
    assert out.numbers(labels, region, 1.0) == frozenset()


def _region(label: int, volume: float) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(region=SimpleNamespace(label=label, volume_ml=volume))


class Calibrated:
    """Flags half as many healthy voxels every 100 HU, 8 % at 100 HU."""

    def flag_rate(self, threshold: float) -> float:
        return float(0.08 * 0.5 ** (threshold / 100 - 1))

    def threshold(self, share: float) -> float:
        return float(100 * (1 + np.log2(0.08 / share)))


def test_the_threshold_says_what_it_flags_in_healthy_lungs(dock: AnomalyDock, qtbot: Any) -> None:
    make_map(dock, qtbot)
    row, kept = dock.panel.threshold, dock.panel.kept
    assert row.rate.text() == "healthy lungs: not calibrated"
    assert not row.healthy.isEnabled()
    assert row.bar.labels()[-1].endswith("HU")
    kept.result = replace(kept.result, calibration=Calibrated())
    dock.panel.show_map(kept)
    row.slider.setValue(200)
    assert row.rate.text() == "healthy lungs: 4.0 % flagged"
    row.healthy.click()
    assert row.value() == 500
    assert row.rate.text() == "healthy lungs: 0.5 % flagged"
    settled(dock, qtbot)
    assert dock.map.threshold == 500
    row.default.click()
    settled(dock, qtbot)
    assert dock.map.threshold == kept.default == 150


def test_shares_of_lungs_thirds_and_density_classes(dock: AnomalyDock, qtbot: Any) -> None:
    make_map(dock, qtbot)
    zones, classes = dock.panel.figures.zones, dock.panel.figures.classes
    assert texts(zones, 0)[:2] == ["both", ""]
    assert [texts(zones, row)[1] for row in range(2, 5)] == ["upper", "middle", "lower"]
    assert float(texts(zones, 0)[3]) == pytest.approx(dock.panel.kept.millilitres(), abs=0.1)
    assert texts(classes, 2)[:2] == ["infiltrated", "-750 to -400"]
    assert float(texts(classes, 1)[3]) > 60
    row = dock.panel.kept.figures.regions[1]
    assert texts(dock.panel.table, 0)[7] == f"{row.pleura_mm:.0f}"
    assert dock.panel.table.isColumnHidden(6)  # no calibration, no z
    dock.keeping.views_button.click()
    views = dock.keeping.views
    dock.viewer.window.remove_dock_widget(dock)
    assert dock.closed
    assert dock.keeping.views is None
    assert not views.isVisible()
    assert "score, HU - chest (difference, air)" in [layer.name for layer in dock.viewer.layers]  # the user's


def test_linked_views_follow_slice_and_window(make_napari_viewer: Any, air_model: Path, chest: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True)
    scan = add_volume(viewer, chest(both=True))
    dock = AnomalyDock(viewer)
    viewer.window.add_dock_widget(dock, name="Anomaly map")
    dock.recipes.set_recipe("difference")
    dock.models.set_path(air_model)
    make_map(dock, qtbot)
    dock.keeping.views_button.click()
    views = dock.keeping.views
    names = [layer.name for layer in views.model.layers if type(layer).__name__ == "Image"]
    assert names == ["scan, HU", "restored, HU", "score, HU"]
    viewer.dims.set_point(0, scan.data_to_world((12, 0, 0))[0])
    assert views.model.dims.point[0] == pytest.approx(viewer.dims.point[0])
    views.model.dims.set_point(0, scan.data_to_world((25, 0, 0))[0])
    assert viewer.dims.point[0] == pytest.approx(views.model.dims.point[0])
    scan.contrast_limits = (-900, -100)
    assert tuple(views.model.layers["restored, HU"].contrast_limits) == (-900, -100)
    viewer.dims.order = (1, 0, 2)
    assert tuple(views.model.dims.order) == (1, 0, 2)
    views.third.setCurrentIndex(views.third.findData("difference"))
    assert [layer.name for layer in views.model.layers if type(layer).__name__ == "Image"][2] == "difference, HU"
    dock.panel.slider.setValue(400)
    settled(dock, qtbot)
    dock.keeping.views_button.click()
    assert dock.keeping.views is None
    dock.keeping.views_button.click()
    viewer.layers.remove(scan)
    assert dock.keeping.views is not None
    viewer.close()  # with everything open
