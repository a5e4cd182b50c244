"""Opacity as a network sees it that was trained to find it: the probability of its second head.

The model restores lungs into which opacities were put, and says where they were (docs/anomaly.md).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Needs, Recipe, Scene, Scored, Unit
from genesis3d.anomaly.difference import SHARE
from genesis3d.anomaly.finishing import masked
from genesis3d.anomaly.looking import Seen, look
from genesis3d.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.events import Control, Event
    from genesis3d.volume import Volume

__all__ = ["Opacity"]

HALF = 150.0  # HU of difference that count as one half


@RECIPES.register("opacity")
class Opacity(Recipe):
    """The opacity's probability, after a 3x3x1 median on the model's own grid."""

    label: ClassVar[str] = "Opacity"
    needs: ClassVar[Needs] = "opacity"
    unit: ClassVar[Unit] = "probability"

    value: Literal["probability", "difference", "mean"] = Field(
        "probability",
        description="probability: of the opacity head; difference: d / (d + 150 HU) of scan minus restored; "
        "mean: of both",
    )
    phases: int = Field(
        3, ge=1, le=6, description="most passes over thin slices, averaged to the model's own; the first gives a map"
    )

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Run the model around the lungs, thin slices at several phases."""

        def first(seen: Seen) -> None:
            scene.told(self._score(seen.difference, seen.probability, seen.width, scene))

        seen = yield from look(scene, control, self.phases, True, first)
        if seen is None:
            return None
        if seen.probability is None:
            raise ModelError(f"model {scene.card.title!r}: expected an output for opacity, got a restored scan alone")
        score = self._score(seen.difference, seen.probability, seen.width, scene)
        difference = seen.volume(seen.difference, "difference")
        probability = seen.volume(seen.probability, "probability")
        return Scored(score, seen.restored, difference, probability, seen.device, seen.precision)

    def rescored(self, scored: Scored, scene: Scene) -> Scored:
        """Return the score from probability and difference as they are, also where lung was added."""
        if scored.difference is None or scored.probability is None:
            return super().rescored(scored, scene)
        width = scene.card.intensity.fit(scene.scan).width
        score = self._score(scored.difference.data, scored.probability.data, width, scene)
        return replace(scored, score=score)

    def fixed_threshold(self, scene: Scene) -> float:
        """Return one half."""
        return 0.5

    def _score(
        self, difference: NDArray[np.float32], probability: NDArray[np.float32] | None, width: float, scene: Scene
    ) -> Volume:
        half = HALF if scene.scan.unit == "HU" else SHARE * width
        if self.value == "probability" and probability is not None:
            return masked(probability, scene.scan, scene.lungs)
        above = np.maximum(difference.max(axis=0, keepdims=True), 0)
        share = above / (above + np.float32(half))
        if self.value == "mean" and probability is not None:
            share = (share + probability) / np.float32(2)
        return masked(share, scene.scan, scene.lungs)
