"""Scans with their lungs, ready to draw sub-volumes from: which voxels are lung, how deep in it, which are dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.loading import LoadedCases
from genesis3d.data.lungs_cutting import cut_out, grid_over
from genesis3d.errors import GenesisError, ScanError
from genesis3d.events import Control, keep_running

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.cases import Case
    from genesis3d.data.lungs_settings import LungSampling
    from genesis3d.intensity import Scale
    from genesis3d.volume import Volume

    Vector = tuple[float, float, float]
    Triple = tuple[int, int, int]
    Mask = NDArray[np.uint8]

__all__ = ["MAP", "LungMaps", "given_mask", "lungs_of", "mapped"]

MAP: Vector = (3.0, 2.0, 2.0)  # mm of the voxels of LungMaps
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True, eq=False)
class LungMaps:
    """One scan's lungs.

    Attributes
    ----------
    volume, scale : the scan (C, D, H, W), canonical, and its map to [0, 1]
    lungs : (D, H, W) uint8 on the scan's grid, 1 inside
    inside, dense, depth : on voxels of :data:`MAP` mm, middles ``centres`` (mm, an array an axis): lung and dense lung
        (bool), distance in mm from where the lungs end (float16)
    """

    volume: Volume
    scale: Scale
    lungs: Mask
    inside: NDArray[np.bool_]
    dense: NDArray[np.bool_]
    depth: NDArray[np.float16]
    centres: list[NDArray[np.float64]]

    @property
    def voxels(self) -> NDArray[np.int64]:
        """Indices of the lung's voxels in the flattened maps."""
        return np.flatnonzero(self.inside)


def mapped(volume: Volume, scale: Scale, lungs: Mask, settings: LungSampling) -> LungMaps:
    """Return the maps of one scan (its first channel is looked at)."""
    from scipy.ndimage import distance_transform_edt, median_filter

    own = volume.geometry.spacing
    centres = [grid_over(n, size, to) for n, size, to in zip(volume.geometry.shape, own, MAP, strict=True)]
    inside = cut_out(lungs, own, centres, MAP) > 0.5
    image = cut_out(volume.data[0], own, centres, MAP, lambda box: to_unit(scale, box))
    dense = inside & (median_filter(image, size=(1, 3, 3)) > settings.dense)
    depth = distance_transform_edt(inside, sampling=MAP).astype(np.float16)
    return LungMaps(volume, scale, lungs, inside, dense, depth, centres)


def to_unit(scale: Scale, values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return ``values`` of a scan in [0, 1]; what has no value is 0."""
    return np.nan_to_num(scale.to_unit(values), copy=False, nan=0.0)


def lungs_of(
    loaded: LoadedCases, find: Callable[[Case, Volume], Mask], control: Control = keep_running
) -> tuple[LoadedCases, list[Mask]] | None:
    """Return the scans in which ``find`` finds lungs, and their masks (D, H, W) uint8; None when told to stop.

    A scan without lungs is left out, which ``warnings`` of the result say.  Raises ScanError when none is left.
    """
    kept: list[int] = []
    masks: list[Mask] = []
    said: list[str] = []
    for index, (case, volume) in enumerate(zip(loaded.cases, loaded.volumes, strict=True)):
        if control() == "stop":
            return None
        try:
            masks.append(find(case, volume))
            kept.append(index)
        except GenesisError as error:
            said.append(f"{case.name} is left out: {error}")
    if not kept:
        raise ScanError(f"expected at least one scan with lungs in view; {'; '.join(said[:3])}")
    return _only(loaded, kept, said), masks


def given_mask(folder: str | Path, case: Case, volume: Volume) -> Mask:
    """Return the mask of ``case`` in ``folder``, a file of its name, as (D, H, W) uint8, 1 inside.

    Raises
    ------
    ScanError
        When there is none, it lies on another grid, or is empty.
    """
    from genesis3d.io import read_volume

    found = [path for suffix in SUFFIXES if (path := Path(folder) / f"{case.name}{suffix}").is_file()]
    if not found:
        raise ScanError(f"{folder}: expected a lung mask {case.name}{SUFFIXES[0]}, found none")
    mask = read_volume(found[0]).canonical()
    if not mask.geometry.matches(volume.geometry):
        raise ScanError(f"{found[0]}: expected a lung mask on the grid of {case.name}, got one of another grid")
    inside: Mask = (mask.data[0] > 0).astype(np.uint8)
    if not inside.any():
        raise ScanError(f"{found[0]}: expected a lung mask, got an empty one")
    return inside


def _only(loaded: LoadedCases, kept: Sequence[int], said: Sequence[str]) -> LoadedCases:
    return replace(
        loaded,
        cases=[loaded.cases[i] for i in kept],
        volumes=[loaded.volumes[i] for i in kept],
        scales=[loaded.scales[i] for i in kept],
        warnings=[*loaded.warnings, *said],
    )
