"""Forms: each kind of field both ways, ranges and tooltips from the declaration, no loops, sentences for errors."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, model_validator
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QDoubleSpinBox
from superqt import QLabeledDoubleSlider, QLabeledSlider

from genesis3d.config import Config
from napari_genesis.forms import ConfigForm


class Settings(Config):
    on: bool = Field(True, description="whether it is on")
    count: int = Field(5, ge=1, le=20, description="how many")
    many: int = Field(10_000, ge=0, description="windows")
    share: float = Field(0.5, ge=0, le=1, description="probability")
    size: float = Field(3.0, gt=0, description="edge, in mm")
    rule: Literal["default", "official"] = "default"
    patch: tuple[int, int, int] = Field((32, 64, 64), description="D, H, W in voxels")
    limit: float | None = Field(None, ge=0, le=100, description="in %")
    name: str = "run"
    nested: dict[str, int] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        if self.count > 10 and not self.on:
            raise ValueError("expected at most 10 while off")
        return self


@pytest.fixture
def form(qtbot):
    form = ConfigForm(Settings, more=("limit", "name"))
    yield form
    form.deleteLater()
    QCoreApplication.sendPostedEvents(form, QEvent.Type.DeferredDelete.value)


def test_each_field_has_the_widget_its_declaration_asks_for(form) -> None:
    assert form.names() == ["on", "count", "many", "share", "size", "rule", "patch", "limit", "name"]
    assert isinstance(form.field("count").control, QLabeledSlider)
    assert (form.field("count").control.minimum(), form.field("count").control.maximum()) == (1, 20)
    assert isinstance(form.field("share").control, QLabeledDoubleSlider)
    assert form.field("many").control.minimum() == 0
    assert form.field("size").toolTip() == "edge, in mm"
    assert not form.more_fold.isExpanded()


OTHER = Settings(
    on=False, count=7, many=123, share=0.25, size=1.5, rule="official", patch=(16, 32, 48), limit=12.5, name="b"
)


def test_model_changes_and_widgets_follow_without_emitting(form) -> None:
    told = []
    form.changed.connect(told.append)
    form.set_value(OTHER)
    assert told == []
    assert form.value == OTHER
    for name in form.names():
        assert form.field(name).value() == getattr(OTHER, name), name


EDITS = [
    ("on", lambda f: f.box.click(), False),
    ("count", lambda f: f.control.setValue(9), 9),
    ("many", lambda f: f.control.setValue(77), 77),
    ("share", lambda f: f.control.setValue(0.75), 0.75),
    ("size", lambda f: f.control.setValue(0.25), 0.25),
    ("rule", lambda f: f.combo.setCurrentIndex(1), "official"),
    ("patch", lambda f: f.parts[0].control.setValue(16), (16, 64, 64)),
    ("limit", lambda f: f.box.click(), 0.0),
    ("name", lambda f: (f.line.setText("x"), f.line.editingFinished.emit()), "x"),
]


@pytest.mark.parametrize(("name", "edit", "value"), EDITS, ids=[name for name, _, _ in EDITS])
def test_widgets_change_and_the_model_follows(form, name, edit, value) -> None:
    told = []
    form.changed.connect(told.append)
    edit(form.field(name))
    assert getattr(form.value, name) == value
    assert told == [form.value]
    assert form.value == Settings(**{name: value})


def test_an_invalid_combination_is_said_and_the_last_valid_value_stays(form) -> None:
    form.field("on").box.click()
    valid = form.value
    form.field("count").control.setValue(15)
    assert form.value == valid
    assert "at most 10 while off" in form.error
    form.field("count").control.setValue(10)
    assert form.error == ""
    assert form.value.count == 10


def test_small_numbers_keep_their_digits(qtbot) -> None:
    class Rate(Config):
        rate: float = Field(0.00025, gt=0, le=1, description="learning rate")
        bounded: float = Field(0.125, ge=0, le=1)

    form = ConfigForm(Rate)
    qtbot.addWidget(form)
    assert isinstance(form.field("rate").control, QDoubleSpinBox)
    assert form.field("rate").value() == 0.00025
    assert form.field("bounded").value() == 0.125
