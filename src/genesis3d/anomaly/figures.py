"""The figures of each region of a map, and tables of figures as header and rows for CSV, docks and reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.anomaly.pleura import Pleura
from genesis3d.anomaly.zones import LUNGS, THIRDS, Mapped, side_codes, thirds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["RegionRow", "region_rows", "region_table", "table"]


@dataclass(frozen=True)
class RegionRow:
    """A region's figures.

    Attributes
    ----------
    region : its label
    lung, third : where most of it lies: left, right or other; upper, middle or lower
    volume_ml, share_of_lungs_percent : size, and share of both lungs
    mean_value, mean_difference, mean_score, peak_score, mean_z : of the scan, of scan minus restored, of the score and
        of its z inside the region; None where the map has none
    pleura_mm, depth_mm : from the surface of the lungs to the region's nearest voxel, and to its voxels on average
    centroid_s_mm, centroid_p_mm, centroid_l_mm : towards head, back, left
    """

    region: int
    lung: str
    third: str
    volume_ml: float
    share_of_lungs_percent: float
    mean_value: float
    mean_difference: float | None
    mean_score: float
    peak_score: float
    mean_z: float | None
    pleura_mm: float
    depth_mm: float
    centroid_s_mm: float
    centroid_p_mm: float
    centroid_l_mm: float


def region_rows(result: Mapped, pleura: Pleura | None = None) -> list[RegionRow]:
    """Return the figures of each region of ``result.labels``, in the order of the labels.

    Parameters
    ----------
    result : a map; its ``difference`` and ``z``, where it has them, are measured too
    pleura : depths of its lungs, where the caller keeps them; they hold as long as the lungs do
    """
    labels = result.labels.data[0]
    flat = np.flatnonzero(labels)
    if not flat.size:
        return []
    flat = flat[np.argsort(labels.reshape(-1)[flat], kind="stable")]
    of = labels.reshape(-1)[flat]
    starts = np.flatnonzero(np.diff(of, prepend=of[0] - 1))
    return _rows(result, pleura or Pleura.of(result.lungs), flat, of[starts], starts)


def region_table(
    result: Mapped, score_unit: str | None = None, pleura: Pleura | None = None
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows of the table of regions; ``score_unit`` None: that of the scan.

    Columns of volumes that the map does not have are left out.
    """
    volumes = {"mean_difference": "difference", "mean_z": "z"}
    without = [column for column, name in volumes.items() if getattr(result, name, None) is None]
    return table(RegionRow, region_rows(result, pleura), result.scan.unit, score_unit, without)


def table(
    kind: type[Any], rows: Sequence[Any], unit: str | None, score_unit: str | None = None, without: Sequence[str] = ()
) -> tuple[list[str], list[list[Any]]]:
    """Return header and rows, rounded to three decimals, of figures of one kind, such as :class:`RegionRow`.

    Parameters
    ----------
    kind, rows : a dataclass and figures of it, none too
    unit : of the scan, for the header; None: its own values
    score_unit : of the score; None: the scan's
    without : fields that are left out
    """
    scan, score = ((given or "value").lower() for given in (unit, score_unit or unit))
    named = {"mean_value": f"mean_{scan}", "mean_difference": f"mean_difference_{scan}"}
    named |= {name: f"{name}_{score}" for name in ("mean_score", "peak_score")}
    kept = [item.name for item in fields(kind) if item.name not in without]
    return [named.get(name, name) for name in kept], [[_plain(getattr(row, name)) for name in kept] for row in rows]


def _plain(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _rows(
    result: Mapped, pleura: Pleura, flat: NDArray[np.int64], labels: NDArray[Any], starts: NDArray[np.int64]
) -> list[RegionRow]:
    geometry = result.lungs.geometry
    index = np.unravel_index(flat, geometry.shape)
    counts = np.diff(starts, append=flat.size)
    voxel = float(np.prod(geometry.spacing)) / 1000
    lung = result.lungs.data[0].reshape(-1)[flat]
    score = result.score.data[0].reshape(-1)[flat]
    depth = pleura.at(index)
    inside = np.count_nonzero(result.lungs.data)
    centres = geometry.to_world(np.stack([_means(axis, starts, counts) for axis in index], axis=1))
    columns: list[Sequence[Any]] = [
        labels.tolist(),
        _most(side_codes(np.maximum(lung, 1)), starts, LUNGS),
        _most(thirds(result.lungs)[index[0]], starts, THIRDS),
        (counts * voxel).tolist(),
        (100 * counts / max(inside, 1)).tolist(),
        _measured(result.scan, flat, starts, counts),
        _measured(getattr(result, "difference", None), flat, starts, counts),
        _means(score, starts, counts).tolist(),
        np.maximum.reduceat(score, starts).astype(float).tolist(),
        _measured(getattr(result, "z", None), flat, starts, counts),
        np.minimum.reduceat(depth, starts).astype(float).tolist(),
        _means(depth, starts, counts).tolist(),
        *centres.T.tolist(),
    ]
    return [RegionRow(*row) for row in zip(*columns, strict=True)]


def _measured(
    volume: Volume | None, flat: NDArray[np.int64], starts: NDArray[np.int64], counts: NDArray[np.int64]
) -> Sequence[float | None]:
    if volume is None:
        return [None] * len(counts)
    found: list[float | None] = _means(volume.data[0].reshape(-1)[flat], starts, counts).tolist()
    return found


def _means(values: NDArray[Any], starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(np.add.reduceat(values.astype(np.float64), starts) / counts)


def _most(codes: NDArray[np.int64], starts: NDArray[np.int64], names: tuple[str, ...]) -> list[str]:
    """Return the name of the commonest code of each run that begins at ``starts``."""
    counted = np.stack([np.add.reduceat((codes == code).astype(np.int64), starts) for code in range(len(names))])
    return [names[code] for code in counted.argmax(axis=0)]
