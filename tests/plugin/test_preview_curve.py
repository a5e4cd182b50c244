"""The curve editor: the model and the plot follow each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

import pyqtgraph as pg
from qtpy.QtCore import QPointF, Qt
from qtpy.QtTest import QTest

from genesis3d.intensity import Scale
from genesis3d.transforms import NonLinear
from napari_genesis.widgets.preview.curve import CurveEditor

CONTROL = np.array([0.2, 0.6, 0.5, 0.9])


@pytest.fixture
def editor(qtbot: Any) -> CurveEditor:
    made = CurveEditor(NonLinear())
    qtbot.addWidget(made)
    made.set_scale(Scale(-1000, 1000), "HU")
    made.set_drawn({"control": CONTROL, "decreasing": np.array(False)}, True)
    return made


def places(editor: CurveEditor) -> list[tuple[float, float]]:
    return [(round(t.pos().x(), 3), round(t.pos().y(), 3)) for t in editor.targets]


def test_points_and_curve_speak_hu(editor: CurveEditor) -> None:
    assert places(editor) == [(-600, 200), (0, 800)]
    x, y = editor._curve.getData()
    assert (x[0], y[0]) == (-1000, -1000)
    assert (x[-1], y[-1]) == (1000, 1000)
    assert "HU" in editor.plot.getAxis("bottom").labelText


def test_a_falling_curve_runs_from_the_upper_left(editor: CurveEditor) -> None:
    editor.set_drawn({"control": CONTROL, "decreasing": np.array(True)}, True)
    _, y = editor._curve.getData()
    assert (y[0], y[-1]) == (1000, -1000)
    assert places(editor) == [(-600, 800), (0, 200)]


def test_dragging_holds_the_curve(editor: CurveEditor, qtbot: Any) -> None:
    with qtbot.waitSignal(editor.changed) as signal:
        editor.targets[0].setPos(-800.0, -500.0)
    assert signal.args[0].control_points == (0.1, 0.25, 0.5, 0.9)
    assert editor.hold.isChecked()
    assert "held" in editor._note.text()


def test_dragging_a_falling_curve_swaps_the_heights(editor: CurveEditor, qtbot: Any) -> None:
    editor.set_drawn({"control": CONTROL, "decreasing": np.array(True)}, True)
    with qtbot.waitSignal(editor.changed) as signal:
        editor.targets[0].setPos(-800.0, 0.0)
    assert signal.args[0].control_points == (0.1, 0.6, 0.5, 0.5)
    assert places(editor)[0] == (-800, 0), "the point stays under the mouse"


def test_points_stay_in_the_window(editor: CurveEditor, qtbot: Any) -> None:
    with qtbot.waitSignal(editor.changed) as signal:
        editor.targets[1].setPos(5000.0, -9000.0)
    assert signal.args[0].control_points == (0.2, 0.6, 1.0, 0.0)
    assert places(editor)[1] == (1000, -1000)


def test_letting_go_draws_anew(editor: CurveEditor, qtbot: Any) -> None:
    editor.hold.setChecked(True)
    assert editor.value.control_points == tuple(CONTROL)
    with qtbot.waitSignal(editor.changed) as signal:
        editor.hold.setChecked(False)
    assert signal.args[0].control_points is None


@pytest.mark.parametrize("name", ["increasing", "decreasing", "random"])
def test_direction(editor: CurveEditor, name: str) -> None:
    editor.set_value(NonLinear(direction="increasing" if name == "random" else "random"))
    seen: list[NonLinear] = []
    editor.changed.connect(seen.append)
    editor._buttons[name].click()
    assert [config.direction for config in seen] == [name]


def test_the_model_moves_the_widget_silently(editor: CurveEditor) -> None:
    seen: list[NonLinear] = []
    editor.changed.connect(seen.append)
    editor.set_value(NonLinear(direction="decreasing", control_points=(0.1, 0.2, 0.3, 0.4)))
    assert editor.hold.isChecked()
    assert editor._buttons["decreasing"].isChecked()
    assert places(editor) == [(-800, -200), (-400, -600)]
    assert seen == []


def test_not_applied_is_said(editor: CurveEditor) -> None:
    editor.set_drawn({"control": CONTROL, "decreasing": np.array(False)}, False)
    assert "not applied" in editor._note.text()


def test_a_real_mouse_drags_a_point(editor: CurveEditor, qtbot: Any) -> None:
    rate = pg.getConfigOption("mouseRateLimit")
    pg.setConfigOption("mouseRateLimit", -1)
    try:
        editor.resize(420, 300)
        editor.show()
        qtbot.waitExposed(editor)
        viewport = editor.plot.viewport()

        def at(x: float, y: float) -> Any:
            scene = editor.plot.getViewBox().mapViewToScene(QPointF(x, y))
            return editor.plot.mapFromScene(scene)

        button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(viewport, at(-600, 200))
        QTest.mousePress(viewport, button, none, at(-600, 200))
        for step in range(1, 6):
            QTest.mouseMove(viewport, at(-600 + 40 * step, 200 - 80 * step))
            qtbot.wait(10)
        QTest.mouseRelease(viewport, button, none, at(-400, -200))
    finally:
        pg.setConfigOption("mouseRateLimit", rate)
    assert editor.value.control_points is not None
    x1, y1, x2, y2 = editor.value.control_points
    assert (x1, y1) == pytest.approx((0.3, 0.4), abs=0.03)
    assert (x2, y2) == (0.5, 0.9)
