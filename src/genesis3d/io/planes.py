"""Pictures in space put into a grid, voxel on voxel: the frames of a segmentation onto the slices of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.volume import Geometry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from genesis3d.io.headers import Frame

__all__ = ["Placed", "paste", "place", "regular_grid"]

OFF = 0.05  # voxels that a pixel may lie off the voxel it is put into
SAME_MM = 0.01


@dataclass(frozen=True)
class Placed:
    """Where a picture lies in a grid: its slice, and how rows and columns run."""

    axes: tuple[int, int, int]
    index: int
    rows: tuple[int, int]
    columns: tuple[int, int]


def place(frame: Frame, rows: int, columns: int, grid: Geometry) -> Placed | None:
    """Return where ``frame`` (of ``rows`` x ``columns`` pixels) lies in ``grid``; None when not voxel on voxel."""
    position, down, right = _corner(frame)
    corners = grid.to_index(
        np.array([position, position + down * max(rows - 1, 1), position + right * max(columns - 1, 1)])
    )
    along = np.stack([(corners[1] - corners[0]) / max(rows - 1, 1), (corners[2] - corners[0]) / max(columns - 1, 1)])
    first, second = (int(np.argmax(np.abs(v))) for v in along)
    if first == second:
        return None
    whole = np.zeros((2, 3))
    whole[0, first], whole[1, second] = np.sign(along[0, first]), np.sign(along[1, second])
    wanted = np.rint(corners[0]) + np.array([np.zeros(3), whole[0] * max(rows - 1, 1), whole[1] * max(columns - 1, 1)])
    if np.abs(corners - wanted).max() > OFF:
        return None
    start = np.rint(corners[0]).astype(int)
    across = 3 - first - second
    return Placed(
        (across, first, second),
        int(start[across]),
        (int(start[first]), int(whole[0, first])),
        (int(start[second]), int(whole[1, second])),
    )


def paste(target: NDArray[Any], inside: NDArray[np.bool_], where: Placed, value: int) -> int:
    """Write ``value`` into ``target`` (D, H, W) where ``inside``; what lies beyond it is cut off.

    Returns how many voxels carried another value before.
    """
    upright = target.transpose(where.axes)
    if not 0 <= where.index < upright.shape[0]:
        return 0
    plane = upright[where.index]
    for axis, (_, step) in enumerate((where.rows, where.columns)):
        plane = np.flip(plane, axis) if step < 0 else plane
    cut_plane: list[slice] = []
    cut_inside: list[slice] = []
    for axis, (start, step) in enumerate((where.rows, where.columns)):
        n = plane.shape[axis]
        first = start if step > 0 else n - 1 - start
        low, high = max(first, 0), min(first + inside.shape[axis], n)
        if high <= low:
            return 0
        cut_plane.append(slice(low, high))
        cut_inside.append(slice(low - first, high - first))
    part, chosen = plane[tuple(cut_plane)], inside[tuple(cut_inside)]
    taken = int(np.count_nonzero(part[chosen]))
    part[chosen] = value
    return taken


def regular_grid(frames: Sequence[Frame], rows: int, columns: int, thickness: float | None) -> Geometry:
    """Return the grid on which ``frames`` lie, of which some may be missing.

    Raises
    ------
    ScanError
        When they have no place, differ in orientation, or lie on no even grid.
    """
    if any(f.position is None or f.orientation is None or f.spacing is None for f in frames):
        raise ScanError("its frames have no place in space")
    both = np.array([f.orientation for f in frames], dtype=np.float64)
    if np.abs(both - both[0]).max() > 1e-3:
        raise ScanError("its frames have mixed orientations")
    _, down, right = _corner(frames[0])
    down_unit, right_unit = down / np.linalg.norm(down), right / np.linalg.norm(right)
    # row and column directions are (S, P, L) here, which turns the hand
    normal = -np.cross(right_unit, down_unit)
    places = np.array([_corner(f)[0] for f in frames])
    height = places @ normal
    levels = np.sort(height)[np.diff(np.sort(height), prepend=-np.inf) > SAME_MM]
    gaps = np.diff(levels)
    step = float(gaps.min()) if gaps.size else float(thickness or 1.0)
    count = np.rint((levels - levels[0]) / step)
    step = float((levels[-1] - levels[0]) / count[-1]) if count[-1] else step
    if np.abs(levels - levels[0] - count * step).max() > OFF * step:
        raise ScanError("its frames lie on no even grid")
    first = places[int(np.argmin(height))]
    aside = places - first - np.outer((places - first) @ normal, normal)
    if np.abs(aside).max() > SAME_MM * 10:
        raise ScanError("its frames are shifted against each other")
    direction = np.stack([normal, down_unit, right_unit], axis=1)
    return Geometry(
        (int(count[-1]) + 1, rows, columns),
        (step, float(np.linalg.norm(down)), float(np.linalg.norm(right))),
        (float(first[0]), float(first[1]), float(first[2])),
        tuple(tuple(float(v) for v in line) for line in direction),  # type: ignore[arg-type]
    )


def _corner(frame: Frame) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the first pixel's place and the steps to the next row and column, (S, P, L) in mm."""
    orientation = np.asarray(frame.orientation, dtype=np.float64)
    spacing = frame.spacing or (1.0, 1.0)
    position = np.asarray(frame.position, dtype=np.float64)[::-1]
    return position, orientation[3:][::-1] * spacing[0], orientation[:3][::-1] * spacing[1]
