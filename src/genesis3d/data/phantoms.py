"""Scans made of numbers: a thorax, the same with ground-glass opacity of known extent, and a chiral object.

They stand in for patients in tests, in first steps and in screenshots.  Sizes are those of an adult, in mm; the
Hounsfield units are typical ones.  No scan of a person went into them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.anatomy import Grid, Thorax
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["chirality", "thorax", "thorax_with_opacity"]

Triple = tuple[int, int, int]
Vector = tuple[float, float, float]

FIELD_OF_VIEW = (268.8, 360.0, 360.0)  # mm along S, P, L: the whole thorax and the upper abdomen

# 5x7 capitals, a row a number, its five lowest bits from left to right
LETTERS = {
    "R": (30, 17, 17, 30, 20, 18, 17),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "A": (14, 17, 17, 31, 17, 17, 17),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "I": (14, 4, 4, 4, 4, 4, 14),
}
# for each marker: the axis (S, P, L) and side of its face, then reading direction and up direction as (axis, sign)
# of someone who stands outside and looks at it
FACES: dict[str, tuple[int, int, tuple[int, int], tuple[int, int]]] = {
    "R": (2, -1, (1, -1), (0, 1)),
    "L": (2, 1, (1, 1), (0, 1)),
    "A": (1, -1, (2, 1), (0, 1)),
    "P": (1, 1, (2, -1), (0, 1)),
    "S": (0, 1, (2, -1), (1, -1)),
    "I": (0, -1, (2, 1), (1, -1)),
}


def thorax(
    shape: Triple = (96, 192, 192), spacing: Vector | None = None, seed: int = 0, opacity: bool = False
) -> Volume:
    """Return a thorax in HU: body, lungs, airways, vessels, heart, ribs, spine, and the noise of a scanner.

    Parameters
    ----------
    shape : (D, H, W), voxels; rows run S, P, L (identity direction)
    spacing : (z, y, x) in mm; by default the whole thorax fits ``shape``
    seed : of vessels, airways, texture and noise; the same numbers on every call
    opacity : with the diffuse ground glass of :func:`thorax_with_opacity`
    """
    return _thorax(shape, spacing, seed, opacity)[0]


def thorax_with_opacity(
    shape: Triple = (96, 192, 192), spacing: Vector | None = None, seed: int = 0
) -> tuple[Volume, Volume]:
    """Return :func:`thorax` with diffuse ground glass, and a labels volume (uint8, 1 where it is more than half).

    The opacity covers 22 % of the lung, more of it posterior, basal and near the pleura; its edges are soft.
    """
    scan, labels = _thorax(shape, spacing, seed, True)
    return scan, labels


def chirality(shape: Triple = (80, 96, 96), spacing: Vector = (1.6, 1.25, 1.25)) -> Volume:
    """Return an object that no mirror image can pass for, in HU: a right-handed helix between six lettered plates.

    Each of the letters R, L, A, P, S, I stands on that side of the patient and reads rightly for someone who looks at
    it from outside, head up (for S and I: the patient's front up).  The helix rises towards S as a right-handed screw.
    """
    grid = Grid(shape, _spacing(shape, spacing))
    hu = np.full(shape, -1000.0, dtype=np.float32)
    half = [0.5 * n * size for n, size in zip(shape, grid.spacing, strict=True)]
    turns = np.linspace(0.0, 4 * np.pi, 96)
    radius = 0.4 * min(half[1], half[2])
    path = np.stack([half[0] * 0.6 * (turns / (2 * np.pi) - 1), radius * np.sin(turns), radius * np.cos(turns)], axis=1)
    for a, b in pairwise(path):
        grid.stroke(hu, a, b, max(3.0, 1.2 * max(grid.spacing)), 400.0)
    for letter, (axis, side, right, up) in FACES.items():
        _plate(grid, hu, letter, axis, side * 0.86 * half[axis], right, up, 0.11 * min(half))
    return _volume(grid, np.round(hu), "chirality phantom")


def _plate(
    grid: Grid, hu: NDArray[np.float32], letter: str, axis: int, at: float, right: tuple[int, int],
    up: tuple[int, int], pixel: float,
) -> None:  # fmt: skip
    """Write ``letter`` of 5x7 square pixels (mm) into the plane ``axis`` = ``at``, as strokes between its dots."""
    dots = [(r, c) for r, bits in enumerate(LETTERS[letter]) for c in range(5) if bits >> (4 - c) & 1]
    place = {}
    for row, column in dots:
        point = np.zeros(3)
        point[axis] = at
        point[right[0]] = right[1] * (column - 2) * pixel
        point[up[0]] = up[1] * (3 - row) * pixel
        place[row, column] = point
    width = max(0.5 * pixel, 0.9 * max(grid.spacing))
    for (row, column), point in place.items():
        for neighbour in ((row, column + 1), (row + 1, column), (row + 1, column + 1), (row + 1, column - 1)):
            straight = (row, neighbour[1]) in place or (neighbour[0], column) in place
            diagonal = neighbour[0] != row and neighbour[1] != column
            if neighbour in place and not (diagonal and straight):
                grid.stroke(hu, point, place[neighbour], width, 1000.0)


def _thorax(shape: Triple, spacing: Vector | None, seed: int, opacity: bool) -> tuple[Volume, Volume]:
    grid = Grid(shape, _spacing(shape, spacing))
    body = Thorax(grid, Address(seed, path="thorax"))
    hu, affected = body.hounsfield(opacity)
    name = "thorax phantom with opacity" if opacity else "thorax phantom"
    scan = _volume(grid, hu, name)
    labels = Volume(affected.astype(np.uint8)[None], scan.geometry, name="ground-glass opacity")
    return scan, labels


def _spacing(shape: Triple, spacing: Vector | None) -> Vector:
    d, h, w = (mm / n for mm, n in zip(FIELD_OF_VIEW, shape, strict=True))
    return spacing or (d, h, w)


def _volume(grid: Grid, hu: NDArray[np.floating], name: str) -> Volume:
    s, p, left = (-0.5 * (n - 1) * size for n, size in zip(grid.shape, grid.spacing, strict=True))
    geometry = Geometry(grid.shape, grid.spacing, (s, p, left))
    return Volume(np.clip(hu, -1024, 3071).astype(np.int16)[None], geometry, "CT", "HU", name)
