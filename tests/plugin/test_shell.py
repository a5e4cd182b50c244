"""The family shell: layers followed, primary button, keys, theme, and docks taken away under a running job."""

from __future__ import annotations

import gc
import time
import weakref

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QTextBrowser

from genesis3d.events import Finished, Started, Stepped
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.shared import Store, current_pretrain_config, offer_pretrain_config
from napari_genesis.widgets.shell import Dock, LayerPicker, StatusArea, duration, memory

RUNNING: list[bool] = []


def endless(control):
    yield Started(what="count", total=100, device="cpu", precision="32")
    RUNNING.append(True)
    while control() == "run":
        time.sleep(0.005)
        yield Stepped(step=7, rate=2.0, seconds_left=46.0, memory_bytes=2**30)
    RUNNING.clear()
    yield Finished(cancelled=True)


class CountDock(Dock):
    title = "Count"
    summary = "Counts."
    verb = "Count to 100"

    def start(self) -> None:
        self.job = ThreadJob(endless, name="count")
        self.watch(self.job)
        self.job.start()


def volume(name: str = "ct") -> dict:
    return {"data": np.zeros((4, 5, 6), np.float32), "name": name, "scale": (2.5, 0.7, 0.7), "units": ("mm",) * 3}


def test_picker_follows_the_viewer(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    picker = LayerPicker(viewer)
    qtbot.addWidget(picker)
    told = []
    picker.changed.connect(told.append)
    assert picker.layer is None
    assert "no image layer" in picker.info.text()
    first = viewer.add_image(**volume(), metadata={"genesis": {"modality": "CT"}})
    assert picker.layer is first
    assert picker.info.text() == "6 x 5 x 4  CT  0.70 x 0.70 x 2.50 mm"
    second = viewer.add_image(**volume("mr"))
    viewer.add_image(np.zeros((4, 4)), name="flat")
    viewer.add_labels(np.zeros((4, 5, 6), int), units=("mm",) * 3)
    assert picker.layers() == [second, first]
    assert picker.layer is first
    first.name = "renamed"
    assert picker.combo.currentText() == "renamed"
    picker.set_layer(second)
    viewer.layers.remove(second)
    assert picker.layer is first
    assert told == [first, second, first]
    picker.disconnect_viewer()


def test_napari_hands_its_viewer_over_by_proxy(make_napari_viewer, qtbot) -> None:
    from napari._qt.qt_main_window import _instantiate_dock_widget

    viewer = make_napari_viewer()
    layer = viewer.add_image(**volume())
    dock = _instantiate_dock_widget(CountDock, viewer)
    viewer.window.add_dock_widget(dock)
    assert dock.viewer is viewer
    assert dock.picker().layer is layer


def test_the_dock_hears_of_the_window_closing_first(make_napari_viewer, qtbot) -> None:
    asked = []

    class Asking(CountDock):
        def may_close(self) -> None:
            asked.append(self.closed)

    viewer = make_napari_viewer()
    dock = Asking(viewer)
    viewer.window.add_dock_widget(dock)
    dock.start()
    viewer.close()
    assert asked == [False]


def test_picker_offers_none_when_optional(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    viewer.add_labels(np.zeros((4, 5, 6), int))
    picker = LayerPicker(viewer, kinds=("labels",), optional="no mask")
    qtbot.addWidget(picker)
    assert picker.layer is None
    assert picker.combo.itemText(0) == "no mask"
    picker.combo.setCurrentIndex(1)
    assert picker.layer is viewer.layers[0]
    picker.disconnect_viewer()


def test_primary_button_becomes_stop_and_back(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    dock = CountDock(viewer)
    viewer.window.add_dock_widget(dock)
    assert dock.primary.text() == "Count to 100"
    qtbot.keyClick(dock, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dock.job.state.step == 7)
    assert dock.primary.text() == "Stop"
    assert dock.status.bar.format() == "step 7 / 100  ·  2.0 /s  ·  46 s left"
    assert dock.status.facts.text() == "cpu  ·  32 bit  ·  1.0 GiB"
    qtbot.keyClick(dock, Qt.Key.Key_Escape)
    assert dock.primary.text() == "Stopping ..."
    assert not dock.primary.isEnabled()
    qtbot.waitUntil(lambda: not dock.running)
    assert dock.job.state.state == "cancelled"
    assert dock.primary.text() == "Count to 100"
    assert dock.primary.isEnabled()
    dock.set_primary("Count", possible=False, why="nothing to count")
    qtbot.keyClick(dock, Qt.Key.Key_Return)
    assert not dock.running


def test_removing_the_dock_or_closing_the_viewer_ends_its_jobs(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    for close in (viewer.window.remove_dock_widget, lambda dock: viewer.close()):
        dock = CountDock(viewer)
        viewer.window.add_dock_widget(dock)
        dock.primary.click()
        job = dock.job
        qtbot.waitUntil(lambda: job.state.step == 7)  # noqa: B023
        close(dock)
        qtbot.waitUntil(lambda: not RUNNING, timeout=5000)
        assert job.wait_closed(2000)


def test_a_removed_dock_is_collected(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    dock = CountDock(viewer)
    dock.inputs.addRow("Layer", dock.picker())
    viewer.window.add_dock_widget(dock)
    gone = weakref.ref(dock)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    del dock
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    viewer.add_image(**volume())


def test_errors_have_a_way_out_and_follow_the_theme(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    dock = CountDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.show_error("there is no scan", "Open sample", dock.stop)
    assert dock.status.error.text() == "✖ there is no scan"
    assert dock.status.way_out.text() == "Open sample"
    dark = dock.status.error.styleSheet()
    viewer.theme = "light"
    assert dock.status.error.styleSheet() != dark
    dock.status.show_state(JobState(state="failed", message="disk is full"))
    assert dock.status.error.text() == "✖ disk is full"


def test_a_job_without_a_known_end_says_how_far_it_is(qtbot) -> None:
    status = StatusArea()
    status.show_state(JobState(state="running", step=12, rate=0.05, device="cpu", warnings=("a", "b")))
    assert status.facts.text() == "step 12  ·  20 s each  ·  cpu"
    assert status.warning.text() == "⚠ a\n⚠ b"
    status.show_state(JobState(state="cancelling", step=12, total=20, device="cpu"))
    assert status.bar.format() == "stopping ..."


def test_help_opens_a_page(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    dock = CountDock(viewer)
    viewer.window.add_dock_widget(dock)
    dock.show_help()
    dialog = dock.findChild(object, "help-dialog")
    assert "Counts." in dialog.findChild(QTextBrowser).toPlainText()
    dialog.close()


def test_store_remembers_and_forgets() -> None:
    Store("a").put("minutes", 3)
    Store("a").put("name", "x")
    assert Store("a").load() == {"minutes": 3, "name": "x"}
    assert Store("b").get("minutes", 10) == 10
    Store("a").clear()
    assert Store("a").load() == {}


def test_the_current_configuration_goes_with_its_dock() -> None:
    class Source:
        def config(self) -> str:
            return "config"

    source = Source()
    offer_pretrain_config(source.config)
    assert current_pretrain_config() == "config"
    del source
    assert current_pretrain_config() is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(45.2, "45 s"), (200, "3 min 20 s"), (1500, "25 min"), (7500, "2 h 05 min")]
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_memory_for_people() -> None:
    assert [memory(n) for n in (75 * 2**10, 640 * 2**20, 1.8 * 2**30)] == ["75 KiB", "640 MiB", "1.8 GiB"]
