"""The connected regions of a mask with their figures: size, place, and means of other volumes inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError
from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["Region", "find_regions"]


@dataclass(frozen=True)
class Region:
    """One connected region.

    Attributes
    ----------
    label : its value in the label volume, 1 for the largest
    volume_ml : millilitres
    centroid : world (S, P, L) in mm
    centre : array index of the region's voxel nearest to the centroid
    means : mean of each measured volume inside it, by name
    peaks : largest value of each measured volume inside it, by name
    """

    label: int
    volume_ml: float
    centroid: tuple[float, float, float]
    centre: tuple[int, int, int]
    means: Mapping[str, float]
    peaks: Mapping[str, float]


def find_regions(mask: Volume, measured: Mapping[str, Volume], least_ml: float = 0.0) -> tuple[Volume, list[Region]]:
    """Return the connected regions (26 neighbours) of ``mask`` of at least ``least_ml``, largest first.

    Parameters
    ----------
    mask : (1, D, H, W), true or above 0 inside
    measured : volumes on the same grid whose mean and peak in each region are wanted, by name
    least_ml : smaller regions are left out

    Returns
    -------
    labels (1, D, H, W) int32 on the mask's grid, and one :class:`Region` per label.

    Raises
    ------
    GeometryError
        When a measured volume lies on another grid.
    """
    for name, volume in measured.items():
        if not volume.geometry.matches(mask.geometry):
            raise GeometryError(f"{name}: expected the grid of the mask, got {volume.geometry.describe()}")
    inside = mask.data[0] > 0
    labels = np.zeros(inside.shape, np.int32)
    found: list[Region] = []
    if inside.any():
        box = bounds(inside)
        voxel = float(np.prod(mask.geometry.spacing)) / 1000
        labels[box], sizes = components(inside[box], least=max(1, int(np.ceil(least_ml / voxel - 1e-9))))
        corner = np.array([part.start for part in box])
        index = np.nonzero(labels[box])
        of = labels[box][index]
        values = {name: volume.data[0][box][index] for name, volume in measured.items()}
        places = np.stack(index, axis=1) + corner
        found = _measure(mask, of, places, values, sizes, voxel)
    return mask.with_data(labels, name=f"{mask.name} regions"), found


def _measure(
    mask: Volume,
    of: NDArray[np.int32],
    places: NDArray[np.int64],
    values: Mapping[str, NDArray[Any]],
    sizes: list[int],
    voxel: float,
) -> list[Region]:
    order = np.argsort(of, kind="stable")
    ends = np.cumsum(sizes)
    found = []
    for number, (stop, count) in enumerate(zip(ends, sizes, strict=True), start=1):
        rows = order[stop - count : stop]
        where = places[rows]
        middle = where.mean(axis=0)
        nearest = where[int(np.argmin((((where - middle) * mask.geometry.spacing) ** 2).sum(axis=1)))]
        s, p, el = (float(v) for v in mask.geometry.to_world(middle))
        inner = {name: array[rows] for name, array in values.items()}
        found.append(
            Region(
                number,
                count * voxel,
                (s, p, el),
                (int(nearest[0]), int(nearest[1]), int(nearest[2])),
                {name: float(array.mean(dtype=np.float64)) for name, array in inner.items()},
                {name: float(array.max()) for name, array in inner.items()},
            )
        )
    return found
