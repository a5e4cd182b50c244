"""From the grid a network works on back to the scan's own: both have the same axes, so each axis goes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.inference.canvas import Canvas

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.inference.windows import Slices, Triple
    from genesis3d.volume import Geometry

__all__ = ["FarCanvas", "Regrid"]


class Regrid:
    """The way from ``work`` to ``scan``, two grids of the same directions.

    Attributes
    ----------
    places : for each axis, where on ``work`` (fractional voxels, inside it) each voxel of ``scan`` lies
    """

    def __init__(self, scan: Geometry, work: Geometry) -> None:
        self.shape = scan.shape
        self.places = []
        for axis, (n, m) in enumerate(zip(scan.shape, work.shape, strict=True)):
            index = np.zeros((n, 3))
            index[:, axis] = np.arange(n)
            place = work.to_index(scan.to_world(index))[:, axis]
            self.places.append(np.clip(place, 0, m - 1))
        self._nearest = [np.rint(place).astype(np.int64) for place in self.places]

    def nearest(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return ``labels`` of the work grid on the scan's: those of the nearest voxel."""
        return np.asarray(labels[np.ix_(*self._nearest)])

    def linear(self, data: NDArray[Any], rows: slice) -> NDArray[np.float32]:
        """Return ``rows`` along D of the scan's grid of ``data`` (K, d, h, w), interpolated linearly, float32."""
        result: NDArray[Any] = data
        for axis, places in enumerate(self.places):
            wanted = places[rows] if axis == 0 else places
            below = np.minimum(wanted.astype(np.int64), max(0, data.shape[axis + 1] - 2))
            above = np.minimum(below + 1, data.shape[axis + 1] - 1)
            share = (wanted - below).astype(np.float32).reshape([-1 if a == axis + 1 else 1 for a in range(4)])
            low = np.take(result, below, axis + 1).astype(np.float32)
            high = np.take(result, above, axis + 1).astype(np.float32)
            result = low + share * (high - low)
        return np.asarray(result, dtype=np.float32)

    def voxel(self, index: Triple) -> Triple:
        """Return the voxel of the work grid nearest to voxel ``index`` of the scan, inside both."""
        d, h, w = (int(near[min(max(0, int(i)), len(near) - 1)]) for near, i in zip(self._nearest, index, strict=True))
        return d, h, w

    def box(self, box: Slices) -> tuple[Slices, tuple[NDArray[np.int64], ...]]:
        """Return the box of the scan whose nearest voxels lie in ``box`` of the work grid, and these as an index."""
        there, here = [], []
        for index, part in zip(self._nearest, box, strict=True):
            first, last = np.searchsorted(index, [part.start, part.stop])
            there.append(slice(int(first), int(last)))
            here.append(index[first:last] - part.start)
        return (there[0], there[1], there[2]), np.ix_(*here)


class FarCanvas(Canvas):
    """A canvas on the scan's grid that is painted from the work grid."""

    def __init__(self, canvas: Canvas, regrid: Regrid) -> None:
        super().__init__(canvas.labels)
        self._canvas, self._regrid = canvas, regrid

    def paint(self, box: Slices, values: NDArray[np.uint16]) -> None:
        """Set ``values`` (d, h, w), which lie in ``box`` of the work grid, where they are nearest."""
        there, here = self._regrid.box(box)
        if all(part.stop > part.start for part in there):
            self._canvas.paint(there, values[here])
