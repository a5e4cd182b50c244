"""What the values of a scan mean: modality and unit where a file says nothing, and values that are no numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["guess_ct", "note_padding", "require_numbers"]

# HU: air is -1000, and scanners store -1024 or less outside their circle; nothing in a body or a bed beyond 32767.
AIR = -900
LEAST = -10000
DENSE = 100


def require_numbers(volume: Volume, zeroed: int = 0) -> Volume:
    """Return ``volume`` with a note about voxels that are NaN or infinite; raises ScanError when all are.

    ``zeroed`` counts those that the file had and that were turned to 0 while reading.
    """
    bad, total, fate = zeroed, volume.data.size, "were read as 0"
    if not zeroed and volume.data.dtype.kind == "f":
        # slice by slice: the flags of a whole scan would cost as much as the scan
        bad = sum(int(plane.size - np.count_nonzero(np.isfinite(plane))) for part in volume.data for plane in part)
        fate = "are kept as they are"
    if not bad:
        return volume
    if bad >= total:
        raise ScanError(f"{volume.source}: all {total} voxels are NaN or infinite, there is nothing to see")
    note = f"{bad} voxels ({100 * bad / total:.2g} %) are NaN or infinite; they {fate}"
    return replace(volume, notes=(*volume.notes, note))


def guess_ct(volume: Volume) -> Volume:
    """Return ``volume``, taken as CT in HU (and saying so) when its file names no modality and its values fit.

    They fit when they reach down to air and up to dense tissue: from -10000 to 32767, beyond 100, at least one
    in a thousand at or below -900 and at least one in a thousand at or above -100.
    """
    if volume.modality is not None or volume.channels != 1 or volume.data.dtype.kind not in "if":
        return volume
    values = _sample(volume.data)
    if not values.size or not _like_ct(values):
        return volume
    low, high = values.min(), values.max()
    note = f"taken as CT in HU because its values run from {low:g} to {high:g}; the file itself names no modality"
    return replace(volume, modality="CT", unit="HU", notes=(*volume.notes, note))


def _sample(data: NDArray[Any]) -> NDArray[Any]:
    step = max(1, round((data.size / 500_000) ** (1 / 3)))
    values: NDArray[Any] = data[0, ::step, ::step, ::step].ravel()
    return values[np.isfinite(values)] if values.dtype.kind == "f" else values


def _like_ct(values: NDArray[Any]) -> bool:
    low, high = float(values.min()), float(values.max())
    if not (LEAST <= low <= AIR and DENSE <= high <= 32767):
        return False
    return bool(np.mean(values <= AIR) >= 1e-3 and np.mean(values >= -DENSE) >= 1e-3)


def note_padding(volume: Volume) -> Volume:
    """Return a CT ``volume`` with a note when values below those of air fill what the scanner did not see."""
    if volume.unit != "HU":
        return volume
    low = int(volume.data.min())
    if low >= -1100:
        return volume
    note = f"values down to {low} HU, below air, mark what lies outside the scanner's circle; they are kept as stored"
    return replace(volume, notes=(*volume.notes, note))
