"""Healthy scans with their lungs and what is left out of them, as they are and averaged to thicker slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from genesis3d.anomaly.base import Scene
from genesis3d.anomaly.calibration_conditions import thickness
from genesis3d.anomaly.working import to_working, working_mask
from genesis3d.errors import ConfigError, ScanError
from genesis3d.workflows.anomaly_config import LUNGS
from genesis3d.workflows.anomaly_map import check_lungs
from genesis3d.workflows.lungs import LungMask, Method, find_lungs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.cases import Case
    from genesis3d.events import Control
    from genesis3d.volume import Volume

__all__ = ["Healthy", "at_thicknesses", "grown", "lungs_of", "mask_of"]

THINNER = 0.8  # of a thickness: scans with thinner slices are averaged to it
SEPARATORS = "_-. "


@dataclass(frozen=True, eq=False)
class Healthy:
    """A scene at one slice thickness in mm, and what of it does not count (D, H, W)."""

    scene: Scene
    exclude: NDArray[np.bool_] | None
    thickness: float


def at_thicknesses(scene: Scene, exclude: NDArray[np.bool_] | None, wanted: tuple[float, ...]) -> Iterator[Healthy]:
    """Return the scene as it is, then averaged along its slices to each thickness in ``wanted`` that is coarser.

    Slices are averaged over boxes, as a scanner's thicker slices are; pixels stay.  Only slices along S are averaged.
    """
    own = thickness(scene.scan)
    yield Healthy(scene, exclude, own)
    d, h, w = scene.scan.geometry.spacing
    for mm in sorted(set(wanted)):
        if d == own and own < THINNER * mm:
            scan = replace(to_working(scene.scan, (mm, h, w)), name=scene.scan.name)
            left = None if exclude is None else _averaged(scene.lungs.with_data(exclude), mm, 1e-3)
            yield Healthy(replace(scene, scan=scan, lungs=_lungs(scene.lungs, scan)), left, mm)


def lungs_of(method: str, case: Case, scan: Volume, given: Volume | None, control: Control) -> LungMask | None:
    """Return the lungs of a scan, ``given`` or found by ``method``, with doubts about them; None when stopped.

    Raises
    ------
    ScanError
        For masks that hold none for this scan.
    DomainError, ModelError
        When no lungs are found, or not that way.
    """
    if given is not None:
        return LungMask(given)
    if method not in LUNGS:
        raise ScanError(f"expected a mask of its lungs in {Path(method).name}, none there is called {case.name}")
    if method == "none":
        return LungMask(scan.with_data(np.full(scan.geometry.shape, 3, np.uint8), modality=None, unit=None, notes=()))
    return find_lungs(scan, cast(Method, method), control)


def grown(ill: Volume | None, mm: float) -> NDArray[np.bool_] | None:
    """Return what is not healthy (D, H, W) with a margin of ``mm`` around it; None without any."""
    from genesis3d.io.itk_filters.morphology import dilated

    if ill is None:
        return None
    marked = ill.data[0] > 0
    return dilated(marked, ill.geometry.spacing, mm) if mm > 0 else marked


def mask_of(where: str | None, case: Case, scan: Volume, several: bool) -> Volume | None:
    """Return the mask of a scan as labels on its grid: the file ``where``, or the one in that folder called as it is.

    A file belongs to a scan when its name is the scan's, or begins with it before one of ``_ - .`` or a blank.

    Raises
    ------
    ConfigError
        For one file with several scans, or several files that belong to one.
    ScanError, GeometryError, DomainError
        When it is not there, cannot be read, or lies on another grid.
    """
    from genesis3d.io import read_volume

    if where is None:
        return None
    path = Path(where)
    if path.is_file():
        if several:
            raise ConfigError(f"{where}: expected a folder of masks for several scans, got one file")
        return check_lungs(read_volume(path), scan)
    if not path.is_dir():
        raise ScanError(f"{where}: expected a mask file or a folder of masks, found nothing there")
    mine = [file for file in sorted(path.iterdir()) if file.is_file() and _belongs(file.name, case.name)]
    if len(mine) > 1:
        raise ConfigError(f"{where}: expected one mask for {case.name}, got {', '.join(file.name for file in mine)}")
    return check_lungs(read_volume(mine[0]), scan) if mine else None


def _belongs(file: str, name: str) -> bool:
    return file.startswith(name) and file[len(name) : len(name) + 1] in SEPARATORS and not file.startswith(".")


def _lungs(lungs: Volume, scan: Volume) -> Volume:
    """Return labels on the averaged grid: inside where half of a voxel is, on the side that has most of it."""
    mm = scan.geometry.spacing[0]
    inside = _averaged(lungs, mm, 0.5)
    left, right = (_averaged(lungs.with_data(lungs.data == side), mm, 0.25) for side in (1, 2))
    labels = np.where(inside, np.where(left, 1, np.where(right, 2, 3)), 0).astype(np.uint8)
    return scan.with_data(labels, modality=None, unit=None, name=lungs.name)


def _averaged(mask: Volume, mm: float, share: float) -> NDArray[np.bool_]:
    _, h, w = mask.geometry.spacing
    return working_mask(mask, (mm, h, w), share=share)
