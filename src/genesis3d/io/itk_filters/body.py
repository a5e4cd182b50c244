"""The patient in a scan: the box around the body, which is worth storing, and a mask of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import DomainError
from genesis3d.io.itk_filters.coarse import coarsen, factors, refine
from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import bounds, closed, fill_slices, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Triple = tuple[int, int, int]

__all__ = ["BODY", "body_box", "body_mask"]

BODY = 3  # label of the body: inside, and neither lung
GRID = 3.0  # mm of the grid the body is found on
TISSUE = -500.0  # HU
TABLE = 4.0  # mm radius: what is thinner, such as a table top or a blanket, is no body
GAPS = 4.0  # mm radius of the closing of a body's mask
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


def body_mask(volume: Volume) -> Volume:
    """Return the body as labels (1, D, H, W) uint8, :data:`BODY` inside, on the scan's canonical grid.

    What :func:`body_box` looks for, gaps narrower than :data:`GAPS` closed and the holes of each slice filled.

    Raises
    ------
    DomainError
        When nothing is found.
    """
    volume = volume.canonical()
    factor = factors(volume.geometry.spacing, GRID)
    d, h, w = (s * f for s, f in zip(volume.geometry.spacing, factor, strict=True))
    found = fill_slices(closed(_body(volume, factor, 1.0), (d, h, w), GAPS))
    if not found.any():
        raise DomainError(f"{volume.name}: expected a patient in the scan, found nothing but background")
    labels = refine(found.astype(np.uint8) * np.uint8(BODY), factor, volume.geometry.shape)
    return volume.with_data(labels, modality=None, unit=None, name=f"{volume.name} body", notes=())


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
