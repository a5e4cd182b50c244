"""Between a scan's own grid and the one that a network works on: which slice is which, predictions brought back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from genesis3d.volume import Geometry

__all__ = ["Slab", "WorkingGrid"]

Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Slab:
    """``labels`` (d, h, w), class values, of the canonical scan from voxel ``start`` on, as of ``step``."""

    labels: np.ndarray
    start: Triple
    step: int


class WorkingGrid:
    """The grid of ``spacing`` (mm) over the canonical scan of ``geometry``; None: the scan's own."""

    def __init__(self, geometry: Geometry, spacing: tuple[float, float, float] | None) -> None:
        from genesis3d.io.itk_filters.resample import grid_of_spacing

        other = geometry if spacing is None else grid_of_spacing(geometry, spacing)
        self.shape = geometry.shape
        self._ratio = np.divide(geometry.spacing, other.spacing)
        self._first = other.to_index(geometry.origin)
        self._sizes = other.shape

    def there(self, axis: int, index: int) -> int:
        """Return the slice of the working grid that shows slice ``index`` across ``axis`` of the scan."""
        return int(self._places(axis)[index])

    def back(self, slab: Slab) -> Slab | None:
        """Return ``slab`` of the working grid on the scan's own, nearest voxel; None when it is of another scan."""
        stop = np.add(slab.start, slab.labels.shape)
        if min(slab.start) < 0 or (stop > self._sizes).any():
            return None
        labels, start = slab.labels, []
        for axis in range(3):
            places = self._places(axis)
            inside = np.flatnonzero((places >= slab.start[axis]) & (places < stop[axis]))
            if not inside.size:
                return None
            start.append(int(inside[0]))
            labels = labels.take(places[inside] - slab.start[axis], axis=axis)
        return Slab(labels, (start[0], start[1], start[2]), slab.step)

    def _places(self, axis: int) -> np.ndarray:
        """The slice of the working grid for each of the scan across ``axis``."""
        places = np.round(self._first[axis] + np.arange(self.shape[axis]) * self._ratio[axis])
        return places.clip(0, self._sizes[axis] - 1).astype(int)
