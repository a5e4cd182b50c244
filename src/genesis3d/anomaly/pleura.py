"""How deep below the surface of the lungs a place lies, on blocks of about 2 mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Box = tuple[slice, slice, slice]
    Triple = tuple[int, int, int]

__all__ = ["FAR", "GRID", "Pleura", "depth_of_blocks"]

GRID = 2.0  # mm of the blocks
FAR = 1000.0  # mm: depth where nothing lies outside the lungs


@dataclass(frozen=True, eq=False)
class Pleura:
    """Depths below the surface of both lungs together, which is pleura but for the hilum and the slices at the ends.

    Attributes
    ----------
    box : the part of the grid that holds the lungs
    factor : voxels per block along each axis
    depth : (d, h, w) float32 mm, one value a block
    """

    box: Box
    factor: Triple
    depth: NDArray[np.float32]

    @classmethod
    def of(cls, lungs: Volume) -> Self:
        """Return the depths of the voxels of ``lungs`` (1, D, H, W), inside where above 0."""
        from genesis3d.io.itk_filters.coarse import factors
        from genesis3d.io.itk_filters.morphology import bounds

        inside = lungs.data[0] > 0
        spacing = lungs.geometry.spacing
        factor = factors(spacing, GRID)
        box = bounds(inside, tuple(2 * f for f in factor)) if inside.any() else (slice(0, 1),) * 3
        return cls(box, factor, depth_of_blocks(inside[box], spacing, factor))

    def at(self, index: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
        """Return the depth in mm, to about a millimetre, at array indices (d, h, w) inside the lungs."""
        block = ((axis - part.start) // factor for axis, part, factor in zip(index, self.box, self.factor, strict=True))
        found: NDArray[np.float32] = self.depth[tuple(block)]
        return found


def depth_of_blocks(
    inside: NDArray[np.bool_], spacing: tuple[float, float, float], factor: Triple
) -> NDArray[np.float32]:
    """Return the mm from blocks of ``factor`` voxels of the lungs (D, H, W) to the lungs' surface, 0 outside them.

    Where the lungs leave the array nothing is known to lie outside; where all is lung the depth is 1000 mm.
    """
    from genesis3d.io.itk_filters.coarse import coarsen
    from genesis3d.io.itk_filters.morphology import distance_to

    lung = coarsen(inside, factor, 0.0, 1.0) >= 0.5
    d, h, w = (s * f for s, f in zip(spacing, factor, strict=True))
    if lung.all() or not lung.any():
        return np.where(lung, np.float32(FAR), np.float32(0))
    surface = np.float32(min(d, h, w) / 2)  # it runs between the centres of two blocks
    return np.asarray(np.maximum(distance_to(~lung, (d, h, w)) - surface, 0))
