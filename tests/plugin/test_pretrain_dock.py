"""The Pre-train dock: cases, settings both ways, a real training from the window, and everything that ends it."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from pathlib import Path

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QCoreApplication, QEvent, QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDropEvent

from genesis3d.errors import ConfigError
from genesis3d.io import write_volume
from genesis3d.training.rundir import RunDir
from genesis3d.transforms import chain_preset
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis import devices, jobs
from napari_genesis.layers import add_volume
from napari_genesis.run_files import write_config
from napari_genesis.widgets import closing
from napari_genesis.widgets.extending import extended
from napari_genesis.widgets.handing import equals_its_file
from napari_genesis.widgets.plots import CurvePlot, smoothed
from napari_genesis.widgets.pretrain.dock import PretrainDock
from napari_genesis.widgets.runs import free_name
from napari_genesis.widgets.shared import current_pretrain_config, offer_chain, runs_folder

FAKE = """
import json, sys, time
import numpy as np
from pathlib import Path
from genesis3d.events import Finished, Sampled, Started, Stepped, Validated, Warned
from genesis3d.training.rundir import RunDir
run = RunDir(sys.argv[1]); run.forget_old_order()
run.samples.mkdir(exist_ok=True)
run.set_status("running")
run.append(Started(what="pretrain", total=2000, device="cpu", precision="32"))
for step in range(1, 2001):
    run.append(Stepped(step=step, total=2000, metrics={"loss": 1 / step}, rate=20.0, seconds_left=9.0))
    if step % 5 == 0:
        run.append(Validated(step=step, metrics={"loss": 1.1 / step, "ratio": 0.5}, best=True))
        arrays = {name: np.full((2, 1, 4, 8, 8), 1 / step, np.float16) for name in ("input", "restored", "target")}
        path = run.samples / f"step-{step:06d}.npz"
        np.savez(path.with_suffix(".part.npz"), **arrays); path.with_suffix(".part.npz").replace(path)
        run.append(Sampled(step=step, path=f"samples/{path.name}"))
    if run.control() == "stop":
        run.append(Finished(cancelled=True, result={"step": step})); run.set_status("stopped"); break
    time.sleep(0.03)
"""


@pytest.fixture(autouse=True)
def _cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices are known already, so that no test starts a process to ask torch."""
    monkeypatch.setattr(devices, "_KNOWN", [devices.Device("cpu", "CPU")])


@pytest.fixture
def fake_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child process that behaves as a training, without torch."""
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    spawn = jobs.spawn_training
    monkeypatch.setattr(
        jobs, "spawn_training", lambda run, resume, _: spawn(run, resume, [sys.executable, str(script), str(run)])
    )


def phantom(seed: int = 0, name: str = "phantom") -> Volume:
    rng = np.random.default_rng(seed)
    data = rng.normal(-700, 60, (24, 40, 40)).astype(np.int16)
    data[8:16, 10:30, 10:30] = 40
    return Volume(data[None], Geometry(data.shape, (2.5, 0.7, 0.7)), modality="CT", unit="HU", name=name)


@pytest.fixture
def dock(make_napari_viewer):
    viewer = make_napari_viewer()
    dock = PretrainDock(viewer)
    viewer.window.add_dock_widget(dock, name="Pre-train")
    return dock


def tiny(dock: PretrainDock, steps: int) -> None:
    """Settings of a training that takes seconds."""
    config = PretrainConfig(
        steps=steps, batch=2, precision="32", device="cpu", threads=1, network={"name": "unet3d", "width": 8},
        sampling={"patch": (16, 16, 16)}, validation={"windows": 2, "every": 5},
        keep={"samples_every": 5, "seconds": 0}, chain=chain_preset("gentle"),
    )  # fmt: skip
    dock.config_form.set_config(config)


SAMPLES = ["samples: input", "samples: restored", "samples: target"]


def children() -> list[psutil.Process]:
    """Trainings started by this process that are alive."""
    return [process for process in psutil.Process().children(recursive=True) if trains(process)]


def trains(process: psutil.Process) -> bool:
    """Whether it is a training that has not ended: one may end between two questions."""
    try:
        command = process.cmdline()
        alive = process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # a zombie is one, too
        return False
    return alive and ("pretrain" in command or "fake.py" in " ".join(command))


def test_cases_from_layers_files_and_drops(dock, qtbot, tmp_path: Path) -> None:
    assert dock.primary.text() == "Train 10 min on CPU, 1 core" or "cores" in dock.primary.text()
    assert not dock.primary.isEnabled()
    add_volume(dock.viewer, phantom())
    dock.cases.add_selected_layers()
    dock.cases.add_selected_layers()
    (entry,) = dock.cases.entries
    assert entry.volume is not None
    assert np.shares_memory(entry.volume.data, dock.viewer.layers[0].data)
    assert entry.picture.shape == (40, 40)
    assert dock.primary.isEnabled()
    write_volume(phantom(1, "b"), tmp_path / "b.nii.gz")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(tmp_path))])
    none = Qt.KeyboardModifier.NoModifier
    dock.cases.list.dropEvent(
        QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, none)
    )
    qtbot.waitUntil(lambda: len(dock.cases.entries) == 2 and dock.cases.entries[1].voxels is not None, timeout=30000)
    assert dock.cases.entries[1].name == "b"
    assert dock.cases.entries[1].spacing == pytest.approx((2.5, 0.7, 0.7))
    assert "2 cases  ·  0.1 million voxels" in dock.cases.summary.text()
    dock.cases.list.setCurrentRow(0)
    dock.cases.remove_selected()
    assert [e.name for e in dock.cases.entries] == ["b"]
    dock.cases.add_paths([str(tmp_path / "nothing")])
    qtbot.waitUntil(lambda: "nothing" in dock.status.error.text(), timeout=30000)


def test_a_flat_layer_is_refused_in_a_sentence(dock) -> None:
    dock.viewer.add_image(np.zeros((8, 8)), name="flat")
    dock.cases.add_selected_layers()
    assert dock.cases.entries == []
    assert "flat" in dock.status.error.text()


def test_settings_and_configuration_both_ways(dock) -> None:
    form = dock.config_form
    form.network.buttons["L"].click()
    form.steps.setValue(77)
    form.chain.setCurrentText("paper")
    form.chain.activated.emit(form.chain.currentIndex())
    form.precision.setCurrentIndex(form.precision.findData("bf16"))
    config = form.config(("a.nii.gz",))
    assert (config.network.width, config.steps, config.minutes, config.precision) == (32, 77, None, "bf16")
    assert config.chain == chain_preset("paper")
    assert config.cases == ("a.nii.gz",)
    assert dock.primary.text().startswith("Train 77 steps on CPU")
    assert "19.1 million parameters" in form.facts.text()
    form.minutes.setValue(3)
    assert (form.config().steps, form.config().minutes) == (None, 3.0)
    other = PretrainConfig(steps=5, batch=2, seed=9, sampling={"patch": (8, 16, 16)}, chain=chain_preset("gentle"))
    form.set_config(other)
    assert form.config() == other
    assert current_pretrain_config() == other
    dock.reset()
    assert form.budget_sentence() == "10 min"


def test_settings_are_remembered(dock) -> None:
    dock.config_form.steps.setValue(123)
    again = PretrainDock(dock.viewer)
    assert again.config_form.config().steps == 123
    again.shutdown()
    again.deleteLater()


def test_the_chain_comes_from_a_file_or_the_preview(dock, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(chain_preset("gentle").to_yaml())
    dock.config_form.load_chain(str(path))
    assert dock.config_form.config().chain == chain_preset("gentle")
    assert dock.config_form.chain.currentText() == "mine.yaml"
    path.write_text("nonsense: 1")
    dock.config_form.load_chain(str(path))
    assert "nonsense" in dock.status.error.text()
    assert dock.config_form.config().chain == chain_preset("gentle")

    class Preview:
        def chain(self):
            return chain_preset("paper")

    preview = Preview()
    offer_chain(preview.chain)
    dock.config_form.chain.setCurrentText("from the Preview dock")
    dock.config_form.chain.activated.emit(0)
    assert dock.config_form.config().chain == chain_preset("paper")


def test_a_layer_travels_as_its_file_while_it_equals_it(tmp_path: Path) -> None:
    from genesis3d.io import read_volume

    write_volume(phantom(), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz").canonical()
    assert equals_its_file(volume)
    changed = volume.with_data(volume.data.copy())
    changed.data[0, 0, 0, 0] += 1
    assert not equals_its_file(changed)
    assert not equals_its_file(phantom())


def test_a_real_training_is_started_stopped_resumed_and_restores(dock, qtbot) -> None:
    add_volume(dock.viewer, phantom())
    dock.cases.add_selected_layers()
    tiny(dock, 40)
    dock.primary.click()
    assert dock.primary.text() == "Stop"
    qtbot.waitUntil(lambda: dock.follower is not None and dock.follower.state.step >= 6, timeout=90000)
    run = dock.follower.run_dir
    stored = PretrainConfig.parse(RunDir(run).config())
    assert Path(stored.cases[0]).parent == run / "inputs"
    assert stored.intensity is not None
    assert dock.status.facts.text().startswith("cpu")
    assert [layer.name for layer in dock.view.samples.layers] == SAMPLES
    before = dock.view.samples.layers[1].data
    shown = before.copy()
    qtbot.waitUntil(lambda: not np.array_equal(dock.view.samples.layers[1].data, shown), timeout=60000)
    assert dock.view.samples.layers[1].data is before
    dock.primary.click()
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=60000)
    assert dock.follower.state.state == "cancelled"
    assert "stopped and saved" in dock.status.facts.text()
    stopped = dock.follower.state.step
    assert RunDir(run).state() == "stopped"
    write_config(run, stored.replaced(steps=stopped + 3))
    dock.runs.select(run)
    dock.runs.resumed.emit(run)
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=90000)
    state = dock.follower.state
    assert (state.state, state.step) == ("finished", stopped + 3)
    assert state.curves["loss"][0] == list(range(1, stopped + 4))
    assert (run / "checkpoints" / "best.safetensors").is_file()
    assert dock.runs.table.item(0, 1).text() == "finished"
    assert float(dock.runs.table.item(0, 3).text()) > 0
    assert not children()


def started(dock: PretrainDock, qtbot) -> Path:
    """Start a (fake) training from the dock and wait until it steps."""
    if not dock.viewer.layers:
        add_volume(dock.viewer, phantom())
    dock.cases.clear()
    dock.cases.add_layers([dock.viewer.layers[0]])
    dock.primary.click()
    qtbot.waitUntil(lambda: dock.follower is not None and dock.follower.state.step > 5, timeout=60000)
    return dock.follower.run_dir


@pytest.mark.usefixtures("fake_training")
def test_kill_ends_at_once_and_says_so(dock, qtbot) -> None:
    started(dock, qtbot)
    assert dock.kill_button.isEnabled()
    dock.kill_button.menu().actions()[0].trigger()
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=30000)
    assert "killed" in dock.status.facts.text()
    assert dock.runs.table.item(0, 1).text() == "killed"
    assert not children()


@pytest.mark.usefixtures("fake_training")
def test_closing_the_viewer_stops_and_saves_by_default(dock, qtbot) -> None:
    run = started(dock, qtbot)
    dock.viewer.close()
    qtbot.waitUntil(lambda: not children(), timeout=30000)
    assert RunDir(run).state() == "stopped"


@pytest.mark.usefixtures("fake_training")
def test_a_training_told_to_go_on_is_found_again_and_stopped(dock, qtbot, make_napari_viewer) -> None:
    run = started(dock, qtbot)
    dock.answer_on_close = "go on"
    dock.viewer.close()
    qtbot.wait(300)
    assert RunDir(run).state() == "running"
    viewer = make_napari_viewer()
    again = PretrainDock(viewer)
    viewer.window.add_dock_widget(again)
    assert not again.banner.isHidden()
    assert f"Training '{run.name}' is still running" in again.banner.text.text()
    again.banner.follow.emit(run)
    qtbot.waitUntil(lambda: again.follower.state.step > 8, timeout=30000)
    assert again.banner.isHidden()
    assert again.primary.text() == "Stop"
    assert [layer.name for layer in viewer.layers] == SAMPLES
    qtbot.keyClick(again, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: not again.follower.running, timeout=30000)
    assert RunDir(run).state() == "stopped"
    qtbot.waitUntil(lambda: not children(), timeout=30000)


def test_the_question_on_closing(make_napari_viewer, monkeypatch, qtbot) -> None:
    viewer = make_napari_viewer(show=True)
    dock = PretrainDock(viewer)
    viewer.window.add_dock_widget(dock)
    monkeypatch.setattr(closing._Question, "exec", lambda self: self.go_on.click())
    assert closing.ask_go_on(dock, "a") == "go on"
    monkeypatch.setattr(closing._Question, "exec", lambda self: self.defaultButton().click())
    assert closing.ask_go_on(dock, "a") == "stop"
    monkeypatch.setattr(closing, "SECONDS", 0)
    monkeypatch.setattr(closing._Question, "exec", lambda self: qtbot.wait(50))
    assert closing.ask_go_on(dock, "a") == "stop"
    viewer.window._qt_window.hide()
    monkeypatch.setattr(closing._Question, "exec", None)
    assert closing.ask_go_on(dock, "a") == "stop"


@pytest.mark.usefixtures("fake_training")
def test_a_dock_that_trained_is_collected(make_napari_viewer, qtbot) -> None:
    viewer = make_napari_viewer()
    dock = PretrainDock(viewer)
    viewer.window.add_dock_widget(dock)
    started(dock, qtbot)
    gone = weakref.ref(dock)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    del dock
    qtbot.wait(50)
    gc.collect()
    assert gone() is None
    assert current_pretrain_config() is None
    qtbot.waitUntil(lambda: not children(), timeout=30000)


@pytest.mark.usefixtures("fake_training")
def test_removing_the_dock_or_its_layers_leaves_nothing(dock, qtbot) -> None:
    viewer = dock.viewer
    run = started(dock, qtbot)
    qtbot.waitUntil(lambda: len(dock.view.samples.layers) == 3, timeout=30000)
    viewer.layers["phantom"].name = "renamed"
    viewer.layers.remove("samples: restored")
    step = dock.follower.state.step
    qtbot.waitUntil(lambda: dock.follower.state.step > step + 12, timeout=30000)
    assert len(dock.view.samples.layers) == 2
    viewer.layers.clear()
    qtbot.wait(300)
    viewer.window.remove_dock_widget(dock)
    dock.deleteLater()
    QCoreApplication.sendPostedEvents(dock, QEvent.Type.DeferredDelete.value)
    assert len(viewer.layers) == 0
    qtbot.waitUntil(lambda: not children(), timeout=30000)
    assert RunDir(run).state() == "stopped"


@pytest.mark.usefixtures("fake_training")
def test_runs_are_listed_opened_and_deleted(dock, qtbot) -> None:
    run = started(dock, qtbot)
    dock.runs.select(run)
    assert dock.runs.table.item(0, 1).text() == "running"
    assert not dock.runs._buttons["Delete"].isEnabled()
    dock.primary.click()
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=30000)
    steps = dock.follower.state.step
    dock.runs.select(run)
    dock.runs._buttons["Open"].click()
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=30000)
    assert dock.follower.state.step == steps
    dock.runs.confirm = lambda question: run.name in question
    dock.runs._buttons["Delete"].click()
    assert not run.exists()
    assert dock.runs.table.rowCount() == 0


def test_a_disk_that_is_full_is_a_sentence_and_leaves_no_folder(dock, qtbot, monkeypatch) -> None:
    add_volume(dock.viewer, phantom())
    dock.cases.add_selected_layers()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    dock.primary.click()
    qtbot.waitUntil(lambda: "free on the disk" in dock.status.error.text(), timeout=30000)
    assert list(runs_folder().iterdir()) == []
    assert dock.primary.text().startswith("Train")


def test_a_refused_configuration_is_said(dock, qtbot) -> None:
    run = runs_folder() / "broken"
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({"nonsense": 1}))
    dock.launch(run)
    qtbot.waitUntil(lambda: not dock.follower.running, timeout=60000)
    assert dock.follower.state.state == "failed"
    assert "nonsense" in dock.status.error.text()


def test_a_finished_run_is_extended_by_the_present_budget() -> None:
    assert extended(PretrainConfig(steps=10), PretrainConfig(steps=5)).steps == 15
    assert extended(PretrainConfig(minutes=10), PretrainConfig(minutes=5)).minutes == 15
    assert extended(PretrainConfig(steps=10), PretrainConfig(minutes=5)).steps == 20


def test_names_of_runs_are_free(tmp_path: Path) -> None:
    assert free_name(tmp_path) == "run-01"
    (tmp_path / "run-01").mkdir()
    assert free_name(tmp_path) == "run-02"
    assert free_name(tmp_path, "../x/y") == "-x-y"
    (tmp_path / "mine").mkdir()
    assert free_name(tmp_path, "mine") == "mine-02"


def test_curves_are_drawn_at_most_four_times_a_second(qtbot) -> None:
    plot = CurvePlot("dark")
    drawn = []
    plot._lines["raw"].sigPlotChanged.connect(drawn.append)
    for last in range(1, 60):
        plot.show_curves({"loss": (list(range(last)), [1.0] * last), "validation ratio": ([last], [0.5])})
        qtbot.wait(10)
    qtbot.waitUntil(lambda: plot._lines["raw"].getOriginalDataset()[0].size == 59)
    assert len(drawn) <= 5
    assert "0.50 of the best constant" in plot.figures.text()
    plot.log.click()
    plot.set_theme("light")
    assert plot.sizeHint().height() < 300
    assert np.allclose(smoothed(np.ones(50)), 1)
    plot.close()
    plot.deleteLater()


def test_no_configuration_is_offered_that_is_not_valid(dock, monkeypatch) -> None:
    def refuse(cases=()):
        raise ConfigError("no")

    add_volume(dock.viewer, phantom())
    dock.cases.add_selected_layers()
    with pytest.raises(ConfigError, match="phantom: expected a case with a file"):
        current_pretrain_config()
    monkeypatch.setattr(dock.config_form, "config", refuse)
    dock.cases.clear()
    with pytest.raises(ConfigError):
        current_pretrain_config()
