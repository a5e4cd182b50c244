"""The paper's map: what of the scan the restored one does not have (Models Genesis, section 5.6)."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Needs, Recipe, Scene, Scored
from genesis3d.anomaly.finishing import finished
from genesis3d.anomaly.looking import Seen, look

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.events import Control, Event
    from genesis3d.volume import Volume

__all__ = ["SHARE", "Difference", "Restoring"]

SHARE = 0.075  # of the model's intensity range: 150 HU for [-1000, 1000]


class Restoring(Recipe):
    """What recipes share whose score is scan minus restored, in the scan's unit."""

    needs: ClassVar[Needs] = "restoration"

    sides: Literal["one-sided", "signed"] = Field(
        "one-sided",
        description="one-sided: only what is brighter than restored, as opacity is; signed: darker counts as well",
    )

    def rescored(self, scored: Scored, scene: Scene) -> Scored:
        """Return the score from the difference as it is, also where lung was added and a window was."""
        if scored.difference is None:
            return super().rescored(scored, scene)
        return replace(scored, score=self._score(scored.difference.data, scene))

    def fixed_threshold(self, scene: Scene) -> float:
        """Return 7.5 % of the model's range: 150 HU for [-1000, 1000]."""
        return SHARE * scene.card.intensity.fit(scene.scan).width

    def scored(self, seen: Seen, scene: Scene) -> Scored:
        """Return what ``seen`` amounts to."""
        score = self._score(seen.difference, scene)
        difference = seen.volume(seen.difference, "difference")
        return Scored(score, seen.restored, difference, None, seen.device, seen.precision)

    def _score(self, difference: NDArray[Any], scene: Scene) -> Volume:
        values = np.abs(difference) if self.sides == "signed" else difference
        smooth = scene.smooth if scene.card.working_spacing is None else 0  # there it was done already
        return finished(values, scene.scan, scene.lungs, smooth)


@RECIPES.register("difference")
class Difference(Restoring):
    """Scan minus restored, after a median: one pass of any model that restores."""

    label: ClassVar[str] = "Difference"

    windows: Literal["spread", "anchored"] = Field(
        "spread",
        description="spread: evenly over the lungs; anchored: at fixed places in space, so that a crop of a scan gives "
        "the crop of its map (models with a working spacing are always anchored)",
    )
    phases: int = Field(
        3, ge=1, le=6, description="most passes over thin slices, for a model that works on thicker ones"
    )

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Restore the scan around the lungs and take the difference."""

        def first(seen: Seen) -> None:
            scene.told(self._score(seen.difference, scene))

        seen = yield from look(scene, control, self.phases, self.windows == "anchored", first)
        return None if seen is None else self.scored(seen, scene)
