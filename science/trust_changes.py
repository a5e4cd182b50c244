"""What misleads an anomaly map without being diffuse disease, put into a scan: motion, gravity, scars, thick slices.

Each function takes a chest CT in HU and its lungs, both canonical and on one grid, and returns the changed scan and
where it was changed (or the lungs, where nothing is marked).  They are made of numbers, for pictures and figures that
anyone can repeat; none stands for a patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis3d.io.itk_filters.morphology import distance_to, eroded
from genesis3d.rng import Address
from genesis3d.volume import Volume

Array = NDArray[np.float32]
Changed = tuple[Volume, Volume]
Change = Callable[[Volume, Volume], Changed]

SHIFT = (6.0, 4.0, 2.0)  # mm along S, P, L between the two halves of a breath
SETTLED = 420.0  # HU at the very back of the lungs
SCARS = 450.0  # HU of a septum that is fully scarred
RIM = 18.0  # mm under the pleura where scars lie
FILLED = 40.0  # HU of a lobe without air
THICK = 3  # slices averaged to one
NOISE = 60.0  # HU, standard deviation of a sharp kernel's noise


def as_it_is(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan: what is flagged are vessels, the hilum and the rim."""
    return scan, lungs


def motion(scan: Volume, lungs: Volume) -> Changed:
    """Return the mean of the scan and itself moved: double contours, as of a breath or a heart beat."""
    from genesis3d.io.itk_filters.moving import moved

    matrix = np.eye(4)
    matrix[:3, 3] = SHIFT
    other = moved(scan, matrix, scan.geometry, -1000.0)
    seen = moved(scan.with_data(np.ones(scan.geometry.shape, np.float32)), matrix, scan.geometry, 0.0).data[0] > 0.99
    mean = np.where(seen, 0.5 * (scan.data[0] + other.data[0]), scan.data[0])
    return scan.with_data(mean.astype(np.float32)), lungs


def dependent_density(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan with density that rises towards the back of the lungs, as in a patient who lies on it."""
    inside = lungs.data[0] > 0
    rows = np.flatnonzero(inside.any(axis=(0, 2)))
    height = np.clip((np.arange(inside.shape[1]) - rows[0]) / max(int(rows[-1] - rows[0]), 1), 0, 1)
    return _denser(scan, SETTLED * (height**5)[None, :, None] * inside), lungs


def fibrosis(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan with a net of fine lines under the pleura."""
    inside, spacing = lungs.data[0] > 0, scan.geometry.spacing
    field = _smooth_noise(inside.shape, spacing, 5.0)
    lines = np.exp(-((field / 0.35) ** 2))  # sheets where a smooth field passes through 0
    under = np.exp(-np.maximum(-distance_to(inside, spacing), 0) / RIM) * inside
    return _denser(scan, np.asarray(SCARS * lines * under**2, np.float32)), lungs


def lobe_without_air(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan with the lower third of its right lung filled."""
    right = lungs.data[0] == 2
    slices = np.flatnonzero(right.any(axis=(1, 2)))
    part = right.copy()
    part[slices[len(slices) // 2] :] = False
    part |= eroded(part, scan.geometry.spacing, 1.0)
    data = np.where(part, np.maximum(scan.data[0], FILLED), scan.data[0]).astype(np.float32)
    return scan.with_data(data), lungs


def thick_slices(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan in slices of three times the thickness."""
    count = scan.geometry.shape[0] // THICK
    shape = (count, *scan.geometry.shape[1:])
    spacing = (scan.geometry.spacing[0] * THICK, *scan.geometry.spacing[1:])
    s, p, left = (float(v) for v in scan.geometry.to_world(((THICK - 1) / 2, 0.0, 0.0)))
    grid = replace(scan.geometry, shape=shape, spacing=spacing, origin=(s, p, left))
    mean = scan.data[0, : count * THICK].reshape(count, THICK, *shape[1:]).mean(axis=1, dtype=np.float32)
    middle = lungs.data[0, 1 : count * THICK : THICK]
    return replace(scan, data=mean[None], geometry=grid), replace(lungs, data=middle[None], geometry=grid)


def sharp_kernel(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan as a sharp kernel would show it: edges raised in the plane, and more noise."""
    data = scan.data[0].astype(np.float32)
    blurred = data.copy()
    for axis in (1, 2):
        blurred = (np.roll(blurred, 1, axis) + 2 * blurred + np.roll(blurred, -1, axis)) / 4
    noise = Address(5, path="kernel").generator().normal(0, NOISE, data.shape).astype(np.float32)
    body = data > -950  # the flattened air around a patient has no noise
    return scan.with_data(np.where(body, data + 1.2 * (data - blurred) + noise, data).astype(np.float32)), lungs


def opacity(scan: Volume, lungs: Volume) -> Changed:
    """Return the scan with ground glass of known extent: what a map is made to find."""
    from genesis3d.data.inserted import Insertion, inserted

    changed, _ = inserted(scan, lungs, Insertion(share_percent=12, regions=2, contrast=300), seed=3)
    return changed, lungs


def _denser(scan: Volume, change: NDArray[Any]) -> Volume:
    """Return the scan with ``change`` in HU, at most up to soft tissue."""
    data = scan.data[0].astype(np.float32)
    return scan.with_data(np.maximum(data, np.minimum(data + change, FILLED)).astype(np.float32))


def _smooth_noise(shape: tuple[int, ...], spacing: tuple[float, float, float], size: float) -> Array:
    """Return noise of about unit variance that changes over ``size`` mm."""
    from genesis3d.io.itk_filters.resample import resampled_onto
    from genesis3d.volume import Geometry

    knots = tuple(max(2, round(n * s / size) + 2) for n, s in zip(shape, spacing, strict=True))
    coarse = Address(9, path="scars").generator().standard_normal((1, *knots)).astype(np.float32)
    grid = Geometry((shape[0], shape[1], shape[2]), spacing, (0.0, 0.0, 0.0))
    field = resampled_onto(Volume(coarse, Geometry((knots[0], knots[1], knots[2]), (size,) * 3)), grid, 0.0).data[0]
    return np.asarray(field * 1.6, np.float32)
