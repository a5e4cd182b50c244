"""Opacities with exactly known masks, grown in a lung of a healthy scan: a truth for tests, figures and the docs.

Nothing is shared with the opacities that a network is trained on (unions of ellipsoids): a region spreads from a seed
along the shortest ways inside the lung, at a speed that varies smoothly from place to place, the sooner the lower a
place lies in a patient on the back.  So it follows pleura and diaphragm, and goes around what is no lung.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.growth import FAR, arrival, averaged, depth_in, smooth_field, stretched
from genesis3d.data.inserted_settings import Insertion
from genesis3d.errors import DomainError, GeometryError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Array = NDArray[np.float32]
    Mask = NDArray[np.bool_]
    Vector = tuple[float, float, float]

__all__ = ["Insertion", "inserted"]

TISSUE = 40.0  # HU of what opacity fills the air up to
VESSELS = 1.5  # mm: a Gaussian of this standard deviation tells vessels from the noise of a scanner
CELL = 3.0  # mm of the grid on which regions grow
APART = 9.0  # mm between regions
COARSE = 14.0  # mm over which the speed of growth varies, less in smaller regions
MARGIN = 12.0  # mm kept around a lung


def inserted(scan: Volume, lungs: Volume, settings: Insertion, seed: int = 0) -> tuple[Volume, Volume]:
    """Return ``scan`` with opacities in one of its lungs, and their mask.

    Parameters
    ----------
    scan : CT in HU (1, D, H, W)
    lungs : labels on its grid, 1 left, 2 right; without these two what is above 0 counts as one lung
    settings : size, density and texture
    seed : the same numbers on every call; another seed, another lung, places and forms

    Returns
    -------
    the scan (float32, or whole numbers where it holds such) and the mask (1, D, H, W) uint8, both canonical.  The mask
    is the lung where at least half of an opacity's weight lies, and has the volume asked for to the voxel.  The change
    is smooth: noise of the scan stays as it is; where there is no weight, and outside the lung, no voxel changes.

    Raises
    ------
    GeometryError
        When the lungs lie on another grid.
    DomainError
        For a scan without HU, lungs without a voxel, or regions that do not fit the lung.
    """
    scan, lungs = scan.canonical(), lungs.canonical()
    _check(scan, lungs)
    address = Address(seed, path="inserted")
    lung = _one_lung(lungs.data[0], address)
    box = _box(lung, scan.geometry.spacing)
    inside, spacing = lung[box], scan.geometry.spacing
    depth, covered = _depth(inside, spacing, settings, address, scan.name)
    within = scan.data[0][box].astype(np.float32)
    change = _change(within, inside, covered, depth, spacing, settings, address)
    changed, mask = scan.data.copy(), np.zeros(scan.data.shape, np.uint8)
    whole = scan.data.dtype.kind in "iu"
    changed[0][box] += np.rint(change).astype(scan.data.dtype) if whole else change
    mask[0][box] = covered
    opacities = scan.with_data(mask, modality=None, unit=None, name=f"{scan.name} opacities", notes=())
    return scan.with_data(changed, name=f"{scan.name} with opacities"), opacities


def _check(scan: Volume, lungs: Volume) -> None:
    if scan.unit != "HU" or scan.channels != 1:
        raise DomainError(f"{scan.name}: expected a CT in HU with one channel, got {scan.modality or 'another scan'}")
    if lungs.channels != 1 or not lungs.geometry.matches(scan.geometry, tolerance_mm=0.05):
        raise GeometryError(
            f"{lungs.name}: expected a mask on the grid of {scan.name} ({scan.geometry.describe()}), "
            f"got another one ({lungs.geometry.describe()})"
        )
    if not (lungs.data > 0).any():
        raise DomainError(f"{lungs.name}: expected a mask of the lungs, got one without any voxel")


def _one_lung(labels: NDArray[Any], address: Address) -> Mask:
    """Return the left or the right lung, the larger ones more often; all of it where there is no such pair."""
    counts = [int((labels == side).sum()) for side in (1, 2)]
    if min(counts) == 0:
        return np.asarray(labels > 0)
    left = (address / "side").generator().random() * sum(counts) < counts[0]
    return np.asarray(labels == (1 if left else 2))


def _box(lung: Mask, spacing: Vector) -> tuple[slice, slice, slice]:
    from genesis3d.io.itk_filters.morphology import bounds

    margin = [int(np.ceil(MARGIN / step)) for step in spacing]
    return bounds(lung, (margin[0], margin[1], margin[2]))


def _depth(inside: Mask, spacing: Vector, settings: Insertion, address: Address, name: str) -> tuple[Array, Mask]:
    """Return depth in mm inside the regions (D, H, W), and the lung's deepest voxels: as many as were asked for."""
    shape = tuple(max(1, round(n * step / max(CELL, step))) for n, step in zip(inside.shape, spacing, strict=True))
    cell = tuple(n * step / m for n, step, m in zip(inside.shape, spacing, shape, strict=True))
    wanted = _voxels(inside, spacing, settings, name)
    lung, part = averaged(inside, shape) >= 0.5, wanted / int(inside.sum())
    depth = stretched(_grown(lung, (cell[0], cell[1], cell[2]), part, settings, address, name), inside.shape)
    values = depth[inside]
    chosen = np.argpartition(values, -wanted)[-wanted:]  # not all at or above a level: several may lie on it
    covered = np.zeros(inside.shape, np.bool_)
    covered[tuple(axis[chosen] for axis in np.nonzero(inside))] = True
    return depth - values[chosen].min(), covered


def _voxels(inside: Mask, spacing: Vector, settings: Insertion, name: str) -> int:
    total, voxel = int(inside.sum()), float(np.prod(spacing)) / 1000
    wanted = settings.volume_ml / voxel if settings.volume_ml else total * (settings.share_percent or 0) / 100
    if not 1 <= round(wanted) <= 0.95 * total:
        raise DomainError(
            f"{name}: expected opacities of one voxel to 95 % of a lung ({0.95 * total * voxel:.0f} mL), "
            f"got {wanted * voxel:.3g} mL"
        )
    return round(wanted)


def _grown(lung: Mask, cell: Vector, part: float, settings: Insertion, address: Address, name: str) -> Array:
    """Return depth in mm inside regions that cover ``part`` of the coarse ``lung``, the deepest of all regions."""
    generator = (address / "regions").generator()
    cells = max(1.0, part * int(lung.sum()))
    height = _height(lung, cell, generator)
    depth, free = np.full(lung.shape, -FAR, np.float32), lung.copy()
    for share in generator.dirichlet(np.full(settings.regions, 6.0)):
        if not free.any():
            raise DomainError(f"{name}: expected regions that fit one lung, got {settings.regions} that do not")
        chance = np.exp(-6.0 * settings.gravity * height) * free
        seed = np.unravel_index(int(generator.choice(chance.size, p=(chance / chance.sum()).ravel())), lung.shape)
        fine = min(COARSE, (0.24 * share * cells * float(np.prod(cell))) ** (1 / 3))  # the radius of a ball
        slow = np.exp(settings.roughness * smooth_field(generator, lung.shape, cell, fine))
        times = arrival(free, cell, slow, tuple(int(i) for i in seed))
        region = _first(times, height, settings.gravity, max(1, round(share * cells)))
        depth = np.maximum(depth, depth_in(region, lung & ~region, cell))
        free &= depth < -APART
    return depth


def _first(times: Array, height: Array, gravity: float, count: int) -> Mask:
    """Return the ``count`` cells that are reached first, later the higher they lie."""
    known = np.isfinite(times)
    if int(known.sum()) <= count:
        return np.asarray(known)
    reach = np.partition(times[known], count)[count]
    order = np.where(known, (1 - gravity) * times / max(float(reach), 1e-3) + gravity * height * 3.0, np.inf)
    return np.asarray(order < np.partition(order[known], count)[count])


def _height(lung: Mask, cell: Vector, generator: np.random.Generator) -> Array:
    """Return how high each cell lies over the back and base of ``lung``, 0 to 1, in a patient on the back."""
    s, p, left = (n.astype(np.float32) * step for n, step in zip(np.indices(lung.shape), cell, strict=True))
    tilt = generator.normal(0, 0.25, 3)
    height = (0.6 + tilt[0]) * s - (0.8 + tilt[1]) * p + 0.3 * tilt[2] * left
    low, high = np.quantile(height[lung], [0.005, 0.995])
    return np.asarray(((height - low) / max(high - low, 1e-3)).clip(0, 1), dtype=np.float32)


def _change(
    hu: Array, inside: Mask, covered: Mask, depth: Array, spacing: Vector, settings: Insertion, address: Address
) -> Array:
    """Return HU to be added (D, H, W): air is filled in proportion, so that vessels change the less the denser."""
    from scipy.ndimage import gaussian_filter

    plain = gaussian_filter(hu, [VESSELS / step for step in spacing])
    generator = (address / "texture").generator()
    fields = [_texture(generator, hu.shape, spacing, settings.texture_mm * part) for part in (1.0, 0.45)]
    uneven = (1 + settings.texture * (0.8 * fields[0] + 0.6 * fields[1])).clip(0.1, 2)
    air = np.maximum(TISSUE - plain, 0)
    change = (depth / settings.softness_mm + 0.5).clip(0, 1) * inside * uneven * air
    mean = float(change[covered].mean())
    return np.asarray(np.minimum(change * (settings.contrast / max(mean, 1e-6)), air), dtype=np.float32)


def _texture(generator: np.random.Generator, shape: tuple[int, ...], spacing: Vector, size: float) -> Array:
    """Return noise of mean 0 and standard deviation about 1 that changes over ``size`` mm."""
    coarse = tuple(
        max(2, round(n * step / max(size / 3, min(spacing)))) for n, step in zip(shape, spacing, strict=True)
    )
    cell = tuple(n * step / m for n, step, m in zip(shape, spacing, coarse, strict=True))
    return stretched(smooth_field(generator, coarse, (cell[0], cell[1], cell[2]), size), shape)
