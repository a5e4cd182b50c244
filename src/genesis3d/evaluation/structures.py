"""The structures of a segmentation as a table: volume, surface and intensity of each class and each connected part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["HEADER", "structure_rows"]

HEADER = ["value", "name", "component", "voxels", "volume_ml", "surface_cm2", "mean", "sd", "unit"]


def structure_rows(
    labels: Volume, scan: Volume | None, classes: Sequence[LabelClass], components: bool = False
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows, one a class but the background, and with ``components`` one for each of its parts.

    Parameters
    ----------
    labels : (1, D, H, W) class values; a value that no class names gets a row of its own
    scan : on the same grid; mean and standard deviation are those of its first channel; None: they stay empty
    classes : names of the values
    components : also the connected parts (26 neighbours) of each class, the largest first

    Returns
    -------
    :data:`HEADER`, and rows of plain values: ``component`` is 0 for a class as a whole and 1, 2, ... for its parts;
    mean and sd are in ``unit`` (HU, or empty for the scan's own values), None where there is no voxel with a value.

    Raises
    ------
    GeometryError
        When the scan lies on another grid.
    """
    labels = labels.canonical()
    scan = None if scan is None else scan.canonical()
    if scan is not None and not scan.geometry.matches(labels.geometry, tolerance_mm=0.05):
        raise GeometryError(
            f"{scan.name}: expected the grid of {labels.name} ({labels.geometry.describe()}), "
            f"got another one ({scan.geometry.describe()})"
        )
    names = {one.value: one.name for one in classes if one.value}
    values = [*names, *sorted(set(_present(labels.data[0])) - set(names) - {0})]
    rows: list[list[Any]] = []
    for value in values:
        rows.extend(_rows_of(value, names.get(value, f"label {value}"), labels, scan, components))
    return list(HEADER), rows


def _rows_of(value: int, name: str, labels: Volume, scan: Volume | None, components: bool) -> Iterator[list[Any]]:
    from genesis3d.io.itk_filters.components import components as connected
    from genesis3d.io.itk_filters.morphology import bounds

    mask = labels.data[0] == value
    if not mask.any():
        yield [value, name, 0, 0, 0.0, 0.0, None, None, (scan.unit or "") if scan else ""]
        return
    box = bounds(mask)
    mask, inner = mask[box], None if scan is None else scan.data[0][box]
    unit = (scan.unit or "") if scan else ""
    for part, figures in enumerate(_figures(mask.astype(np.uint8), inner, labels.geometry.spacing)):
        yield [value, name, part, *figures, unit]
    if components:
        found = _figures(connected(mask)[0], inner, labels.geometry.spacing)
        yield from ([value, name, part, *figures, unit] for part, figures in enumerate(found, start=1))


def _figures(
    parts: NDArray[Any], values: NDArray[Any] | None, spacing: tuple[float, float, float]
) -> Iterator[list[Any]]:
    """Yield voxels, mL, cm^2, mean and standard deviation of each label 1, 2, ... of ``parts`` (D, H, W)."""
    from genesis3d.io.itk_filters.measuring import surface_areas

    where = np.nonzero(parts)
    of = parts[where]
    counts, areas = np.bincount(of), surface_areas(parts, spacing)
    means, deviations = _moments(of, None if values is None else values[where].astype(np.float64), len(counts))
    voxel = float(np.prod(spacing)) / 1000
    for part in range(1, len(counts)):
        volume, area = round(int(counts[part]) * voxel, 4), round(areas[part] / 100, 4)
        yield [int(counts[part]), volume, area, _rounded(means[part]), _rounded(deviations[part])]


def _moments(
    of: NDArray[Any], values: NDArray[np.float64] | None, length: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of the finite ``values`` of each label; not a number where there is none."""
    if values is None:
        return np.full(length, np.nan), np.full(length, np.nan)
    known = np.isfinite(values)
    of, values = of[known], values[known]
    count = np.bincount(of, minlength=length).astype(np.float64)
    count[count == 0] = np.nan
    means = np.bincount(of, values, length) / count
    return means, np.sqrt(np.bincount(of, (values - means[of]) ** 2, length) / count)


def _rounded(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None


def _present(labels: NDArray[Any]) -> list[int]:
    found: set[int] = set()
    for part in labels:
        found.update(int(value) for value in np.unique(part))
    return sorted(found)
