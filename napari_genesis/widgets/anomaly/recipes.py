"""Choosing a recipe: what it does in one line, its settings under a fold, and whether it needs a model."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QVBoxLayout, QWidget

from genesis3d.anomaly.base import RECIPES
from genesis3d.errors import GenesisError
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.config_groups import ConfigGroups
from napari_genesis.widgets.model_entries import purpose_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from genesis3d.anomaly.base import Recipe

__all__ = ["RecipePicker", "RecipeSettings", "meaning", "usual"]


def meaning(recipe: type[Recipe]) -> str:
    """Return what a recipe does, in one line: the first sentence of its documentation."""
    return inspect.cleandoc(recipe.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


class RecipePicker(QWidget):
    """A combo of the registered recipes, with what the picked one does below.

    Signals
    -------
    changed(object) : the class of the recipe picked
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.combo = QComboBox(objectName="recipe-combo")
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(12)
        for recipe in RECIPES:
            self.combo.addItem(recipe.label or recipe.name, recipe.name)
            self.combo.setItemData(self.combo.count() - 1, meaning(recipe), 3)  # Qt's role of tool tips
        wheel_needs_focus(self.combo)
        self.info = QLabel(objectName="recipe-info", wordWrap=True, styleSheet="font-size: 8pt")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.combo)
        column.addWidget(self.info)
        self.setFocusProxy(self.combo)
        self.combo.currentIndexChanged.connect(self._on_index)
        self._on_index()

    @property
    def recipe(self) -> type[Recipe]:
        """The class of the recipe picked."""
        return RECIPES.get(self.combo.currentData())

    def set_recipe(self, name: str) -> None:
        """Pick the recipe called ``name``; an unknown one is ignored."""
        index = self.combo.findData(name)
        if index >= 0:
            self.combo.setCurrentIndex(index)

    def _on_index(self, _: int = 0) -> None:
        self.info.setText(meaning(self.recipe))
        self.changed.emit(self.recipe)


class RecipeSettings(QWidget):
    """The settings of each recipe, of which those of one are shown; each keeps its own.

    Signals
    -------
    changed() : a person changed a setting
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._forms: dict[str, ConfigGroups] = {}
        self._shown = ""
        self.nothing = QLabel("no settings of its own")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self.nothing)

    def show_recipe(self, name: str) -> None:
        """Show the settings of the recipe called ``name``."""
        if name not in self._forms:
            form = ConfigGroups(RECIPES.parse(name), ())
            form.changed.connect(self.changed)
            self._forms[name] = form
            self._column.addWidget(form)
        self._shown = name
        for each, form in self._forms.items():
            form.setVisible(each == name)
        self.nothing.setVisible(not RECIPES.get(name).model_fields)

    @property
    def value(self) -> Recipe:
        """The recipe shown, with its settings."""
        value: Recipe = self._forms[self._shown].value()
        return value

    def set_value(self, recipe: Recipe) -> None:
        """Show ``recipe`` with its settings."""
        self.show_recipe(recipe.name)
        self._forms[recipe.name].set_value(recipe)

    def remembered(self) -> dict[str, Any]:
        """Return the settings of every recipe that was shown, as plain values by name."""
        return {name: form.value().to_dict() for name, form in self._forms.items()}

    def recall(self, values: Any) -> None:
        """Take what :meth:`remembered` returned; what is no longer valid is left out."""
        for name, fields in values.items() if isinstance(values, dict) else ():
            try:
                recipe = RECIPES.parse(fields)
            except GenesisError:
                continue
            self.show_recipe(name)
            self._forms[name].set_value(recipe)

    def reset(self) -> None:
        """Return every recipe to its defaults."""
        for name, form in self._forms.items():
            form.set_value(RECIPES.parse(name))


def usual(models: Iterable[Path]) -> str:
    """Return the name of the best recipe that there is a model for."""
    purposes = {purpose_of(path) for path in models}
    return "opacity" if "opacity" in purposes else "difference" if "restoration" in purposes else "hu"
