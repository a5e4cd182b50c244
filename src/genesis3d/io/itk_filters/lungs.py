"""A lung mask without a trained network: thresholds, connected parts and distances, on a grid of about 2 mm.

The steps are those of the usual rule-based methods (Hu, Hoffman, Reinhardt: Automatic lung segmentation, TMI 2001):
body, air in the body, airways taken out, two lungs told apart, each closed so that opacity at the pleura stays in.
What no such method can do is find a lung that is mostly dense (genesis3d.workflows.lungs can, by a network);
:func:`lung_mask` says when its result looks wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import DomainError
from genesis3d.io.itk_filters.airways import airways
from genesis3d.io.itk_filters.coarse import coarse_volume, factors, refine
from genesis3d.io.itk_filters.components import components
from genesis3d.io.itk_filters.lung_doubts import LEFT, RIGHT, lung_doubts
from genesis3d.io.itk_filters.morphology import (
    closed,
    dilated,
    distance_to,
    eroded,
    fill_cavities,
    fill_slices,
    opened,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["LEAST", "LEFT", "RIGHT", "LungMask", "finished", "lung_labels", "lung_mask", "on_lung_grid"]

GRID = 2.0  # mm of the grid the lungs are found on
CLOSING = 10.0  # mm radius: bridges opacity at the pleura and the vessels of the hilum
RIBS = 20.0  # mm radius of the closing at the ribs
SKIN = 45.0  # mm under the skin that count as ribs and pleura
HOLE = 600.0  # mm^2 of a hole in one slice that is filled; the dome of the liver, which lung surrounds too, is larger
LEAST = 60.0  # mL of air that may be a lung, or a part of one in view


@dataclass(frozen=True, eq=False)
class LungMask:
    """Lungs of one scan.

    Attributes
    ----------
    mask : labels (1, D, H, W) uint8 on the scan's canonical grid: 1 left lung, 2 right lung (the patient's)
    warnings : sentences for the user when the mask looks wrong; empty when it looks right
    """

    mask: Volume
    warnings: tuple[str, ...] = ()


def lung_mask(volume: Volume) -> LungMask:
    """Return the lungs of a chest CT, 1 left and 2 right, on the scan's own (canonical) grid.

    Raises
    ------
    DomainError
        When the scan is not CT in HU, or no lung is in it.
    """
    volume = volume.canonical()
    coarse = on_lung_grid(volume)
    labels = lung_labels(coarse)
    if not labels.any():
        raise DomainError(f"{volume.name}: expected a chest CT, found no lungs (no air-filled part of {LEAST:g} mL)")
    return finished(labels, volume, lung_doubts(labels, coarse.geometry.spacing))


def on_lung_grid(volume: Volume) -> Volume:
    """Return a canonical CT in HU on the grid lungs are found on, about 2 mm: block means in [-1024, 1000] HU.

    Raises
    ------
    DomainError
        When the scan is not CT in HU.
    """
    if volume.unit != "HU":
        kind = volume.modality or "a scan of unknown modality"
        raise DomainError(f"{volume.name}: expected a CT in HU to find lungs in, got {kind} without HU")
    return coarse_volume(volume, factors(volume.geometry.spacing, GRID), -1024.0, 1000.0)


def lung_labels(coarse: Volume) -> NDArray[np.uint8]:
    """Return the lungs (D, H, W) of what :func:`on_lung_grid` gave; all 0 where there are none."""
    return _lungs(coarse.data[0], coarse.geometry.spacing)


def finished(labels: NDArray[np.uint8], volume: Volume, warnings: Sequence[str] = ()) -> LungMask:
    """Return coarse ``labels`` (D, H, W) on the grid of the canonical scan they were found in."""
    fine = refine(labels, factors(volume.geometry.spacing, GRID), volume.geometry.shape)
    mask = volume.with_data(fine, modality=None, unit=None, name=f"{volume.name} lungs", notes=())
    return LungMask(mask, tuple(warnings))


def _lungs(hu: NDArray[np.float32], spacing: Vector) -> NDArray[np.uint8]:
    body = _body(hu, spacing)
    air = body & (hu < _isodata(hu[body]))
    parts = opened(air & ~airways(hu, air, body, spacing), spacing, 3.0)
    middle = float(np.median(np.nonzero(body)[2])) if body.any() else 0.0
    left, right = _sides(_candidates(parts, hu, spacing), middle, spacing)
    result = np.zeros(hu.shape, np.uint8)
    wall = _near_skin(body, spacing) & (hu < 150)
    whole = [_whole(side, body, wall, spacing) for side in (left, right)]
    result[whole[0]] = LEFT
    result[whole[1]] = RIGHT
    both = whole[0] & whole[1]
    if both.any():  # where the two closed lungs meet, the nearer one has it
        nearer = distance_to(left, spacing)[both] <= distance_to(right, spacing)[both]
        result[both] = np.where(nearer, LEFT, RIGHT)
    return result


def _body(hu: NDArray[np.float32], spacing: Vector) -> Mask:
    """Return the patient without table and clothes, lungs included."""
    tissue = hu > -500
    labels, sizes = components(opened(tissue, spacing, 4.0), neighbours=6)
    if not sizes:
        return np.zeros(hu.shape, bool)
    # a thin chest wall is lost by the opening: it comes back from close by, and small gaps are bridged before filling
    return fill_slices(closed(tissue & dilated(labels == 1, spacing, 8.0), spacing, 4.0))


def _isodata(values: NDArray[np.float32]) -> float:
    """Return the threshold half way between the means of air and tissue (Ridler and Calvard 1978), -550 to -300 HU."""
    threshold = -400.0
    for _ in range(20):
        low, high = values[values < threshold], values[values >= threshold]
        if not low.size or not high.size:
            break
        last, threshold = threshold, float(np.clip((low.mean() + high.mean()) / 2, -550, -300))
        if abs(threshold - last) < 1:
            break
    return threshold


def _candidates(parts: Mask, hu: NDArray[np.float32], spacing: Vector) -> Mask:
    """Return the parts of air large enough for a lung and not as empty as bowel or the outside."""
    millilitre = float(np.prod(spacing)) / 1000
    labels, sizes = components(parts, least=int(LEAST / millilitre) + 1, neighbours=6)
    keep = np.zeros(len(sizes) + 1, bool)
    for label in range(1, len(sizes) + 1):
        keep[label] = float(np.median(hu[labels == label])) > -965
    if len(sizes) > 2:  # a third part far smaller than the lungs is bowel or stomach
        keep[3:] &= np.asarray(sizes[2:]) > 0.25 * sizes[0]
    kept: Mask = keep[labels]
    return kept


def _sides(lungs: Mask, middle: float, spacing: Vector) -> tuple[Mask, Mask]:
    """Return the patient's left and right lung; W runs towards the left, ``middle`` is the body's midline along it."""
    for radius in (0.0, 1.5, 2.5, 4.0, 6.0, 8.0):
        cores, sizes = components(eroded(lungs, spacing, radius) if radius else lungs, neighbours=6)
        centres = [float(np.nonzero(cores == label)[2].mean()) for label in range(1, min(len(sizes), 6) + 1)]
        left = [i + 1 for i, c in enumerate(centres) if c >= middle]
        right = [i + 1 for i, c in enumerate(centres) if c < middle]
        big = [sum(sizes[i - 1] for i in side) for side in (left, right)]
        if not sizes or min(big) > 0.15 * max(big) or (radius == 0 and not _straddles(lungs, middle)):
            return _nearest(lungs, np.isin(cores, left), np.isin(cores, right), spacing)
    width = np.arange(lungs.shape[2])
    return lungs & (width >= middle), lungs & (width < middle)


def _straddles(lungs: Mask, middle: float) -> bool:
    share = float((np.nonzero(lungs)[2] >= middle).mean()) if lungs.any() else 0.0
    return 0.2 < share < 0.8


def _nearest(lungs: Mask, left: Mask, right: Mask, spacing: Vector) -> tuple[Mask, Mask]:
    """Give each voxel of ``lungs`` to the nearer of two cores."""
    if not left.any() or not right.any():
        return (lungs, np.zeros_like(lungs)) if left.any() else (np.zeros_like(lungs), lungs)
    nearer = distance_to(left, spacing) <= distance_to(right, spacing)
    return lungs & nearer, lungs & ~nearer


def _near_skin(body: Mask, spacing: Vector) -> Mask:
    """Return what of the body is near enough to the skin to be ribs and pleura, not mediastinum."""
    return body & ~eroded(body, spacing, SKIN)


def _whole(lung: Mask, body: Mask, wall: Mask, spacing: Vector) -> Mask:
    """Return one lung with vessels and opacity at the pleura closed in: more widely at the ribs, where it is round."""
    lung = lung | (closed(lung, spacing, RIBS) & wall)
    solid = fill_cavities(closed(lung, spacing, CLOSING))
    return fill_slices(solid, int(HOLE / (spacing[1] * spacing[2]))) & body
