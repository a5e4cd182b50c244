"""Location and spread of a score on healthy scans, bin by bin; bins with too little in them take their parent's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.anomaly.calibration import Calibration, HealthyScan, Variant
from genesis3d.anomaly.calibration_conditions import Bins, Conditions, conditions
from genesis3d.anomaly.calibration_tail import Tail, pooled, significant
from genesis3d.errors import DomainError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.anomaly.base import Scene, Scored

__all__ = ["DENSE", "LEAST", "Fitting", "dense_share", "fill_sparse"]

LEAST = 200  # sampled voxels that a bin needs to have figures of its own
SAMPLES = 100_000  # voxels drawn of a scan
DENSE = -600.0  # HU above which a block of healthy lung is vessel or ill
SAME = 0.75  # mm by which slice thicknesses may differ to share a bin
# where the borders between bins lie among healthy voxels: vessels, a few percent of a lung, have bins of their own
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)
GRADIENTS = (0.5, 0.8, 0.95)
# the axes (level, gradient, depth, thickness) that a bin and its parents keep, the bin itself first
CHAIN = ((0, 1, 2, 3), (0, 1, 3), (0, 3), (0,), ())
MAD = 1.4826  # spreads of a normal distribution per median absolute deviation
UPPER = 0.97725  # quantile that lies two spreads above the median of a normal distribution


@dataclass(eq=False)
class _Sampled:
    """What is kept of one scan at one thickness: drawn voxels with their conditions, and the table of its scores."""

    subject: str
    thickness: float
    score: NDArray[np.float32]
    where: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
    tail: Tail


@dataclass(eq=False)
class Fitting:
    """Takes scored healthy scans one by one and ends in a :class:`~genesis3d.anomaly.calibration.Calibration`.

    A scan given at several thicknesses (under one ``subject``) counts as one scan: within each thickness every scan
    has the same weight, whatever the size of its lungs.
    """

    recipe: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    _subjects: dict[str, tuple[float, float | None]] = field(default_factory=dict, init=False)
    _parts: list[_Sampled] = field(default_factory=list, init=False)
    _units: set[str | None] = field(default_factory=set, init=False)

    def add(self, scene: Scene, scored: Scored, subject: str, exclude: NDArray[np.bool_] | None = None) -> None:
        """Add one scan at one thickness.

        Parameters
        ----------
        scene, scored : the scan and its score as the workflow shows it
        subject : the same for every thickness of a scan; it is not kept
        exclude : (D, H, W), true where the scan is not healthy (nodules); that part counts neither way

        Raises
        ------
        DomainError
            When nothing of the lungs is left.
        """
        lung = scene.lungs.data[0] > 0
        inside = lung if exclude is None else lung & ~exclude
        if not inside.any():
            raise DomainError(f"{scene.scan.name}: expected healthy lung to calibrate on, none is left in its mask")
        found = conditions(scene, scored)
        millilitres = np.count_nonzero(lung) * float(np.prod(scene.scan.geometry.spacing)) / 1000
        self._subjects.setdefault(subject, (millilitres, dense_share(scene)))
        self._units.add(scene.scan.unit)
        score = scored.score.data[0][inside]
        tail = Tail.of(score[score > 0], score.size)
        self._parts.append(self._drawn(found, inside, scored, subject, tail))

    def drop(self, subject: str) -> None:
        """Forget every thickness of a scan."""
        self._subjects.pop(subject, None)
        self._parts = [part for part in self._parts if part.subject != subject]

    def done(self) -> Calibration:
        """Return the calibration of all scans added.

        Raises
        ------
        DomainError
            When there is none, or some are CT in HU and some are not.
        """
        if not self._parts:
            raise DomainError(f"calibration of {self.recipe}: expected at least one healthy scan, got none")
        if len(self._units) > 1:
            raise DomainError(f"calibration of {self.recipe}: expected scans of one kind, got some in HU and some not")
        bins = _bins(self._parts)
        index = [bins.index(*part.where, part.thickness) for part in self._parts]
        location, spread, source = _tables(bins, self._parts, index)
        tails = [Tail.of((part.score - location[i]) / spread[i]) for part, i in zip(self._parts, index, strict=True)]
        weights = self._weights()
        return Calibration(
            recipe=self.recipe,
            settings=dict(self.settings),
            unit=next(iter(self._units)),
            bins=bins,
            location=tuple(location.tolist()),
            spread=tuple(spread.tolist()),
            source="".join(map(str, source)),
            score=pooled([part.tail for part in self._parts], weights),
            z_score=pooled(tails, weights),
            healthy_scans=tuple(self._scan(subject) for subject in self._subjects),
        )

    def _drawn(
        self, found: Conditions, inside: NDArray[np.bool_], scored: Scored, subject: str, tail: Tail
    ) -> _Sampled:
        """Draw voxels of the lungs, always the same ones, with the score and conditions of each."""
        index = _places(inside[found.box], len(self._parts))
        block = tuple((index // found.factor).T)
        score = scored.score.data[0][found.box][tuple(index.T)].astype(np.float32)
        where = found.level[block], found.gradient[block], found.depth[block]
        return _Sampled(subject, found.thickness, score, where, tail)

    def _weights(self) -> list[float]:
        variants = Counter(part.subject for part in self._parts)
        return [1 / variants[part.subject] for part in self._parts]

    def _scan(self, subject: str) -> HealthyScan:
        millilitres, dense = self._subjects[subject]
        parts = sorted((p for p in self._parts if p.subject == subject), key=lambda part: part.thickness)
        return HealthyScan(
            lungs_ml=round(millilitres, 1),
            dense_percent=None if dense is None else round(100 * dense, 2),
            variants=tuple(Variant(thickness_mm=round(p.thickness, 3), score=p.tail) for p in parts),
        )


def dense_share(scene: Scene) -> float | None:
    """Return the share (0 to 1) of the lungs that is denser than -600 HU in blocks of 2 mm; None without HU."""
    from genesis3d.io.itk_filters.coarse import coarsen, factors
    from genesis3d.io.itk_filters.morphology import bounds

    inside = scene.lungs.data[0] > 0
    if scene.scan.unit != "HU" or not inside.any():
        return None
    box = bounds(inside)
    factor = factors(scene.scan.geometry.spacing, 2.0)
    level = coarsen(scene.scan.data[0][box], factor, -1024.0, 1000.0)
    lung = coarsen(inside[box], factor, 0.0, 1.0) >= 0.5
    return float((level[lung] > DENSE).mean()) if lung.any() else None


def fill_sparse(
    keys: NDArray[np.int64], subjects: NDArray[np.int64], shape: tuple[int, ...], groups: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each bin the first of :data:`CHAIN` with enough in it: at least 200 voxels, from at least two scans.

    Where only one scan has a bin's slice thickness, one is enough.

    Parameters
    ----------
    keys : (n, 4) bins of the sampled voxels along each axis
    subjects : (n,) the scan of each
    shape : number of bins along each axis
    groups : number of scans that have each bin of thickness
    """
    bins = np.indices(shape).reshape(4, -1)
    chosen = np.full(bins.shape[1], len(CHAIN) - 1)
    for number, axes in reversed(list(enumerate(CHAIN[:-1]))):
        group, count = _grouping(keys, axes, shape)
        own, _ = _grouping(bins.T, axes, shape)
        voxels = np.bincount(group, minlength=count)[own]
        pairs = np.unique(group * (subjects.max() + 1) + subjects) // (subjects.max() + 1)
        scans = np.bincount(pairs, minlength=count)[own]
        most = groups[bins[3]] if 3 in axes else len(np.unique(subjects))
        chosen[(voxels >= LEAST) & (scans >= np.minimum(2, most))] = number
    return chosen


def _places(inside: NDArray[np.bool_], slot: int) -> NDArray[np.int64]:
    flat = np.flatnonzero(inside)
    if flat.size > SAMPLES:
        draw = Address(0, slot=slot, path="calibration").generator().integers(0, flat.size, SAMPLES)
        flat = flat[np.sort(draw)]
    return np.stack(np.unravel_index(flat, inside.shape), axis=1)


def _bins(parts: list[_Sampled]) -> Bins:
    level, gradient = (np.concatenate([part.where[axis] for part in parts]) for axis in (0, 1))
    return Bins(
        level=_borders(np.quantile(level, LEVELS)),
        gradient=_borders(np.quantile(gradient, GRADIENTS)),
        thickness=_between([part.thickness for part in parts]),
    )


def _borders(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(np.unique(significant(values, 4)).tolist())


def _between(seen: list[float]) -> tuple[float, ...]:
    """Return the borders half way between groups of thicknesses, so that any other falls to the closest group."""
    first, last, borders = min(seen), min(seen), []
    for value in sorted(seen):
        if value - first > SAME:
            borders.append(round((last + value) / 2, 3))
            first = value
        last = value
    return tuple(borders)


def _tables(
    bins: Bins, parts: list[_Sampled], index: list[NDArray[np.int32]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return location, spread and source of every bin."""
    score = np.concatenate([part.score for part in parts]).astype(np.float64)
    numbers = {subject: number for number, subject in enumerate(dict.fromkeys(part.subject for part in parts))}
    subjects = np.concatenate([np.full(part.score.size, numbers[part.subject]) for part in parts])
    keys = np.stack(np.unravel_index(np.concatenate(index), bins.shape), axis=1)
    weight = 1 / np.bincount(subjects * bins.shape[3] + keys[:, 3])[subjects * bins.shape[3] + keys[:, 3]]
    there = np.unique(subjects * bins.shape[3] + keys[:, 3]) % bins.shape[3]
    source = fill_sparse(keys, subjects, bins.shape, np.bincount(there, minlength=bins.shape[3]))
    every = np.indices(bins.shape).reshape(4, -1).T
    location, spread = np.zeros(len(source)), np.zeros(len(source))
    for number, axes in enumerate(CHAIN):
        if number in source or not axes:
            group, count = _grouping(keys, axes, bins.shape)
            own, _ = _grouping(every, axes, bins.shape)
            mine = source == number
            rows = np.bincount(own[mine], minlength=count)[group] > 0 if axes else np.ones(len(group), bool)
            middle, width = _middle_and_width(group[rows], score[rows], weight[rows], count)
            location[mine], spread[mine] = middle[own[mine]], width[own[mine]]
    floor = max(0.05 * float(width[0]), 1e-3 * float(np.abs(score).max()), 1e-6)
    return significant(location, 4), significant(np.maximum(spread, floor), 4), source


def _grouping(keys: NDArray[np.int64], axes: tuple[int, ...], shape: tuple[int, ...]) -> tuple[NDArray[np.int64], int]:
    """Return one number per row of ``keys`` that keeps ``axes`` alone, and how many there can be."""
    if not axes:
        return np.zeros(len(keys), np.int64), 1
    sizes = tuple(shape[axis] for axis in axes)
    return np.ravel_multi_index(tuple(keys[:, axis] for axis in axes), sizes), int(np.prod(sizes))


def _middle_and_width(
    group: NDArray[np.int64], score: NDArray[np.float64], weight: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return median and spread per group.

    The spread is the larger of the scaled median absolute deviation and half the way from the median to the 97.7th
    percentile: both are one standard deviation of normal scores, and the second holds where most scores are equal or
    the upper end is long.
    """
    middle, upper = _quantiles(group, score, weight, count, (0.5, UPPER))
    (deviation,) = _quantiles(group, np.abs(score - middle[group]), weight, count, (0.5,))
    return middle, np.maximum(MAD * deviation, (upper - middle) / 2)


def _quantiles(
    group: NDArray[np.int64],
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    count: int,
    wanted: tuple[float, ...],
) -> list[NDArray[np.float64]]:
    """Return weighted quantiles per group, 0 for groups with nothing in them."""
    order = np.argsort(values)
    order = order[np.argsort(group[order].astype(np.uint16), kind="stable")]  # 16 bits sort by radix
    ends = np.searchsorted(group[order], np.arange(count), side="right")
    starts = np.append(0, ends[:-1])
    summed = np.append(0.0, np.cumsum(weight[order]))
    found = []
    for share in wanted:
        target = summed[starts] + share * (summed[ends] - summed[starts])
        row = np.clip(np.searchsorted(summed, target) - 1, starts, np.maximum(ends - 1, starts))
        values_at = values[order][np.minimum(row, len(values) - 1)]
        found.append(np.where(ends > starts, values_at, 0.0))
    return found
