"""What the user looks at: the voxel in the middle of the view, and the box of voxels that the canvas shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_genesis.layers import patient_point

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry

__all__ = ["looked_at", "seen_box"]

Triple = tuple[int, int, int]


def looked_at(viewer: ViewerModel, layer: Layer, geometry: Geometry) -> tuple[Triple, int]:
    """Return the voxel of ``geometry``, the canonical grid of ``layer``, in the middle of the view, or the nearest.

    With it comes the axis (0 to 2) of the grid along which it is seen; 0 in 3D.
    """
    centre = _centre(viewer)
    index = _index(viewer, layer, geometry, centre)
    d, h, w = (int(v) for v in np.clip(np.round(index), 0, np.subtract(geometry.shape, 1)))
    hidden = [axis - (viewer.dims.ndim - 3) for axis in viewer.dims.not_displayed]
    if len(hidden) == 0 or hidden[-1] < 0:
        return (d, h, w), 0
    deeper = centre + 10.0 * np.eye(3)[hidden[-1]]
    along = np.abs(_index(viewer, layer, geometry, deeper) - index) * geometry.spacing
    return (d, h, w), int(along.argmax())


def seen_box(
    viewer: ViewerModel, layer: Layer, geometry: Geometry, now: tuple[Triple, Triple]
) -> tuple[Triple, Triple]:
    """Return first voxel and size of what the 2D view shows; along its depth, and in 3D, the box as it is ``now``."""
    shown = [axis - (viewer.dims.ndim - 3) for axis in viewer.dims.displayed]
    if len(shown) != 2 or min(shown) < 0:
        return now
    half = np.zeros(3)
    half[shown] = np.asarray(viewer.canvas.size, dtype=float) / (2 * viewer.scene.camera.zoom)
    centre = _centre(viewer)
    ends = np.sort([_index(viewer, layer, geometry, centre + sign * half) for sign in (-1, 1)], axis=0)
    start, size = np.array(now[0]), np.array(now[1])
    for axis in range(3):
        if ends[1, axis] - ends[0, axis] < 1:  # the depth
            continue
        last = geometry.shape[axis] - 1
        first, end = (int(np.clip(round(float(value)), 0, last)) for value in ends[:, axis])
        start[axis], size[axis] = first, end - first + 1
    return (int(start[0]), int(start[1]), int(start[2])), (int(size[0]), int(size[1]), int(size[2]))


def _centre(viewer: ViewerModel) -> NDArray[np.float64]:
    """The world point in the middle of the canvas, on the slice shown."""
    dims = viewer.dims
    point = np.asarray(dims.point, dtype=float)
    camera = np.asarray(viewer.scene.camera.center, dtype=float)
    displayed = list(dims.displayed)
    point[displayed] = camera[-len(displayed) :]
    return point[-3:]


def _index(viewer: ViewerModel, layer: Layer, geometry: Geometry, point: NDArray[np.float64]) -> NDArray[np.float64]:
    return geometry.to_index(patient_point(layer, point))
