"""Several recipes as one score: the mean of where each puts a voxel among others, not of their raw values.

With a calibration a voxel stands among those of healthy lungs, which compares across scans; without one, among those
of its own lungs, and then some are always on top.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PlainSerializer

from genesis3d.anomaly.base import RECIPES, Needs, Recipe, Scene, Scored, Unit, usual_recipe
from genesis3d.anomaly.finishing import masked
from genesis3d.events import Started, Stepped, Warned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.events import Control, Event
    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Volume

__all__ = ["Ensemble"]

PART = 100  # steps of progress for each recipe
SAMPLE = 1_000_000  # voxels that a rank is taken among, at most


def _parsed(value: Any) -> Any:
    return tuple(RECIPES.parse(item) for item in value) if isinstance(value, list | tuple) else value


Members = Annotated[
    tuple[Recipe, ...],
    BeforeValidator(_parsed),
    PlainSerializer(lambda members: [member.to_dict() for member in members], return_type=list),
]


@RECIPES.register("ensemble")
class Ensemble(Recipe):
    """The mean of several recipes' ranks: among healthy lung where the model is calibrated, else within the lungs."""

    label: ClassVar[str] = "Several together"
    needs: ClassVar[Needs] = "restoration"
    unit: ClassVar[Unit] = "probability"

    recipes: Members = Field(
        (), description="names, or names with settings; empty: the model's usual one, and hu for a CT"
    )
    average: Literal["auto", "healthy", "ranks"] = Field(
        "auto",
        description="healthy: share of healthy lung that scores less; ranks: share of the scan's own lungs; auto: "
        "healthy where the model is calibrated for every one",
    )

    def check(self, scan: Volume, card: ModelCard | None) -> None:
        """Raise ModelError or DomainError unless every recipe goes together with model and scan."""
        super().check(scan, card)
        for member in self.members(scan, card):
            member.check(scan, card)

    def members(self, scan: Volume, card: ModelCard | None) -> tuple[Recipe, ...]:
        """Return the recipes, the usual ones where none are named."""
        if self.recipes:
            return self.recipes
        usual = usual_recipe(card)
        names = ["hu"] if scan.unit == "HU" else ["difference"] if usual.name == "opacity" else []
        return usual, *(RECIPES.parse(name) for name in names)

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Run every recipe; what the first restored and how it was computed stand for all."""
        members = self.members(scene.scan, scene.card)
        yield from self._begun(scene, members)
        total: NDArray[np.float32] = np.zeros((1, *scene.scan.geometry.shape), np.float32)
        first: Scored | None = None
        for number, member in enumerate(members):
            scored = yield from self._one(member, scene, number, len(members), control)
            if scored is None:
                return None
            total += self._ranks(member, scored, scene)
            if first is None:
                first = scored
                scene.told(masked(total, scene.scan, scene.lungs))
        total /= np.float32(len(members))
        score = masked(total, scene.scan, scene.lungs)
        return Scored(score) if first is None else replace(first, score=score)

    def fixed_threshold(self, scene: Scene) -> float:
        """Return .995 among healthy lung and .95 within the scan's own, which then always has something above it."""
        members = self.members(scene.scan, scene.card)
        return 0.995 if self._healthy(members, scene) else 0.95

    def _begun(self, scene: Scene, members: tuple[Recipe, ...]) -> Generator[Event, None, None]:
        names = ", ".join(member.name for member in members)
        detail = {"scan": scene.scan.name, "model": scene.card.title, "recipes": names}
        yield Started(what="anomaly", total=PART * len(members), unit="step", detail=detail)
        if not self._healthy(members, scene):
            yield Warned(
                message=f"The scores of {names} are ranks within this scan's lungs, as the model is not calibrated for "
                "all of them: the highest are flagged in a healthy lung too."
            )

    def _one(
        self, member: Recipe, scene: Scene, number: int, count: int, control: Control
    ) -> Generator[Event, None, Scored | None]:
        """Run one recipe, its progress as a part of the whole."""
        work = member.score(replace(scene, coarse=None), control)
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]  # what a recipe returns
            if isinstance(event, Stepped):
                share = event.step / event.total if event.total else 1.0
                yield event.model_copy(update={"step": int(PART * (number + share)), "total": PART * count})
            elif not isinstance(event, Started):
                yield event

    def _healthy(self, members: tuple[Recipe, ...], scene: Scene) -> bool:
        if self.average != "auto":
            return self.average == "healthy"
        return all(member.calibration(scene) is not None for member in members)

    def _ranks(self, member: Recipe, scored: Scored, scene: Scene) -> NDArray[np.float32]:
        """Return where each voxel of a score stands, 0 to 1: (1, D, H, W), 0 outside the lungs."""
        inside = scene.lungs.data > 0
        values = scored.score.data[inside]
        known = member.calibration(scene) if self._healthy(self.members(scene.scan, scene.card), scene) else None
        if known is not None:
            ranks = 1 - known.score.share_at(values)
        else:
            ordered = np.sort(values[:: max(1, values.size // SAMPLE)])
            ranks = np.searchsorted(ordered, values, side="left") / max(1, ordered.size)
        result = np.zeros(inside.shape, np.float32)
        result[inside] = np.where(values > 0, ranks, 0)
        return result
