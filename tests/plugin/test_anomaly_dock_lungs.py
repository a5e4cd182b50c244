"""The Anomaly dock: ways to the lungs, the brush, the coarse map, and a model of opacity."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.events import Finished, Started, Stepped
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.dock import AnomalyDock

WAIT = 120_000
MIDDLE = (20, 22, 43)


@pytest.fixture
def dock(anomaly_dock: AnomalyDock) -> AnomalyDock:
    """A dock in a viewer with a chest of two opacities."""
    return anomaly_dock


def test_without_any_model_the_hu_are_mapped(dock: AnomalyDock, viewer: Any, run_map: Any) -> None:
    assert dock.recipes.recipe.name == "hu"
    assert dock.models.isHidden()
    run_map(dock)
    assert [layer.name for layer in viewer.layers] == [
        "chest", "score, HU - chest (hu)", "lungs - chest (hu)", "regions - chest (hu)"
    ]  # fmt: skip
    assert dock.map.card is None
    assert dock.map.lungs_from == "classical"
    assert dock.panel.table.isColumnHidden(5)  # nothing was restored, so there is no difference
    assert dock.panel.table.rowCount() == 2


def test_the_brush_finds_lungs_first_and_then_edits_those_of_the_map(
    dock: AnomalyDock, viewer: Any, qtbot: Any, run_map: Any, finish: Any
) -> None:
    dock.lungs_picker.brush.click()
    finish(dock)
    found = dock.lungs_picker.layer
    assert found is viewer.layers.selection.active
    assert found.mode == "paint"
    assert dock.lungs_picker.way == "layer"
    assert set(np.unique(found.data)) == {0, 1, 2}
    assert found.data[MIDDLE] == 1
    found.data_setitem(tuple(np.mgrid[14:27, 15:30, 37:50].reshape(3, -1)), 0)  # without the opacity in the left lung
    run_map(dock)
    assert dock.map.lungs_from == "layer"
    assert [item.lung for item in dock.map.regions] == ["right"]
    dock.lungs_picker.brush.click()
    mine = viewer.layers.selection.active
    assert mine is dock.panel.layers.layer("lungs")
    assert mine.visible
    mine.data_setitem(tuple(np.mgrid[14:27, 15:30, 37:50].reshape(3, -1)), 1)  # the map follows the brush
    qtbot.waitUntil(dock.panel._edit.isActive, timeout=WAIT)
    finish(dock)
    assert {item.lung for item in dock.map.regions} == {"left", "right"}


def test_a_coarse_map_comes_first_and_is_replaced(
    dock: AnomalyDock, viewer: Any, qtbot: Any, monkeypatch: pytest.MonkeyPatch, finish: Any
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
    finish(dock)
    assert [layer.name for layer in viewer.layers] == ["chest"]
    dock.primary.click()
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=WAIT)
    viewer.layers["score, coarse - chest"].opacity = 0.4
    go_on.set()
    finish(dock)
    assert "score, coarse - chest" not in [layer.name for layer in viewer.layers]
    assert dock.panel.layers.layer("score").opacity == pytest.approx(0.4)


def test_a_model_of_opacity_gives_probabilities(dock: AnomalyDock, opacity_model: Path, run_map: Any) -> None:
    dock.recipes.set_recipe("opacity")
    assert not dock.models.isHidden()
    assert not dock.primary.isEnabled()
    dock.models.set_path(opacity_model)
    dock.form.set_value(dock.form.value.replaced(device="cpu"))
    run_map(dock)
    assert dock.panel.threshold.label.text() == "Threshold (probability)"
    assert dock.panel.threshold.value() == pytest.approx(0.5)
    assert dock.panel.threshold.bar.labels()[-1] == "1 probability"
    assert dock.panel.layers.layer("score").contrast_limits == [0.0, 1.0]
    assert not dock.panel.layers.layer("baseline").visible
    assert dock.map.score.data[0][MIDDLE] > 0.5
    assert {item.lung for item in dock.map.regions} == {"left", "right"}
    dock.recipes.set_recipe("difference")
    assert dock.models.path == opacity_model  # it restores as well


def test_lungs_that_cannot_be_are_said(dock: AnomalyDock, viewer: Any, chest: Any, finish: Any) -> None:
    scan = chest()
    air = add_volume(viewer, scan.with_data(np.full_like(scan.data, 40), name="abdomen"))
    dock.layer_picker.set_layer(air)
    dock.primary.click()
    finish(dock)
    assert "abdomen" in dock.status.error.text()
    assert "lung" in dock.status.error.text()
    assert dock.primary.isEnabled()
    dock.lungs_picker.set_way("layer")
    dock.primary.click()
    finish(dock)
    assert "expected a labels layer for the lungs, got none" in dock.status.error.text()
    head = add_volume(viewer, scan.with_data(scan.data, modality="MR", unit=None, name="head"))
    dock.layer_picker.set_layer(head)
    dock.lungs_picker.set_way("auto")
    dock.primary.click()
    finish(dock)
    assert "expected a CT in HU" in dock.status.error.text()
    dock.lungs_picker.set_way("layer")
    ones = add_volume(viewer, scan.with_data(np.ones(scan.data.shape, np.uint8), name="everywhere"), kind="labels")
    dock.layer_picker.set_layer(viewer.layers["chest"])
    dock.lungs_picker.set_layer(ones)
    viewer.layers.remove(ones)
    assert dock.lungs_picker.layer is None
    dock.primary.click()
    finish(dock)
    assert "got none" in dock.status.error.text()
    assert dock.map is None
    assert len(viewer.layers) == 3
