"""The methods of an evaluation of anomaly maps: recipes, each with the models that fit it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from genesis3d.anomaly.base import RECIPES, Recipe, usual_recipe
from genesis3d.errors import ConfigError
from genesis3d.workflows.evaluate_anomaly_config import BASELINE

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.workflows.evaluate_anomaly_config import EvaluateAnomalyConfig

__all__ = ["Method", "methods"]

FITS = {"restoration": ("restoration", "opacity"), "opacity": ("opacity",)}  # purposes of models by what recipes need


@dataclass(frozen=True, eq=False)
class Method:
    """A recipe with a model, or with none; ``name`` is unlike every other's, ``digest`` that of the model's file."""

    name: str
    recipe: Recipe
    model: LoadedModel | None = None
    digest: str = ""


def methods(config: EvaluateAnomalyConfig) -> list[Method]:
    """Return the baseline and every recipe with each model that it can use.

    Raises
    ------
    ModelError
        For what is no model.
    ConfigError
        For a recipe that none of the models fits.
    """
    from genesis3d.networks.model_file import model_path, read_model

    models = [(read_model(one), sha256(model_path(one).read_bytes()).hexdigest()) for one in config.models]
    found = [Method(BASELINE, RECIPES.parse(BASELINE))]
    if not config.recipes:
        usual = [(usual_recipe(model.card), model, digest) for model, digest in models]
        found += [Method(recipe.name, recipe, model, digest) for recipe, model, digest in usual]
    for recipe in config.recipes:
        fitting = list(_with_models(recipe, models))
        if not fitting:
            raise ConfigError(
                f"recipe {recipe.name!r}: expected a model of {' or '.join(FITS[recipe.needs])}, "
                f"got {', '.join(config.models) or 'none'}"
            )
        found += [one for one in fitting if (one.name, one.recipe) != (BASELINE, found[0].recipe)]
    return list(_named(found))


def _with_models(recipe: Recipe, models: list[tuple[LoadedModel, str]]) -> Iterator[Method]:
    if recipe.needs == "nothing":
        yield Method(recipe.name, recipe)
        return
    for model, digest in models:
        if model.card.purpose in FITS[recipe.needs]:
            yield Method(recipe.name, recipe, model, digest)


def _named(found: list[Method]) -> Iterator[Method]:
    """Yield the methods with names of their own: the model's beside the recipe's, then a number."""
    for tell in (lambda one: f"{one.name}, {one.model.card.title}" if one.model else one.name, None):
        counts = Counter(one.name for one in found)
        seen: Counter[str] = Counter()
        named = []
        for one in found:
            seen[one.name] += 1
            if counts[one.name] > 1 and tell is not None:
                named.append(replace(one, name=tell(one)))
            elif counts[one.name] > 1 and seen[one.name] > 1:
                named.append(replace(one, name=f"{one.name} {seen[one.name]}"))
            else:
                named.append(one)
        found = named
    yield from found
