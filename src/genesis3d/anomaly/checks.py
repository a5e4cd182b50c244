"""What is looked at before a map is made: values that cannot be HU, padding, metal, gaps, and a mask of no lungs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import DomainError

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["checked_scan", "lung_doubts"]

AIR = -1024.0  # HU that padding counts as
PADDED = -1124.0  # HU below which a value is padding
METAL = 3000.0  # HU
DENSE = -200.0  # HU: half of a lung above it is no lung, or hardly one


def checked_scan(scan: Volume) -> tuple[Volume, tuple[str, ...]]:
    """Return ``scan`` with padding and gaps mended, and a sentence on each that the user should know.

    Voxels without a value (NaN) become the smallest value, in HU at least -1024; padding becomes -1024 HU.
    The scan itself, where nothing is to be mended, is not copied.

    Raises
    ------
    DomainError
        When no voxel has a value, or values said to be HU cannot be.
    """
    low, high, gaps = _range(scan)
    if not np.isfinite(low):
        raise DomainError(f"{scan.name}: expected voxels with values, got none (all are NaN)")
    notes = []
    if gaps:
        notes.append(f"{gaps} voxel{' has' if gaps == 1 else 's have'} no value (NaN) and count as the smallest one.")
    if scan.unit == "HU":
        if low >= 0 and high > low:
            raise DomainError(
                f"{scan.name}: expected a CT in HU, got values of {low:g} to {high:g} with none below 0, where air and "
                "fat lie: a picture, or stored values without their offset"
            )
        if low < PADDED:
            notes.append(f"Values down to {low:g} HU are padding and count as {AIR:g} HU.")
        if high > METAL:
            notes.append(f"Values up to {high:g} HU are metal or beyond the scanner's range: streaks may be flagged.")
    return _mended(scan, low, gaps > 0), tuple(notes)


def lung_doubts(scan: Volume, lungs: Volume) -> tuple[str, ...]:
    """Return a sentence when what ``lungs`` marks in a CT is too dense to be lung."""
    if scan.unit != "HU":
        return ()
    values = scan.data[0][lungs.data[0] > 0][::7]
    middle = float(np.median(values)) if values.size else AIR
    if middle <= DENSE:
        return ()
    return (f"Half of what the lung mask marks is denser than {middle:.0f} HU: it hardly marks lungs. Check it.",)


def _range(scan: Volume) -> tuple[float, float, int]:
    """Return smallest and largest value, and the number of voxels without one."""
    if scan.data.dtype.kind != "f":
        return float(scan.data.min()), float(scan.data.max()), 0
    low, high, gaps = np.inf, -np.inf, 0
    for channel in scan.data:
        for plane in channel:
            known = np.isfinite(plane)
            count = int(known.sum())
            gaps += plane.size - count
            if count:
                values = plane if count == plane.size else plane[known]
                low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high, gaps


def _mended(scan: Volume, low: float, gaps: bool) -> Volume:
    padded = scan.unit == "HU" and low < PADDED
    if not gaps and not padded:
        return scan
    data = scan.data.copy()
    if gaps:
        least = max(low, AIR) if scan.unit == "HU" else low
        np.nan_to_num(data, copy=False, nan=least, neginf=least)
    if padded:
        np.maximum(data, data.dtype.type(AIR), out=data)
    return scan.with_data(data)
