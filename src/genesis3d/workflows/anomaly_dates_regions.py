"""What became of each region between two dates: gone, shrunk, the same, grown, new, or not in view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.morphology import bounds, dilated
from genesis3d.workflows.anomaly_map import SIDES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly_dates_config import DatesSettings

__all__ = ["COLUMNS", "RegionChange", "RegionPairs", "State", "change_rows", "region_changes"]

State = Literal["gone", "shrunk", "same", "grown", "new", "not in view"]
COLUMNS = ("change", "lung", "first_ml", "second_ml", "difference_ml", "first_regions", "second_regions",
           "centroid_s_mm", "centroid_p_mm", "centroid_l_mm")  # fmt: skip
HALF_SEEN = 0.5  # share of a region that the other scan must show


@dataclass(frozen=True)
class RegionChange:
    """Regions that lie on each other, as one.

    Attributes
    ----------
    state : what became of them
    first, second : their numbers in the two maps
    first_ml, second_ml : their volumes, each on its own scan's grid
    lung : left, right or empty
    centroid : world (S, P, L) in mm of the first scan
    centre : the voxel (D, H, W) of it on the first scan's grid
    """

    state: State
    first: tuple[int, ...]
    second: tuple[int, ...]
    first_ml: float
    second_ml: float
    lung: str
    centroid: tuple[float, float, float]
    centre: tuple[int, int, int]

    @property
    def difference_ml(self) -> float:
        """How much larger it is at the second date."""
        return self.second_ml - self.first_ml


class RegionPairs:
    """The regions of two maps, by number: their volumes, and how much of each the other scan shows.

    Parameters
    ----------
    first : regions of the first map
    own, laid : regions of the second on their own grid, and laid over the first
    seen : where the second scan reaches on the first one's grid
    back : where the first scan reaches on the second one's grid
    """

    def __init__(self, first: Volume, own: Volume, laid: Volume, seen: Volume, back: Volume) -> None:
        self.first, self.laid = first, laid
        self.known, self.later = _millilitres(first), _millilitres(own)
        self.still = _shares(first.data[0], seen.data[0])
        self.shown = {n for n, share in _shares(own.data[0], back.data[0]).items() if share >= HALF_SEEN}

    def in_view(self, numbers: tuple[int, ...]) -> bool:
        """Whether the second scan shows at least half of these regions of the first map."""
        whole = sum(self.known[n] for n in numbers)
        return sum(self.still[n] * self.known[n] for n in numbers) >= HALF_SEEN * whole


def region_changes(pairs: RegionPairs, lungs: Volume, settings: DatesSettings) -> list[RegionChange]:
    """Return what became of each region, largest first; ``lungs`` are those of the first map.

    Regions of the second map of which the first scan shows less than half are left out; those of the first that the
    second does not show are told as not in view.
    """
    was = pairs.first.data[0]
    now = np.where(np.isin(pairs.laid.data[0], list(pairs.shown)), pairs.laid.data[0], 0)
    found, taken = [], set[int]()
    for inside, place in _groups(was, now, lungs.geometry.spacing, settings.reach_mm):
        a, b = (tuple(int(n) for n in np.unique(array[place][inside]) if n) for array in (was, now))
        b = tuple(n for n in b if n not in taken)  # a thin region may fall into parts when it is laid over
        taken |= set(b)
        if not a and not b:
            continue
        volumes = sum(pairs.known[n] for n in a), sum(pairs.later[n] for n in b)
        state = _state(*volumes, settings) if b or pairs.in_view(a) else "not in view"
        found.append(_described(lungs, (was, now), inside, place, state, (a, b), volumes))
    return sorted(found, key=lambda one: -max(one.first_ml, one.second_ml))


def change_rows(changes: list[RegionChange]) -> tuple[list[str], list[list[object]]]:
    """Return header and rows of the table of changes."""
    rows: list[list[object]] = []
    for one in changes:
        figures = (one.first_ml, one.second_ml, one.difference_ml)
        numbers = (" ".join(map(str, one.first)), " ".join(map(str, one.second)))
        rows.append([one.state, one.lung, *(round(v, 3) for v in figures), *numbers,
                     *(round(v, 2) for v in one.centroid)])  # fmt: skip
    return list(COLUMNS), rows


def _millilitres(labels: Volume) -> dict[int, float]:
    voxel = float(np.prod(labels.geometry.spacing)) / 1000
    counts = np.bincount(labels.data.reshape(-1))
    return {int(n): float(counts[n]) * voxel for n in np.flatnonzero(counts) if n}


def _shares(labels: NDArray[np.integer], seen: NDArray[np.integer]) -> dict[int, float]:
    """Return which share of each region lies where ``seen`` is above 0."""
    inside = labels > 0
    total = np.bincount(labels[inside])
    part = np.bincount(labels[inside & (seen > 0)], minlength=len(total))
    return {int(n): float(part[n] / total[n]) for n in np.flatnonzero(total)}


Place = tuple[slice, slice, slice]


def _groups(
    was: NDArray[np.integer], now: NDArray[np.integer], spacing: tuple[float, float, float], reach: float
) -> list[tuple[NDArray[np.bool_], Place]]:
    """Return the groups of regions no further than ``reach`` mm apart: masks in the box given with each."""
    either = (was > 0) | (now > 0)
    if not either.any():
        return []
    box = bounds(either, tuple(int(reach / s) + 1 for s in spacing))
    grown = dilated(either[box], spacing, reach / 2) if reach else either[box]
    labels, sizes = components(grown)
    groups: list[tuple[NDArray[np.bool_], Place]] = []
    for number in range(1, len(sizes) + 1):
        part = bounds(labels == number)
        place = [slice(a.start + b.start, a.start + b.stop) for a, b in zip(box, part, strict=True)]
        groups.append(((labels[part] == number) & either[box][part], (place[0], place[1], place[2])))
    return groups


def _state(first: float, second: float, settings: DatesSettings) -> State:
    if not second:
        return "gone"
    if not first:
        return "new"
    change = second - first
    if abs(change) < settings.least_ml or abs(change) < settings.least_percent / 100 * first:
        return "same"
    return "grown" if change > 0 else "shrunk"


def _described(
    lungs: Volume, maps: tuple[NDArray[np.integer], NDArray[np.integer]], inside: NDArray[np.bool_], place: Place,
    state: State, numbers: tuple[tuple[int, ...], tuple[int, ...]], volumes: tuple[float, float],
) -> RegionChange:  # fmt: skip
    """Place a group where it is largest: at the first date, or at the second when it has grown."""
    chosen = maps[0] if volumes[0] >= volumes[1] else maps[1]
    of = inside & (chosen[place] > 0)
    points = np.argwhere(of if of.any() else inside) + [part.start for part in place]
    middle = points.mean(axis=0)
    centre = points[int(np.argmin((((points - middle) * lungs.geometry.spacing) ** 2).sum(axis=1)))]
    at = (int(centre[0]), int(centre[1]), int(centre[2]))
    s, p, left = (float(v) for v in lungs.geometry.to_world(middle))
    lung = SIDES.get(int(lungs.data[0][at]), "")
    return RegionChange(state, *numbers, *volumes, lung, (s, p, left), at)
