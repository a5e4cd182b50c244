"""Suspicious first: what is denser than aerated lung is hidden, and uncovered again where its context explains it.

The mask shrinks from round to round, after IterMask2 (Liang et al., MICCAI 2024): begin with all that may be ill,
restore it from the rest, keep hidden only what differs from what was restored there.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Scene, Scored
from genesis3d.anomaly.difference import Restoring
from genesis3d.anomaly.hiding import Fill, fill_of, filling
from genesis3d.anomaly.looking import begun, bench, brought_back
from genesis3d.anomaly.restoring import in_unit, windows_of
from genesis3d.anomaly.sweep import inside_of
from genesis3d.io.itk_filters.morphology import dilated

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.anomaly.restoring import Ready
    from genesis3d.events import Control, Event

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]

__all__ = ["Iterative"]

NORMAL = 1.4826  # standard deviations of a normal distribution per median absolute deviation


@RECIPES.register("iterative")
class Iterative(Restoring):
    """Dense lung is hidden first and restored from aerated lung; what its context explains is uncovered again."""

    label: ClassVar[str] = "Suspicious first"

    level: float = Field(-750.0, ge=-1000, le=0, description="HU above which lung is hidden at first, in CT")
    spreads: float = Field(
        1.0, ge=0, le=5, description="without HU: hidden at first is what is this many spreads above the lungs' median"
    )
    grow_mm: float = Field(4.0, ge=0, le=20, description="margin hidden around it, in mm")
    rounds: int = Field(4, ge=1, le=10, description="rounds of hiding and restoring")
    keep_z: float = Field(
        1.0, ge=0, le=10, description="hidden stays what differs from restored by this many spreads of visible lung"
    )
    fill: Fill = Field(
        "auto", description="what hides at first: noise, the level of lung, or auto: noise for a model that knows it"
    )

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Hide, restore and uncover; the first round gives the coarse map."""
        ready = bench(scene)
        unit, inside = in_unit(ready.scale, ready.volume.data), inside_of(scene, ready)
        filled = np.array(filling(fill_of(scene.card, self.fill), unit, inside, ready.volume.geometry))
        windows = len(ready.plan.starts)
        yield from begun(ready, windows * self.rounds)
        hidden, difference = self._suspicious(ready, unit, inside), np.zeros_like(unit)
        box = (slice(None), *ready.plan.slices)
        for number in range(self.rounds):
            given = np.where(hidden, filled, unit)
            done, total = windows * number, windows * self.rounds
            swept = yield from windows_of(ready, given, control, unit=True, done=done, total=total)
            if swept is None:
                return None
            restored = swept.values[: len(unit)]
            np.subtract(unit[box], restored, out=difference[box], where=swept.covered)
            np.copyto(filled[box], restored, where=swept.covered)
            hidden &= self._odd(difference, hidden, inside)
            if number == 0 and self.rounds > 1:
                seen = brought_back(scene, ready, difference * np.float32(ready.scale.width))
                scene.told(self._score(seen.difference, scene))
        difference *= np.float32(ready.scale.width)
        return self.scored(brought_back(scene, ready, difference), scene)

    def _suspicious(self, ready: Ready, unit: Array, inside: Mask) -> Mask:
        """Return what is hidden at first (D, H, W): dense lung with a margin, all lung at most."""
        values = unit.max(axis=0)
        if ready.volume.unit == "HU":
            level = float(ready.scale.to_unit(np.array(self.level)))
        else:
            middle, spread = _spread(values[inside])
            level = middle + self.spreads * spread
        dense = inside & (values > level)
        return dilated(dense, ready.volume.geometry.spacing, self.grow_mm) & inside if self.grow_mm else dense

    def _odd(self, difference: Array, hidden: Mask, inside: Mask) -> Mask:
        """Return where the difference is large against that of the lung that is seen."""
        values = np.abs(difference).max(axis=0) if self.sides == "signed" else difference.max(axis=0)
        visible = inside & ~hidden
        middle, spread = _spread(values[visible if visible.any() else inside])
        return np.asarray((values - middle) / max(spread, 1e-4) >= self.keep_z)


def _spread(values: NDArray[np.float32]) -> tuple[float, float]:
    """Return the median and the spread (a standard deviation, where normal) of ``values``; 0 and 0 of none."""
    if not values.size:
        return 0.0, 0.0
    middle = float(np.median(values))
    return middle, NORMAL * float(np.median(np.abs(values - np.float32(middle))))
