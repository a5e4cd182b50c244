"""Two scans of one patient laid over each other: rigid, then affine if wanted, over the lungs and what is around them.

Mutual information of the two scans (Mattes et al.: PET-CT image registration in the chest using free-form deformations,
TMI 2003) at about 5 mm, over every voxel of the lungs and a margin that holds ribs and spine.  No voxel is drawn at
random and one thread computes, so that the same scans give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from genesis3d.errors import DomainError
from genesis3d.io.itk_filters.morphology import bounds, dilated, distance_to
from genesis3d.io.itk_filters.moving import matrix_of, moved
from genesis3d.io.itk_filters.resample import resampled, resampled_onto

if TYPE_CHECKING:
    import SimpleITK as sitk
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

__all__ = ["Motion", "Registration", "register"]

Motion = Literal["rigid", "affine"]

MARGIN = 20.0  # mm around the lungs that count, so that ribs and spine hold the scans in place
VIEW = 45.0  # mm around the lungs that are kept of a scan at all
WINDOW = (-1000.0, 300.0)  # HU: bone and contrast agent weigh no more than soft tissue
BINS = 32
ITERATIONS = {"rigid": 120, "affine": 80}
STEP, LEAST_STEP = 4.0, 0.02  # mm of the first and the last step


@dataclass(frozen=True)
class Registration:
    """Where the points of one scan lie in another.

    Attributes
    ----------
    matrix : 4 x 4, from world (S, P, L, 1) in mm of the fixed scan to that of the moving one
    motion : rigid or affine
    dice : overlap of the two lungs afterwards, 1 for equal ones; before: ``dice_before``
    surface_mm : mean distance of the moved lungs' surface from the fixed lungs' surface
    """

    matrix: tuple[tuple[float, ...], ...]
    motion: Motion
    dice: float
    dice_before: float
    surface_mm: float

    @property
    def shift_mm(self) -> tuple[float, float, float]:
        """The shift (S, P, L) in mm at the world's origin."""
        s, p, left = (row[3] for row in self.matrix[:3])
        return s, p, left

    @property
    def volume_ratio(self) -> float:
        """How much larger the moving scan is where both show the same: 1 for a rigid motion."""
        return float(np.linalg.det(np.asarray(self.matrix)[:3, :3]))


def register(
    fixed: Volume,
    moving: Volume,
    fixed_lungs: Volume,
    moving_lungs: Volume,
    motion: Motion = "affine",
    spacing: float = 5.0,
    stopped: Callable[[], bool] = lambda: False,
) -> Registration | None:
    """Return where ``fixed`` lies in ``moving``, or None when ``stopped``.

    Parameters
    ----------
    fixed, moving : scans (C, D, H, W) of which the first channel counts
    fixed_lungs, moving_lungs : (1, D, H, W) on their grids, above 0 inside
    spacing : mm of the grid that both are laid on
    stopped : asked at every step

    Raises
    ------
    DomainError
        When the two cannot be laid over each other.
    """
    first, lungs = _coarse(fixed, fixed_lungs, spacing)
    second, other = _coarse(moving, moving_lungs, spacing)
    start = _start(first, second, lungs, other)
    transform = _optimised(first, second, lungs, _euler(lungs, start), "rigid", stopped)
    if motion == "affine" and not stopped():
        transform = _optimised(first, second, lungs, _affine(transform), "affine", stopped)
    if stopped():
        return None
    matrix = matrix_of(transform)
    return Registration(
        tuple(tuple(float(v) for v in row) for row in matrix), motion, *_agreement(lungs, other, matrix, start)
    )


def _coarse(scan: Volume, lungs: Volume, spacing: float) -> tuple[Volume, Volume]:
    """Return a scan and its lungs around the lungs, on voxels of ``spacing`` mm."""
    inside = lungs.data[0] > 0
    if not inside.any():
        raise DomainError(f"{scan.name}: expected lungs to lay scans over each other by, got none")
    reach = tuple(int(VIEW / s) + 1 for s in scan.geometry.spacing)
    box = [slice(p.start, min(p.stop, n)) for p, n in zip(bounds(inside, reach), inside.shape, strict=True)]
    start, shape = tuple(p.start for p in box), tuple(p.stop - p.start for p in box)
    part = scan.crop((start[0], start[1], start[2]), (shape[0], shape[1], shape[2]))
    data = part.data[:1].astype(np.float32)
    np.nan_to_num(data, copy=False, nan=float(WINDOW[0]))
    if scan.unit == "HU":
        np.clip(data, *WINDOW, out=data)
    coarse = resampled(part.with_data(data), (spacing, spacing, spacing))
    mask = lungs.with_data(inside.astype(np.float32)[None])
    return coarse, _binary(resampled_onto(mask, coarse.geometry, 0.0))


def _binary(volume: Volume) -> Volume:
    return volume.with_data((volume.data > 0.5).astype(np.uint8))


def _start(fixed: Volume, moving: Volume, lungs: Volume, other: Volume) -> NDArray[np.float64]:
    """Return the shift (S, P, L) in mm to begin with: middle on middle, top on top, bottom on bottom, or none.

    Of these the one by which the scans agree best; middles mislead where one scan shows a part of the lungs.
    """
    ends = []
    for mask in (lungs, other):
        if not mask.data.any():
            raise DomainError(f"{mask.name}: expected lungs large enough to lay scans over each other by")
        world = mask.geometry.to_world(np.argwhere(mask.data[0]))
        ends.append((world.mean(axis=0), world.max(axis=0), world.min(axis=0)))
    middle, top, bottom = (np.asarray(b - a) for a, b in zip(*ends, strict=True))
    shifts = [middle, np.array([top[0], *middle[1:]]), np.array([bottom[0], *middle[1:]]), np.zeros(3)]
    agreement = [_information(fixed, moving, lungs, _euler(lungs, shift)) for shift in shifts]
    return shifts[int(np.argmin(agreement))]


def _information(fixed: Volume, moving: Volume, lungs: Volume, transform: sitk.Transform) -> float:
    """Return minus the mutual information; infinite where the two share too little."""
    method = _method(lungs)
    method.SetInitialTransform(transform, inPlace=False)
    try:
        with _one_thread():
            return float(method.MetricEvaluate(*_images(fixed, moving)))
    except RuntimeError:
        return float("inf")


def _euler(lungs: Volume, shift: NDArray[np.float64]) -> sitk.Transform:
    import SimpleITK as sitk

    centre = lungs.geometry.to_world(np.argwhere(lungs.data[0]).mean(axis=0))
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(v) for v in centre[::-1]])
    transform.SetTranslation([float(v) for v in shift[::-1]])
    return transform


def _affine(rigid: sitk.Transform) -> sitk.Transform:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetCenter(rigid.GetCenter())
    transform.SetMatrix(rigid.GetMatrix())
    transform.SetTranslation(rigid.GetTranslation())
    return transform


def _method(lungs: Volume) -> sitk.ImageRegistrationMethod:
    """Return what measures mutual information in every voxel of the lungs and of what is around them."""
    import SimpleITK as sitk

    from genesis3d.io.itk import image_from_volume

    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    near = dilated(lungs.data[0] > 0, lungs.geometry.spacing, MARGIN)
    method.SetMetricFixedMask(image_from_volume(lungs.with_data(near.astype(np.uint8))))
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _images(fixed: Volume, moving: Volume) -> tuple[sitk.Image, sitk.Image]:
    from genesis3d.io.itk import image_from_volume

    return image_from_volume(fixed, np.float32), image_from_volume(moving, np.float32)


def _optimised(
    fixed: Volume, moving: Volume, lungs: Volume, start: sitk.Transform, motion: Motion, stopped: Callable[[], bool]
) -> sitk.Transform:
    import SimpleITK as sitk

    method = _method(lungs)
    method.SetOptimizerAsRegularStepGradientDescent(STEP, LEAST_STEP, ITERATIONS[motion], 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(start, inPlace=True)
    if motion == "rigid":
        method.SetShrinkFactorsPerLevel([2, 1])
        method.SetSmoothingSigmasPerLevel([fixed.geometry.spacing[0], 0.0])
        method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()

    def ask() -> None:
        if stopped():
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, ask)
    try:
        with _one_thread():
            method.Execute(*_images(fixed, moving))
    except RuntimeError as error:
        raise DomainError(
            f"{moving.name}: expected a scan that can be laid over {fixed.name}, the two share too little"
        ) from error
    return start


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sum in one order: what several threads add up differs in its last digits, and where an optimum is with it."""
    import SimpleITK as sitk

    usual = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(usual)


def _agreement(
    fixed: Volume, moving: Volume, matrix: NDArray[np.float64], shift: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Return Dice after and before, and the mean distance in mm of the surfaces after, where both scans reach."""
    grid = fixed.geometry
    still = np.eye(4)
    if (np.abs(shift) > 2 * MARGIN).any():  # two tables, two origins: lungs on each other are where one begins
        still[:3, 3] = shift
    lungs, view = fixed.data[0] > 0, moving.with_data(np.ones(moving.data.shape, np.uint8))
    scores, surface = [], float("inf")
    for one in (still, matrix):
        other, seen = (moved(volume, one, grid, 0, labels=True).data[0] > 0 for volume in (moving, view))
        scores.append(_dice(lungs & seen, other))
        rim = other & ~_inside(other) & _inside(seen)
        surface = float(np.abs(distance_to(lungs, grid.spacing))[rim].mean()) if rim.any() else float("inf")
    return scores[1], scores[0], surface


def _inside(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of ``mask`` whose six neighbours are in it."""
    padded = np.pad(mask, 1, mode="edge")
    inner = mask.copy()
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return inner


def _dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0
