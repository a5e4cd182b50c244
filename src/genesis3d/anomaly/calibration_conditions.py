"""What a healthy score depends on: restored level, its gradient, depth below the pleura, and slice thickness.

The first three are measured on blocks of about 2 mm, so that scans of different pixel size are told apart by their
anatomy rather than by their noise, and so that a map of a large scan costs little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from genesis3d.anomaly.pleura import GRID, depth_of_blocks
from genesis3d.config import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.anomaly.base import Scene, Scored
    from genesis3d.volume import Volume

    Box = tuple[slice, slice, slice]
    Triple = tuple[int, int, int]

__all__ = ["Bins", "Conditions", "conditions", "thickness"]


class Bins(Config):
    """The borders of the bins, each list increasing; n borders make n + 1 bins, open at both ends."""

    level: tuple[float, ...] = Field((), description="restored level, in HU for CT")
    gradient: tuple[float, ...] = Field((), description="local gradient of it per mm")
    depth: tuple[float, ...] = Field((2.5, 5.0, 10.0, 20.0), description="distance to the pleura in mm")
    thickness: tuple[float, ...] = Field((), description="slice thickness in mm")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of bins of level, gradient, depth and thickness."""
        return len(self.level) + 1, len(self.gradient) + 1, len(self.depth) + 1, len(self.thickness) + 1

    def axes(self, level: Any, gradient: Any, depth: Any, thickness: Any) -> tuple[NDArray[np.int64], ...]:
        """Return each value's bin along the four axes; a value on a border belongs above it."""
        values = zip((self.level, self.gradient, self.depth, self.thickness), (level, gradient, depth, thickness),
                     strict=True)  # fmt: skip
        return tuple(np.searchsorted(np.asarray(borders), value, side="right") for borders, value in values)

    def index(self, level: Any, gradient: Any, depth: Any, thickness: Any) -> NDArray[np.int32]:
        """Return each value's bin as one number, thickness running fastest; arguments broadcast."""
        found = np.broadcast_arrays(*self.axes(level, gradient, depth, thickness))
        return np.ravel_multi_index(found, self.shape).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Conditions:
    """The conditions of one scan.

    Attributes
    ----------
    box : the part of the scan's canonical grid that holds the lungs
    factor : voxels of the scan per block along each axis
    level, gradient, depth : (d, h, w) float32, one value a block: scan's unit, unit per mm, mm
    thickness : mm
    """

    box: Box
    factor: Triple
    level: NDArray[np.float32]
    gradient: NDArray[np.float32]
    depth: NDArray[np.float32]
    thickness: float

    def fine(self, blocks: NDArray[Any], shape: Triple) -> NDArray[Any]:
        """Return one value a block (d, h, w) as one value a voxel of :attr:`box`; ``shape`` is that of the scan."""
        for axis, (factor, part, n) in enumerate(zip(self.factor, self.box, shape, strict=True)):
            if factor > 1:
                blocks = np.repeat(blocks, factor, axis=axis)
            blocks = blocks[(slice(None),) * axis + (slice(0, min(part.stop, n) - part.start),)]
        return blocks


def thickness(volume: Volume) -> float:
    """Return the slice thickness in mm: the largest of the three spacings."""
    return float(max(volume.geometry.spacing))


def conditions(scene: Scene, scored: Scored) -> Conditions:
    """Return what the healthy score is expected to depend on, block by block of the lungs' box.

    The level is that of the restored scan; a recipe without one has the scan's own after a 3x3x3 median of the blocks
    (3x3 where slices are more than 4 mm apart).
    """
    from genesis3d.io.itk_filters.coarse import coarsen, factors
    from genesis3d.io.itk_filters.median import median
    from genesis3d.io.itk_filters.morphology import bounds

    inside = scene.lungs.data[0] > 0
    factor = factors(scene.scan.geometry.spacing, GRID)
    box = bounds(inside, tuple(2 * f for f in factor)) if inside.any() else (slice(0, 1),) * 3
    source = scene.scan if scored.restored is None else scored.restored
    level = coarsen(source.data[0][box], factor, *_limits(source))
    spacing = tuple(s * f for s, f in zip(scene.scan.geometry.spacing, factor, strict=True))
    if scored.restored is None:
        level = median(level, (1 if spacing[0] <= 4 else 0, 1, 1))
    return Conditions(
        box=box,
        factor=factor,
        level=level,
        gradient=_gradient(level, spacing),
        depth=depth_of_blocks(inside[box], scene.scan.geometry.spacing, factor),
        thickness=thickness(scene.scan),
    )


def _limits(volume: Volume) -> tuple[float, float]:
    if volume.unit == "HU":
        return -1024.0, 1000.0
    finite = volume.data[np.isfinite(volume.data)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _gradient(level: NDArray[np.float32], spacing: Sequence[float]) -> NDArray[np.float32]:
    squared = np.zeros(level.shape, np.float32)
    for axis, step in enumerate(spacing):
        if level.shape[axis] > 1:
            squared += np.gradient(level, step, axis=axis) ** 2
    return np.sqrt(squared)
