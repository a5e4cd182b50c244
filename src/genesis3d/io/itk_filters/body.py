"""The box around the patient: what is worth storing of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.io.itk_filters.coarse import coarsen, factors
from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import bounds, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Triple = tuple[int, int, int]

__all__ = ["body_box"]

GRID = 3.0  # mm of the grid the body is found on
TISSUE = -500.0  # HU
TABLE = 4.0  # mm radius: what is thinner, such as a table top or a blanket, is no body
FOREGROUND = 0.1  # share of a scan's range of values from which on a voxel is no background


def body_box(volume: Volume, margin: float = 10.0, share: float = 1.0) -> tuple[Triple, Triple]:
    """Return first voxel and shape (D, H, W) of the box around the body, widened by ``margin`` mm inside the scan.

    CT in HU: the largest connected part above -500 HU.  Anything else: the largest connected part above a tenth of
    the range from the 0.5th to the 99.5th percentile.  With a ``share`` below 1, parts of at least this share of the
    largest count too, such as a second leg.  Channels beyond the first are not looked at.  A scan in which
    nothing is found keeps its whole grid.
    """
    geometry = volume.geometry
    factor = factors(geometry.spacing, GRID)
    body = _body(volume, factor, share)
    if not body.any():
        return (0, 0, 0), geometry.shape
    start, size = [0, 0, 0], list(geometry.shape)
    for axis, part in enumerate(bounds(body)):
        reach = int(np.ceil(margin / geometry.spacing[axis]))
        start[axis] = max(0, part.start * factor[axis] - reach)
        size[axis] = min(geometry.shape[axis], part.stop * factor[axis] + reach) - start[axis]
    return (start[0], start[1], start[2]), (size[0], size[1], size[2])


def _body(volume: Volume, factor: Triple, share: float) -> NDArray[np.bool_]:
    data = volume.data[0]
    d, h, w = (s * f for s, f in zip(volume.geometry.spacing, factor, strict=True))
    if volume.unit == "HU":
        tissue = coarsen(data, factor, -1024.0, 1000.0) > TISSUE
        body = opened(tissue, (d, h, w), TABLE)
    else:
        values = data.reshape(-1)[:: max(1, data.size // 2_000_000)]
        values = values[np.isfinite(values)]
        low, high = (float(v) for v in np.percentile(values, (0.5, 99.5))) if values.size else (0.0, 0.0)
        body = coarsen(data, factor, low, high) > low + FOREGROUND * (high - low)
    parts, sizes = components(body)
    kept = 1 if share >= 1 else sum(size >= share * sizes[0] for size in sizes)
    return np.asarray((parts >= 1) & (parts <= kept))
