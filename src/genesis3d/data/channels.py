"""Several registered scans as the channels of one case: which belong together, and on which grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.volume import Geometry, Volume

__all__ = ["Group", "grouped", "on_one_grid", "overlap"]

LEAST_OVERLAP = 0.75  # share of the first channel's grid that another must cover


@dataclass(frozen=True)
class Group:
    """The scans of one case, one a channel; name and key are those of the first, the name without its suffix."""

    name: str
    key: str
    scans: tuple[Case, ...]


def grouped(cases: Iterable[Case], suffixes: Sequence[str]) -> tuple[list[Group], list[str]]:
    """Put scans together whose names differ by ``suffixes`` alone (``case_0000``, ``case_0001``), in one folder.

    Returns
    -------
    the groups that have every channel, and one sentence for each case that lacks one or each scan without a suffix;
    without ``suffixes`` every scan is a group.
    """
    if not suffixes:
        return [Group(case.name, case.key, (case,)) for case in cases], []
    found: dict[tuple[str, str], dict[str, Case]] = {}
    said = []
    for case in cases:
        suffix = next((s for s in sorted(suffixes, key=len, reverse=True) if case.name.endswith(s)), None)
        if suffix is None:
            said.append(f"{case.name}: its name ends in none of {', '.join(suffixes)}")
            continue
        base = (str(Path(case.path).parent) if case.path else "", case.name[: len(case.name) - len(suffix)])
        found.setdefault(base, {})[suffix] = case
    groups = []
    for (_, name), parts in found.items():
        missing = [suffix for suffix in suffixes if suffix not in parts]
        if missing:
            said.append(f"{name or 'a case'}: channel {', '.join(missing)} is missing")
            continue
        scans = tuple(parts[suffix] for suffix in suffixes)
        groups.append(Group(name or scans[0].name, scans[0].key, scans))
    return groups, said


def on_one_grid(volumes: Sequence[Volume]) -> tuple[list[Volume], list[str]]:
    """Return ``volumes`` (canonical, one channel each) on the grid of the first, and what had to be done for it.

    Raises
    ------
    ScanError
        When one covers less than three quarters of the first: they are not registered.
    """
    from genesis3d.io.itk_filters.resample import resampled_onto

    grid, result, said = volumes[0].geometry, [volumes[0]], []
    for volume in volumes[1:]:
        if volume.geometry.matches(grid, 0.01):
            result.append(volume)
            continue
        share = overlap(grid, volume.geometry)
        if share < LEAST_OVERLAP:
            raise ScanError(
                f"expected {volume.name} to cover {volumes[0].name}, of which it is to be a channel; it covers "
                f"{100 * share:.0f} %"
            )
        outside = float(np.nanmin(volume.data))
        result.append(resampled_onto(volume, grid, outside))
        said.append(f"{volume.name} lies on another grid and was resampled onto that of {volumes[0].name}")
    return result, said


def overlap(grid: Geometry, other: Geometry) -> float:
    """Return the share of ``grid`` that lies inside ``other``, from 16 x 16 x 16 points spread over it."""
    axes = [(np.arange(16) + 0.5) / 16 * n - 0.5 for n in grid.shape]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    index = other.to_index(grid.to_world(points))
    return float(((index >= -0.5) & (index <= np.subtract(other.shape, 0.5))).all(axis=1).mean())
