"""The chain editor: rows and chain follow each other, files, and a user's own transformations."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari")

from genesis3d.rng import Address
from genesis3d.transforms import CHAIN_PRESETS, TRANSFORMS, Chain, Choice, NonLinear, Opacity, Step, chain_preset
from napari_genesis.widgets.preview.chain import EDITED, ChainEditor, alone, entries

OWN = '''
import torch
from pydantic import Field
from genesis3d.transforms import TRANSFORMS, Transform

@TRANSFORMS.register("darken")
class Darken(Transform):
    """Halve, or so."""
    label = "darken"
    factor: float = Field(0.5, ge=0, le=1, description="factor of every intensity")
    def sample(self, shape, address):
        import numpy as np
        return {"none": np.zeros(1)}
    def _apply(self, x, params):
        return x * self.factor
'''


@pytest.fixture
def editor(qtbot: Any) -> ChainEditor:
    made = ChainEditor(chain_preset("official"))
    qtbot.addWidget(made)
    return made


@pytest.fixture
def said(editor: ChainEditor) -> list[str]:
    sentences: list[str] = []
    editor.failed.connect(sentences.append)
    return sentences


@pytest.fixture
def _own_names() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = dict(TRANSFORMS._classes)
    yield
    TRANSFORMS._classes.clear()
    TRANSFORMS._classes.update(before)


@pytest.mark.parametrize("name", list(CHAIN_PRESETS))
def test_every_preset_is_shown_and_read_back(editor: ChainEditor, name: str) -> None:
    editor.set_value(CHAIN_PRESETS[name])
    assert editor.value == CHAIN_PRESETS[name]
    assert editor.presets.currentText() in (name, f"only {CHAIN_PRESETS[name].steps[0].options[0].label}")


def test_the_combo_offers_chains_and_single_transformations() -> None:
    offered = entries()
    assert {"official", "paper", "default", "gentle", "identity"} <= set(offered)
    assert offered["only local shuffling"] == chain_preset("shuffling")
    assert "only flip" in offered


def test_choosing_a_preset(editor: ChainEditor, qtbot: Any) -> None:
    editor.presets.setCurrentText("gentle")
    with qtbot.waitSignal(editor.changed):
        editor.presets.activated.emit(editor.presets.currentIndex())
    assert editor.value == chain_preset("gentle")


def test_edits_by_row(editor: ChainEditor) -> None:
    seen: list[Chain] = []
    editor.changed.connect(lambda: seen.append(editor.value))
    editor.rows[1].chance.setValue(0.25)
    editor.rows[0].enabled.setChecked(False)
    editor.rows[3].shares[0].setValue(0.6)
    editor.rows[1].forms[0].field("coverage").set_value(3.0)
    flip, shuffling, _, painting = seen[-1].steps
    assert (flip.enabled, shuffling.p, shuffling.transform.coverage) == (False, 0.25, 3.0)
    assert isinstance(painting, Choice)
    assert painting.weights == (0.6, 0.4)
    assert editor.rows[3].shares[1].value() == pytest.approx(0.4)
    assert len(seen) == 4
    assert editor.presets.currentText() == EDITED


def test_the_form_keeps_what_the_curve_holds(editor: ChainEditor) -> None:
    row = editor.rows[2]
    row.curve.targets[0].setPos(0.1, 0.7)
    row.forms[0].field("p_decreasing").set_value(0.8)
    row.curve._buttons["increasing"].click()
    transform = editor.value.steps[2].transform
    assert isinstance(transform, NonLinear)
    assert (transform.p_decreasing, transform.direction) == (0.8, "increasing")
    assert transform.control_points is not None


def test_only_this_step_with_what_was_drawn_for_it(editor: ChainEditor) -> None:
    address = Address(5) / "chain"
    whole = editor.value.draw((1, 32, 64, 64), [address])
    editor.rows[3].only.setChecked(True)
    single = editor.value
    assert single == alone(chain_preset("official"), 3)
    drawn = single.draw((1, 32, 64, 64), [address])
    assert drawn["3/choice"] >= 0
    assert (drawn["1/choice"], drawn["2/choice"]) == (-1, -1)
    for key in ("3/1/start", "3/1/key"):
        assert (drawn[key] == whole[key]).all()
    editor.rows[1].only.setChecked(True)
    assert not editor.rows[3].only.isChecked()
    assert editor.value == alone(chain_preset("official"), 1)
    editor.rows[1].only.setChecked(False)
    assert editor.value == chain_preset("official")


def test_steps_are_added_moved_and_removed(editor: ChainEditor) -> None:
    editor.adder.activated.emit(editor.adder.findText("in-painting"))
    assert [step.options[0].name for step in editor.value.steps][-1] == "inpainting"
    editor.rows[4].raised.emit()
    assert [step.options[0].name for step in editor.value.steps][3] == "inpainting"
    for _ in range(5):
        editor.rows[0].removed.emit()
    assert len(editor.value.steps) == 1, "the last step stays"


def test_an_opacity_has_a_field_for_every_setting(editor: ChainEditor) -> None:
    editor.set_value(CHAIN_PRESETS["opacity"])
    form = editor.rows[0].forms[0]
    assert form is not None
    assert form.names() == list(Opacity.model_fields)
    form.field("radius_mm").parts[0].control.setValue(12.5)
    form.field("nodules").parts[1].control.setValue(9)
    assert editor.value.steps[0].options[0] == Opacity(radius_mm=(12.5, 38.0), nodules=(5, 9))
    form.field("extent").parts[1].control.setValue(0.1)
    assert "smaller number first" in form.error


def test_saved_chains_are_loaded_again(editor: ChainEditor, said: list[str], tmp_path: Path) -> None:
    editor.rows[2].curve.targets[0].setPos(0.125, 0.75)
    chain = editor.value
    editor.save(str(tmp_path / "chain.yaml"))
    assert Chain.from_yaml(tmp_path / "chain.yaml") == chain
    editor.set_value(chain_preset("identity"))
    editor.load(str(tmp_path / "chain.yaml"))
    assert editor.value == chain
    assert said[-1] == ""


def test_files_that_cannot_be_read_or_written_change_nothing(
    editor: ChainEditor, said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "broken.yaml").write_text("steps: nonsense")
    editor.load(str(tmp_path / "broken.yaml"))
    assert "broken.yaml" in said[-1]
    editor.load(str(tmp_path / "absent.yaml"))
    assert "absent.yaml" in said[-1]
    assert editor.value == chain_preset("official")
    editor.save(str(tmp_path / "no" / "such" / "folder.yaml"))
    assert "could not be saved" in said[-1]


@pytest.mark.usefixtures("_own_names")
def test_a_users_own_transformation(editor: ChainEditor, said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "my_transforms.py"
    file.write_text(OWN)
    editor.load_python(str(file))
    assert said[-1] == ""
    editor.presets.setCurrentText("only darken")
    editor.presets.activated.emit(editor.presets.currentIndex())
    editor.rows[0].forms[0].field("factor").set_value(0.25)
    assert editor.value.steps[0].transform.factor == 0.25
    editor.save(str(tmp_path / "own.yaml"))
    editor.load(str(tmp_path / "own.yaml"))
    assert editor.value.steps[0].transform.name == "darken"


@pytest.mark.usefixtures("_own_names")
@pytest.mark.parametrize(
    ("text", "sentence"),
    [("1 / 0", "ZeroDivisionError"), ("def (", "SyntaxError"), ("x = 1", "found no new one"), (None, "Python file")],
)
def test_python_that_fails_is_said_in_a_sentence(
    editor: ChainEditor, said: list[str], tmp_path: Path, text: str | None, sentence: str
) -> None:
    file = tmp_path / "mine.py"
    if text is not None:
        file.write_text(text)
    editor.load_python(str(file))
    assert sentence in said[-1]
    assert "mine.py" in said[-1]


def test_forms_made_for_every_registered_transformation(editor: ChainEditor) -> None:
    for text, chain in entries().items():
        editor.set_value(chain)
        for row, step in zip(editor.rows, chain.steps, strict=True):
            assert len(row.forms) == len(step.options), text
            assert isinstance(row.value, Step | Choice)
