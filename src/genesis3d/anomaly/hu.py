"""The familiar baseline: how dense the lung is, without vessels and noise.  No network."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Needs, Recipe, Scene, Scored, require_hu
from genesis3d.anomaly.finishing import THICK, masked
from genesis3d.anomaly.working import from_working, to_working, working_mask
from genesis3d.events import Control, Event, Started, Stepped
from genesis3d.inference.waiting import told_to_stop
from genesis3d.io.itk_filters.grey import grey_opened
from genesis3d.io.itk_filters.median import median
from genesis3d.io.itk_filters.morphology import bounds, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import ModelCard
    from genesis3d.volume import Volume

    Vector = tuple[float, float, float]

__all__ = ["Hounsfield"]

FINEST = 2.0  # mm of the grid it is computed on; coarser voxels are taken as they are
RANGE = (-1024.0, 1000.0)


@RECIPES.register("hu")
class Hounsfield(Recipe):
    """HU above the level of aerated lung, after a 5x5x3 median and an opening that takes vessels out."""

    label: ClassVar[str] = "Density (HU)"
    needs: ClassVar[Needs] = "nothing"

    level: float = Field(-700.0, ge=-1000, le=0, description="HU of aerated lung: what is denser scores above 0")
    median: bool = Field(True, description="median of 5x5x3 voxels of about 2 mm (5x5x1 where slices are thick)")
    vessel_mm: float = Field(
        2.5, ge=0, le=10, description="structures thinner than twice this, in mm, are taken out; 0: none"
    )
    tube_mm: float = Field(
        6.0, ge=0, le=20, description="what is above 0 HU and thinner than twice this, in mm, is a vessel; 0: none"
    )

    def check(self, scan: Volume, card: ModelCard | None) -> None:
        """Raise DomainError unless the scan is in HU."""
        require_hu(scan, self.name)

    def found(self, scene: Scene, control: Control) -> Generator[Event, None, Scored | None]:
        """Smooth the scan around the lungs and take what is above the level."""
        yield Started(what="anomaly", total=1, unit="pass", detail={"scan": scene.scan.name})
        if told_to_stop(control):
            return None
        scored = Scored(self.baseline(scene))
        yield Stepped(step=1, total=1)
        return scored

    def rescored(self, scored: Scored, scene: Scene) -> Scored:
        """Return the score for other lungs, computed anew."""
        return Scored(self.baseline(scene))

    def baseline(self, scene: Scene) -> Volume:
        """Return the score (1, D, H, W) in HU above the level, 0 outside the lungs."""
        scan, inside = scene.scan, scene.lungs.data[0] > 0
        wanted = tuple(s if s > 0.75 * FINEST else FINEST for s in scan.geometry.spacing)
        work = to_working(scan, wanted, clip=RANGE)  # type: ignore[arg-type]  # three of them
        marked = working_mask(scene.lungs, work.geometry.spacing, share=1e-3)
        data = np.zeros(work.data.shape, np.float32)
        if marked.any():
            reach = tuple(int(12.0 / s) + 3 for s in work.geometry.spacing)
            near = bounds(marked, reach)
            data[0][near] = self._excess(work.data[0][near], work.geometry.spacing)
        found = from_working(work.with_data(data), scan, bounds(inside))
        return masked(np.rint(found), scan, scene.lungs, "HU")

    def fixed_threshold(self, scene: Scene) -> float:
        """Return 100 HU above the level: -600 HU, the density of faint ground glass."""
        return 100.0

    def _excess(self, hu: NDArray[np.float32], spacing: Vector) -> NDArray[np.float32]:
        smooth = hu
        if self.median:
            rows, columns = (2 if s <= 2.5 else 1 for s in spacing[1:])
            smooth = median(hu, (1 if spacing[0] <= THICK else 0, rows, columns))
        kept = grey_opened(smooth, spacing, self.vessel_mm) if self.vessel_mm else smooth
        if self.tube_mm:
            dense = smooth > 0
            kept = np.where(dense & ~opened(dense, spacing, self.tube_mm), np.float32(self.level), kept)
        return np.asarray(np.maximum(kept - np.float32(self.level), 0))
