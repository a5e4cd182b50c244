"""Geometry and Volume: a scan as a value.

Everything is in array order.  A volume's data are ``(C, D, H, W)``; ``shape``, ``spacing`` (mm) and array axes run
D, H, W; world coordinates are patient millimetres in the order (S, P, L), that is ITK's LPS read backwards, so that
the geometry of a plain axial scan has the identity as ``direction``.  Only ``genesis3d.io.itk`` knows x-y-z.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genesis3d.errors import GeometryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Geometry", "Orientation", "Volume", "obliquity_degrees"]

Triple = tuple[int, int, int]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Orientation:
    """A permutation of the three spatial axes followed by flips: how an array was turned, invertibly.

    ``apply(a)`` gives axis ``i`` of the result from axis ``permutation[i]`` of ``a``, reversed where ``flips[i]``.
    """

    permutation: Triple = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return ``array`` (its last three axes are D, H, W) turned; a view, never a copy."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.permutation))
        return turned[(..., *(slice(None, None, -1) if flip else slice(None) for flip in self.flips))]

    def inverse(self) -> Orientation:
        """Return the orientation that undoes this one."""
        back = [0, 0, 0]
        for axis, source in enumerate(self.permutation):
            back[source] = axis
        permutation = (back[0], back[1], back[2])
        flips = (self.flips[back[0]], self.flips[back[1]], self.flips[back[2]])
        return Orientation(permutation, flips)

    @property
    def is_identity(self) -> bool:
        """Whether applying it changes nothing."""
        return self == Orientation()


@dataclass(frozen=True)
class Geometry:
    """A rigid, regular grid in patient space.

    Parameters
    ----------
    shape : (D, H, W), voxels
    spacing : mm along D, H, W
    origin : world position (S, P, L) in mm of the centre of voxel (0, 0, 0)
    direction : 3x3, column ``j`` is the unit world vector (S, P, L) of array axis ``j``

    Raises
    ------
    GeometryError
        For a spacing that is not positive and finite, or a direction that is not orthonormal (a shear).
    """

    shape: Triple
    spacing: Vector = (1.0, 1.0, 1.0)
    origin: Vector = (0.0, 0.0, 0.0)
    direction: tuple[Vector, Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or any(n < 1 for n in self.shape):
            raise GeometryError(f"shape: expected three positive sizes (D, H, W), got {self.shape}")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise GeometryError(f"spacing: expected three positive millimetre values, got {self.spacing}")
        if not np.isfinite(self.origin).all():
            raise GeometryError(f"origin: expected three finite millimetre values, got {self.origin}")
        d = np.asarray(self.direction, dtype=np.float64)
        if d.shape != (3, 3) or not np.isfinite(d).all() or not np.allclose(d.T @ d, np.eye(3), atol=1e-3):
            raise GeometryError(f"direction: expected orthonormal axes (no shear), got {d.round(4).tolist()}")

    @cached_property
    def affine(self) -> NDArray[np.float64]:
        """The 4x4 matrix from array index (d, h, w, 1) to world millimetres (S, P, L, 1), float64."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction, dtype=np.float64) * np.asarray(self.spacing, dtype=np.float64)
        matrix[:3, 3] = self.origin
        return matrix

    def to_world(self, index: NDArray[Any] | tuple[float, ...]) -> NDArray[np.float64]:
        """Return world millimetres (..., 3) for array indices (..., 3), which may be fractional."""
        matrix = self.affine
        return np.asarray(index, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]

    def to_index(self, world: NDArray[Any] | tuple[float, ...]) -> NDArray[np.float64]:
        """Return fractional array indices (..., 3) for world millimetres (..., 3)."""
        matrix = self.affine
        inverse = np.linalg.inv(matrix[:3, :3])
        return (np.asarray(world, dtype=np.float64) - matrix[:3, 3]) @ inverse.T

    def oriented(self, orientation: Orientation) -> Geometry:
        """Return the geometry of ``orientation.apply(array)``: the same points in space."""
        corner = [0.0, 0.0, 0.0]
        for axis, source in enumerate(orientation.permutation):
            if orientation.flips[axis]:
                corner[source] = self.shape[source] - 1
        columns = np.asarray(self.direction, dtype=np.float64)[:, list(orientation.permutation)]
        columns = columns * np.where(orientation.flips, -1.0, 1.0)
        return Geometry(
            shape=tuple(self.shape[p] for p in orientation.permutation),  # type: ignore[arg-type]
            spacing=tuple(self.spacing[p] for p in orientation.permutation),  # type: ignore[arg-type]
            origin=tuple(float(v) for v in self.to_world(tuple(corner))),  # type: ignore[arg-type]
            direction=_rows(columns),
        )

    def cropped(self, start: Triple, shape: Triple) -> Geometry:
        """Return the geometry of the box ``[start, start + shape)``; it may reach beyond the grid."""
        s, p, el = (float(v) for v in self.to_world(start))
        return replace(self, shape=shape, origin=(s, p, el))

    def canonical_orientation(self) -> Orientation:
        """Return the turn whose result has axes closest to S, P, L (permutation and flips only)."""
        d = np.abs(np.asarray(self.direction, dtype=np.float64))
        best = max(permutations(range(3)), key=lambda p: sum(d[axis, p[axis]] for axis in range(3)))
        signs = tuple(bool(np.asarray(self.direction)[axis][best[axis]] < 0) for axis in range(3))
        return Orientation((best[0], best[1], best[2]), (signs[0], signs[1], signs[2]))

    def matches(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same shape and their corners coincide within ``tolerance_mm``."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0], *np.diag(np.subtract(self.shape, 1))], dtype=np.float64)
        return bool(np.abs(self.to_world(corners) - other.to_world(corners)).max() <= tolerance_mm)

    def describe(self) -> str:
        """Return size and spacing for people, x by y by z: ``512 x 512 x 133 voxels of 0.70 x 0.70 x 2.50 mm``."""
        size = " x ".join(str(n) for n in reversed(self.shape))
        spacing = " x ".join(f"{s:.2f}" for s in reversed(self.spacing))
        return f"{size} voxels of {spacing} mm"


def _rows(matrix: NDArray[np.float64]) -> tuple[Vector, Vector, Vector]:
    a, b, c = ((float(r[0]), float(r[1]), float(r[2])) for r in matrix)
    return a, b, c


def obliquity_degrees(geometry: Geometry) -> float:
    """Return the largest angle, in degrees, between an array axis of ``geometry`` and its closest body axis."""
    d = np.abs(np.asarray(geometry.direction, dtype=np.float64)).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(d, -1.0, 1.0))).max())


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan: data ``(C, D, H, W)`` on a :class:`Geometry`, with what is known of it.

    Attributes
    ----------
    data : array (C, D, H, W), any real dtype; never modified in place by this project
    geometry : the grid of D, H, W
    modality : DICOM term (``CT``, ``MR``, ...), or None when unknown
    unit : ``HU`` for CT whose values are Hounsfield units, else None
    name : for people; a file or folder name, never a patient's
    source, series : path the scan came from and its DICOM series UID, if any (they stay on this machine)
    orientation : how the data were turned from the source's own array by :meth:`canonical`
    notes : sentences said while reading (repairs, assumptions), to be shown to the user
    """

    data: NDArray[Any]
    geometry: Geometry
    modality: str | None = None
    unit: str | None = None
    name: str = "volume"
    source: str | None = None
    series: str | None = None
    orientation: Orientation = field(default_factory=Orientation)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[1:] != self.geometry.shape:
            raise GeometryError(f"data: expected (C, {self.geometry.shape}), got {self.data.shape}")

    @property
    def channels(self) -> int:
        """Number of channels C."""
        return int(self.data.shape[0])

    def canonical(self) -> Volume:
        """Return the same scan with axes closest to (S, P, L): a view, permuted and flipped, never resampled."""
        turn = self.geometry.canonical_orientation()
        if turn.is_identity:
            return self
        if not self.orientation.is_identity:
            raise GeometryError(f"{self.name}: expected a volume as read, got one already turned by canonical()")
        return replace(self, data=turn.apply(self.data), geometry=self.geometry.oriented(turn), orientation=turn)

    def as_source(self) -> Volume:
        """Return the scan on its source's own grid: the inverse of :meth:`canonical`."""
        if self.orientation.is_identity:
            return self
        back = self.orientation.inverse()
        return replace(
            self, data=back.apply(self.data), geometry=self.geometry.oriented(back), orientation=Orientation()
        )

    def with_data(self, data: NDArray[Any], **changes: Any) -> Self:
        """Return a volume with the same geometry and other ``data`` ((D, H, W) or (C, D, H, W))."""
        return replace(self, data=data[None] if data.ndim == 3 else data, **changes)

    def crop(self, start: Triple, shape: Triple) -> Volume:
        """Return the box ``[start, start + shape)`` as a view; raises GeometryError if it leaves the volume."""
        stop = tuple(s + n for s, n in zip(start, shape, strict=True))
        if any(s < 0 for s in start) or any(e > n for e, n in zip(stop, self.geometry.shape, strict=True)):
            raise GeometryError(f"box: expected to lie inside {self.geometry.shape}, got {start} to {stop}")
        box = tuple(slice(s, e) for s, e in zip(start, stop, strict=True))
        return replace(self, data=self.data[(slice(None), *box)], geometry=self.geometry.cropped(start, shape))
