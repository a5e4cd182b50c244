"""Masked sweep: every voxel restored from its context alone.

A network that sees an opacity copies it.  Complementary masks of blocks hide each voxel once, at several sizes, and
what is restored there is compared with the scan.  An opacity larger than a block is still seen around it: such a sweep
finds what is patchy, not a lobe (docs/anomaly.md).  The idea of restoring from the visible rest alone is that of
context encoders (Pathak et al., CVPR 2016).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator

from genesis3d.anomaly.base import RECIPES, Scene, Scored
from genesis3d.anomaly.difference import Restoring
from genesis3d.anomaly.hiding import Fill, block_masks, fill_of, filling
from genesis3d.anomaly.looking import begun, bench, brought_back
from genesis3d.anomaly.restoring import in_unit, windows_of
from genesis3d.anomaly.working import working_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.anomaly.restoring import Ready
    from genesis3d.events import Control, Event

    Array = NDArray[np.float32]

__all__ = ["Sweep", "inside_of"]

MASKS = 8  # of one block size


@RECIPES.register("sweep")
class Sweep(Restoring):
    """Every voxel restored from its context alone, behind blocks of several sizes: 8 passes for each size."""

    label: ClassVar[str] = "Masked sweep"

    blocks_mm: tuple[float, ...] = Field((16.0, 32.0), description="sides of the blocks that hide, in mm")
    over_sizes: Literal["mean", "max"] = Field(
        "mean", description="mean of the sizes' differences, or the largest: more is found, and more in vain"
    )
    fill: Fill = Field(
        "auto",
        description="what hides: noise, the level of lung, or auto: noise for a model trained to see through it",
    )

    @field_validator("blocks_mm")
    @classmethod
    def _sizes(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or not all(2 <= size <= 200 for size in value):
            raise ValueError("expected at least one size, each from 2 to 200 mm")
        return value

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Hide, restore and compare, block size by block size; the first size gives the coarse map."""
        ready = bench(scene)
        unit = in_unit(ready.scale, ready.volume.data)
        hidden = filling(fill_of(scene.card, self.fill), unit, inside_of(scene, ready), ready.volume.geometry)
        windows = len(ready.plan.starts)
        total = windows * MASKS * len(self.blocks_mm)
        yield from begun(ready, total)
        combined = np.zeros_like(unit)
        for number, size in enumerate(self.blocks_mm):
            difference = yield from self._one(ready, unit, hidden, size, windows * MASKS * number, total, control)
            if difference is None:
                return None
            self._take(combined, difference, number)
            if number == 0 and len(self.blocks_mm) > 1:
                seen = brought_back(scene, ready, combined * np.float32(ready.scale.width))
                scene.told(self._score(seen.difference, scene))
        combined *= np.float32(ready.scale.width)
        return self.scored(brought_back(scene, ready, combined), scene)

    def _one(
        self, ready: Ready, unit: Array, hidden: Array, size: float, done: int, total: int, control: Control
    ) -> Generator[Event, None, Array | None]:
        """Return scan minus restored in [0, 1] behind blocks of one size, 0 where no window was."""
        difference = np.zeros_like(unit)
        box = (slice(None), *ready.plan.slices)
        for mask in block_masks(ready.volume.geometry, size):
            covered = np.where(mask, hidden, unit)
            swept = yield from windows_of(ready, covered, control, unit=True, done=done, total=total)
            if swept is None:
                return None
            done += len(ready.plan.starts)
            seen = mask[ready.plan.slices] & swept.covered
            np.subtract(unit[box], swept.values[: len(unit)], out=difference[box], where=seen)
        return difference

    def _take(self, combined: Array, difference: Array, number: int) -> None:
        """Take one size's difference into the mean, or the largest, of those before."""
        if number == 0:
            combined[:] = difference
        elif self.over_sizes == "max":
            np.maximum(combined, difference, out=combined)
        else:
            combined += (difference - combined) / np.float32(number + 1)


def inside_of(scene: Scene, ready: Ready) -> NDArray[np.bool_]:
    """Return the lungs on the grid of ``ready``."""
    spacing = scene.card.working_spacing
    return scene.lungs.data[0] > 0 if spacing is None else working_mask(scene.lungs, spacing)
