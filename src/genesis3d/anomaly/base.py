"""What every recipe is: scan, lungs and model in, a score out, higher where something is amiss."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, PlainSerializer

from genesis3d.anomaly.restoring import RestoreSettings, check_model
from genesis3d.errors import DomainError, ModelError
from genesis3d.events import Control, Event, Started, Warned, keep_running
from genesis3d.registry import Named, Registry

if TYPE_CHECKING:
    from genesis3d.anomaly.calibration import Calibration
    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume

__all__ = ["RECIPES", "Needs", "Recipe", "RecipeField", "Scene", "Scored", "Unit", "require_hu", "usual_recipe"]

Needs = Literal["nothing", "restoration", "opacity"]
Unit = Literal["HU", "probability"]
HEALTHY = 0.005  # share of healthy lung that a default threshold flags at most
KINDS = {"restoration": "one that restores scans", "opacity": "one trained to find opacity"}


@dataclass(frozen=True, eq=False)
class Scene:
    """What a recipe looks at.

    Attributes
    ----------
    scan : canonical, (C, D, H, W), in HU for CT
    lungs : labels (1, D, H, W) uint8 on the scan's grid: 1 left, 2 right, any other value above 0 counts as inside
    model : None where the recipe needs none
    running : device, precision, threads, batch, overlap
    smooth : radius in voxels of the median that a score on the scan's own grid goes through; 0 for none
    coarse : is given a first score, (1, D, H, W) on the scan's grid, as soon as there is one
    """

    scan: Volume
    lungs: Volume
    model: LoadedModel | None = None
    running: RestoreSettings = field(default_factory=RestoreSettings)
    smooth: int = 1
    coarse: Callable[[Volume], None] | None = None

    @property
    def card(self) -> ModelCard:
        """The model's card; raises ModelError where there is no model."""
        return self.loaded.card

    @property
    def loaded(self) -> LoadedModel:
        """The model; raises ModelError where there is none."""
        if self.model is None:
            raise ModelError(f"{self.scan.name}: expected a model for this map, got none")
        return self.model

    def told(self, score: Volume) -> None:
        """Hand out a first score."""
        if self.coarse is not None:
            self.coarse(score)


@dataclass(frozen=True, eq=False)
class Scored:
    """What a recipe found; all volumes lie on the scan's canonical grid, float32.

    Attributes
    ----------
    score : (1, D, H, W), higher is more anomalous, 0 outside the lungs; their rim is not cut
    restored, difference : (C, D, H, W) the scan as the model would have it, and scan minus restored, in its own unit
    probability : (1, D, H, W) of an opacity, also around the lungs
    device, precision : where and how it was computed
    """

    score: Volume
    restored: Volume | None = None
    difference: Volume | None = None
    probability: Volume | None = None
    device: str = "cpu"
    precision: str = "32"


class Recipe(Named):
    """A way from a scan to a score; its fields are its settings.

    A recipe of one's own is a subclass with :meth:`found`, registered by ``@RECIPES.register("name")``.
    """

    label: ClassVar[str] = ""
    needs: ClassVar[Needs] = "nothing"
    unit: ClassVar[Unit] = "HU"

    def check(self, scan: Volume, card: ModelCard | None) -> None:
        """Raise ModelError or DomainError, one sentence, unless recipe, model and scan go together."""
        if self.needs == "nothing":
            return
        wanted = KINDS[self.needs]
        if card is None:
            raise ModelError(f"recipe {self.name!r}: expected a model, {wanted}, got none")
        purpose = card.purpose
        if purpose != "opacity" and (self.needs == "opacity" or purpose != "restoration"):
            raise ModelError(
                f"recipe {self.name!r}: expected a model for it, {wanted}, got {card.title!r}, a {purpose} model"
            )
        check_model(scan, card)

    def score(self, scene: Scene, control: Control = keep_running) -> Generator[Event, None, Scored | None]:
        """Score a scan, yielding ``Started``, progress and warnings; return None when stopped, within a window.

        A scan of one value shows nothing: its score is 0, and said to be.

        Raises
        ------
        ModelError, DomainError, ConfigError
            One sentence on what does not go together.
        """
        self.check(scene.scan, None if scene.model is None else scene.model.card)
        if _constant(scene.scan):
            yield Started(what="anomaly", total=0, unit="window", detail={"scan": scene.scan.name})
            yield Warned(message=f"{scene.scan.name} has one value everywhere: there is nothing to map.")
            return Scored(_empty(scene.scan))
        return (yield from self.found(scene, control))

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Score a scan that shows something: what a recipe is."""
        raise NotImplementedError

    def rescored(self, scored: Scored, scene: Scene) -> Scored:
        """Return ``scored`` for the lungs of ``scene``, which were edited; nothing is restored anew.

        Where a recipe cannot say more, lung that was added has the score 0.
        """
        return replace(scored, score=scored.score.with_data(scored.score.data * (scene.lungs.data > 0)))

    def default_threshold(self, scene: Scene) -> float:
        """Return the threshold used when none is given, in the score's unit.

        The fixed one of the recipe, or a higher one where, by the model's calibration, that flags more than half a
        percent of healthy lung.
        """
        fixed, known = self.fixed_threshold(scene), self.calibration(scene)
        return fixed if known is None else max(fixed, known.threshold(HEALTHY))

    def calibration(self, scene: Scene) -> Calibration | None:
        """Return the calibration of the scene's model for this recipe as it is set, or None."""
        from genesis3d.anomaly.calibration import calibration_of

        found = None if scene.model is None else calibration_of(scene.model.card, self.name)
        own = self.to_dict()
        return found if found and all(own.get(key) == value for key, value in found.settings.items()) else None

    def fixed_threshold(self, scene: Scene) -> float:
        """Return the threshold of a model without a calibration, in the score's unit."""
        raise NotImplementedError


RECIPES: Registry[Recipe] = Registry(
    "recipe",
    [f"genesis3d.anomaly.{name}" for name in ("hu", "difference", "sweep", "iterative", "opacity", "ensemble")],
)


def _parsed(value: Any) -> Any:
    return None if value is None or value == "" else RECIPES.parse(value)


# A field that holds a recipe, or None for the usual one of the model.
RecipeField = Annotated[
    Recipe | None,
    BeforeValidator(_parsed),
    PlainSerializer(lambda recipe: None if recipe is None else recipe.to_dict(), return_type=dict[str, Any] | None),
]


def usual_recipe(card: ModelCard | None) -> Recipe:
    """Return the recipe used when none is named: by the model's purpose, and without a model the scan's HU."""
    name = "hu" if card is None else "opacity" if card.purpose == "opacity" else "difference"
    return RECIPES.parse(name)


def require_hu(scan: Volume, recipe: str) -> None:
    """Raise DomainError unless ``scan`` is in HU."""
    if scan.unit != "HU":
        kind = scan.modality or "a scan of unknown modality"
        raise DomainError(f"{scan.name}: expected a CT in HU for the recipe {recipe!r}, got {kind} without HU")


def _constant(scan: Volume) -> bool:
    first = scan.data.flat[0]
    return not any(bool((plane != first).any()) for channel in scan.data for plane in channel)


def _empty(scan: Volume) -> Volume:
    data = np.zeros((1, *scan.geometry.shape), np.float32)
    return scan.with_data(data, name=f"{scan.name} score", notes=())
