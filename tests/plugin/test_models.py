"""The model picker: what it lists and picks, both ways; its card; import, export and removal behind the window."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QFileDialog, QMessageBox

from genesis3d.errors import ModelError
from genesis3d.files import home
from genesis3d.networks import library as library_module
from genesis3d.networks.card import DataSource
from genesis3d.networks.library import Library
from genesis3d.networks.model_file import ModelCard, read_card, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from napari_genesis.layers import add_volume
from napari_genesis.widgets.model_combo import OPEN
from napari_genesis.widgets.model_dialogs import ImportDialog
from napari_genesis.widgets.model_entries import suggested_name
from napari_genesis.widgets.models import ModelPicker
from napari_genesis.widgets.shared import Store, runs_folder

NETWORK = UNet3d(width=2, norm="none")
WAIT = 20_000


def write(path: Path, **changes: Any) -> Path:
    fields = {"network": NETWORK, "title": "tiny", "spacing": (2.0, 1.0, 1.0), "patch": (16, 16, 16), "step": 7}
    write_model(path, NETWORK.build(1), ModelCard.parse(fields | changes))
    return path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "shipped")
    return write(tmp_path / "shipped/genesis-test.safetensors", title="ships")


@pytest.fixture
def run(shipped: Path) -> Path:
    path = runs_folder() / "first run"
    write(path / "checkpoints/best.safetensors", title="a run", data={"cases": 1, "training": ["k1"], "held_out": []})
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture
def picker(qtbot: Any, shipped: Path, run: Path) -> Iterator[ModelPicker]:
    made = ModelPicker(Store("TestDock"))
    qtbot.addWidget(made)
    yield made
    for dialog in made.findChildren(QDialog):
        dialog.close()


def settle(dialog: Any, qtbot: Any) -> None:
    qtbot.waitUntil(lambda: not dialog.running, timeout=WAIT)


def test_first_start_picks_what_ships_and_then_what_was_picked(picker: ModelPicker, run: Path, shipped: Path) -> None:
    assert picker.combo.labels() == ["genesis-test", "first run"]
    assert picker.path == shipped
    assert picker.card is not None
    picker.combo.setCurrentIndex(picker.combo.findData(str(run)))
    picker.combo.activated.emit(picker.combo.currentIndex())
    assert picker.path == run
    again = ModelPicker(Store("TestDock"))
    assert again.path == run
    other = ModelPicker(Store("OtherDock"))
    assert other.path == shipped
    for made in (again, other):
        made.deleteLater()


def test_the_combo_and_the_picked_model_follow_each_other(picker: ModelPicker, run: Path, shipped: Path) -> None:
    told: list[Path | None] = []
    picker.changed.connect(told.append)
    picker.set_path(run)
    assert picker.combo.currentText() == "first run"
    assert "a run" not in picker.info.text()
    picker.set_path("genesis-test")
    assert picker.combo.currentText() == "genesis-test"
    picker.combo.setCurrentIndex(picker.combo.findText("first run"))
    assert told == [run, shipped, run]
    heading = picker.combo.findText("Runs")
    assert not picker.combo.model().flags(picker.combo.model().index(heading, 0)) & Qt.ItemFlag.ItemIsEnabled
    picker.combo.setCurrentIndex(picker.combo.findText(OPEN))
    assert picker.combo.currentText() == "first run"
    assert told == [run, shipped, run]


def test_it_follows_the_library_and_the_runs(picker: ModelPicker, run: Path, shipped: Path, tmp_path: Path) -> None:
    told: list[Path | None] = []
    picker.set_path(run)
    picker.changed.connect(told.append)
    Library().add(shipped, "mine")
    (home() / "models" / "broken.safetensors").write_bytes(b"0" * 50)
    picker.refresh()
    assert picker.combo.labels() == ["genesis-test", "broken (cannot be read)", "mine", "first run"]
    assert (picker.path, told) == (run, [])
    write(run / "checkpoints/best.safetensors", title="a run", step=9)  # a better checkpoint meanwhile
    picker.refresh()
    assert "9 steps" in picker.info.text()
    assert told == [run]
    picker.set_path("broken")
    assert picker.card is None
    assert "expected a safetensors file" in picker.info.text()
    assert picker.panel.toggle.isHidden()
    (home() / "models" / "broken.safetensors").unlink()
    picker.refresh()
    assert picker.path == shipped


def test_it_looks_by_itself_while_it_is_seen(picker: ModelPicker, shipped: Path, qtbot: Any) -> None:
    assert not picker._timer.isActive()
    picker._timer.setInterval(20)
    picker.show()
    Library().add(shipped, "mine")
    qtbot.waitUntil(lambda: "mine" in picker.combo.labels(), timeout=WAIT)
    picker.hide()
    assert not picker._timer.isActive()


def test_no_model_at_all(qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "none")
    picker = ModelPicker(Store("TestDock"))
    qtbot.addWidget(picker)
    assert picker.path is None
    assert "No model yet" in picker.info.text()
    assert picker.combo.currentIndex() == -1
    assert not picker.menu_actions["export"].isEnabled()
    assert picker.export() is None
    picker.remove()
    picker.add_to_library().close()


def test_the_whole_card_unfolds(picker: ModelPicker, shipped: Path) -> None:
    source = DataSource(name="Chests & more", licence="CC BY 4.0", url="https://example.org/a?b=1&c=2")
    write(shipped, title="ships", limits="Few scans.", attribution=(source,), metrics={"ratio": 0.25})
    picker.refresh()
    assert picker.panel.full.isHidden()
    picker.panel.toggle.setChecked(True)
    text = picker.panel.full.text()
    assert not picker.panel.full.isHidden()
    for part in (
        "Few scans.",
        "Chests &amp; more",
        "href='https://example.org/a?b=1&amp;c=2'",
        "ratio 0.25: error over",
    ):
        assert part in text
    picker.panel.toggle.setChecked(False)
    assert picker.panel.full.isHidden()


def test_opened_files_are_remembered_for_every_dock(
    picker: ModelPicker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "elsewhere.safetensors")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(file), ""))
    index = picker.combo.findText(OPEN)
    picker.combo.activated.emit(index)  # by an arrow key: nothing
    assert picker.combo.labels() == ["genesis-test", "first run"]
    picker.combo.opened = True
    picker.combo.activated.emit(index)
    assert picker.path == file
    other = ModelPicker(Store("OtherDock"))
    assert "elsewhere" in other.combo.labels()
    file.unlink()
    other.refresh()
    assert "elsewhere" not in other.combo.labels()
    other.deleteLater()


def test_a_run_is_added_to_the_library_behind_the_window(picker: ModelPicker, run: Path, qtbot: Any) -> None:
    assert not picker.menu_actions["add"].isVisible()
    picker.set_path(run)
    assert picker.menu_actions["add"].isVisible()
    dialog = picker.add_to_library()
    assert dialog.name.text() == "first-run"
    dialog.form.field("licence").set_value("CC0")
    dialog.form._on_edited()
    with qtbot.waitSignal(dialog.made, timeout=WAIT):
        dialog.primary.click()
        assert dialog.primary.text() == "Stop"
    assert picker.path == home() / "models" / "first-run.safetensors"
    assert read_card("first-run").licence == "CC0"
    assert not dialog.isVisible()


def test_what_cannot_be_imported_is_said_in_the_dialog(picker: ModelPicker, shipped: Path, qtbot: Any) -> None:
    dialog = picker.import_weights()
    dialog.primary.click()
    settle(dialog, qtbot)
    assert "name: expected up to 80 letters" in dialog.status.error.text()
    dialog.set_file(str(shipped))
    assert dialog.name.text() == "genesis-test"
    dialog.primary.click()
    settle(dialog, qtbot)
    assert "this one ships with the project" in dialog.status.error.text()
    assert dialog.primary.text() == "Import"
    dialog.name.setText("mine")
    with qtbot.waitSignal(dialog.made, timeout=WAIT):
        dialog.primary.click()
    assert picker.path == home() / "models" / "mine.safetensors"


def test_other_projects_weights_show_what_matched(
    picker: ModelPicker, viewer: Any, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def import_weights(_path: str, **options: Any) -> Any:
        asked.update(options)
        if options["in_channels"] == 3:
            raise ModelError("weights.pt: expected one channel")
        card = ModelCard(network=NETWORK, licence="NC only")
        return SimpleNamespace(
            module=NETWORK.build(3), card=card, report=SimpleNamespace(text=lambda: "12 of 12 match")
        )

    fake = ModuleType("genesis3d.workflows.weights")
    fake.import_weights = import_weights  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "genesis3d.workflows.weights", fake)
    (tmp_path / "weights.pt").write_bytes(b"PK not really")
    scan = Volume(
        np.zeros((1, 4, 4, 4), np.int16), Geometry((4, 4, 4)), "CT", "HU", "a", source=str(tmp_path / "weights.pt")
    )
    layer = add_volume(viewer, scan)
    picker.set_layer(layer)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "weights.pt"), ""))
    dialog = picker.import_weights()
    dialog._on_browse()
    assert dialog.name.text() == "weights"
    dialog.on_scan.setChecked(True)
    dialog.form.set_value(dialog.form.value.replaced(in_channels=3))
    dialog.primary.click()
    settle(dialog, qtbot)
    assert "expected one channel" in dialog.status.error.text()
    assert "weights" not in picker.combo.labels()
    dialog.form.set_value(dialog.form.value.replaced(in_channels=None))
    with qtbot.waitSignal(dialog.made, timeout=WAIT):
        dialog.primary.click()
    assert asked["batch_norm"] == "running"
    assert asked["scans"] == (str(tmp_path / "weights.pt"),)
    assert dialog.report.text() == "12 of 12 match\nLicence: NC only"
    assert dialog.isVisible()
    assert dialog.height() >= dialog.layout().totalHeightForWidth(dialog.width())  # nothing is squeezed
    assert picker.combo.currentText() == "weights"
    settle(dialog, qtbot)
    assert dialog.primary.text() == "Close"
    dialog.name.setText("again")
    assert dialog.primary.text() == "Import"
    dialog.name.setText("weights")
    dialog._set_over(True)
    dialog.primary.click()
    assert not dialog.isVisible()


def test_a_model_is_exported_anonymous_and_half(
    picker: ModelPicker, run: Path, tmp_path: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    picker.set_path(run)
    dialog = picker.export()
    assert dialog is not None
    out = tmp_path / "shared.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(out), ""))
    dialog.half.setChecked(True)
    dialog.primary.click()
    settle(dialog, qtbot)
    assert "written, " in dialog.status.facts.text()
    assert read_card(out).data["training"] == 1
    size = out.stat().st_size
    dialog.half.setChecked(False)
    dialog.anonymous.setChecked(False)
    dialog.save(out)
    settle(dialog, qtbot)
    assert read_card(out).data["training"] == ["k1"]
    assert out.stat().st_size > 1.3 * size
    dialog.kind.setCurrentIndex(dialog.kind.findData("keras"))
    assert not dialog.half.isEnabled()
    dialog.save(tmp_path / "x.h5")
    settle(dialog, qtbot)
    assert "keras: expected a network with" in dialog.status.error.text()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    dialog.primary.click()
    assert not dialog.running


def test_only_the_user_s_models_are_removed_after_asking(
    picker: ModelPicker, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = [QMessageBox.StandardButton.No]
    monkeypatch.setattr(QMessageBox, "question", lambda *_: answer[0])
    assert not picker.menu_actions["remove"].isEnabled()
    picker.remove()
    Library().add(shipped, "mine")
    picker.refresh()
    picker.set_path("mine")
    assert picker.menu_actions["remove"].isEnabled()
    picker.remove()
    assert picker.combo.currentText() == "mine"
    answer[0] = QMessageBox.StandardButton.Yes
    picker.remove()
    assert picker.combo.labels() == ["genesis-test", "first run"]
    assert picker.path == shipped


def test_a_dialog_closed_while_it_works_leaves_nothing(
    picker: ModelPicker, run: Path, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialog = picker.import_weights()
    dialog.set_file(str(run))
    dialog.primary.click()
    job = dialog._jobs[0]
    dialog.close()
    assert job.wait_closed()
    assert {path.suffix for path in (home() / "models").iterdir()} <= {".safetensors"}  # whole, or not there


def test_the_help_is_the_page_on_models(picker: ModelPicker) -> None:
    picker.help_button.click()
    (dialog,) = picker.findChildren(QDialog, "help-dialog")
    assert "genesis3d models" in dialog.children()[-1].toPlainText()
    dialog.close()


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/first run", "first-run"), ("Genesis_Chest_CT.pt", "Genesis_Chest_CT"), ("x.pth.tar", "x.pth"),
     ("résumé (2).h5", "r-sum-2"), ("m.safetensors", "m")],
)  # fmt: skip
def test_a_name_is_suggested(path: str, name: str) -> None:
    assert suggested_name(Path(path)) == name


def test_the_dialog_knows_no_scan_without_a_file(qtbot: Any) -> None:
    dialog = ImportDialog()
    qtbot.addWidget(dialog)
    assert dialog.on_scan.isHidden()
    assert not dialog.on_scan.isChecked()
