"""What a NIfTI header says that the image library swallows: units, shears, two affines that disagree.

NIfTI-1 format, nifti1.h: fields at fixed offsets of a 348-byte header, coordinates in (R, A, S) millimetres.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NiftiHeader", "read_nifti_header"]

MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
SHEAR = 1e-3


@dataclass(frozen=True)
class NiftiHeader:
    """The fields of a NIfTI-1 header that decide where its voxels lie.

    Attributes
    ----------
    dim : number of dimensions, then the sizes
    pixdim : qfac, then the spacing along each dimension
    unit : millimetres per unit of length; None when the header does not say
    complex_values : whether voxels are complex numbers
    """

    dim: tuple[int, ...]
    pixdim: tuple[float, ...]
    unit: float | None
    complex_values: bool
    qform_code: int
    sform_code: int
    sform: NDArray[np.float64]

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know of the geometry."""
        if self.qform_code <= 0 and self.sform_code <= 0:
            return ("the file states no position in space (qform and sform are unset); left and right are as stored",)
        if self.unit is None:
            return ("the file names no unit of length; millimetres are assumed",)
        if self.unit != 1.0:
            return (f"lengths were given in {'m' if self.unit > 1 else 'micrometres'} and are turned into mm",)
        return ()

    def require_rigid(self, path: Path) -> None:
        """Raise ScanError for spacings that are not positive or an sform that shears."""
        spacing = self.pixdim[1:4]
        if not all(np.isfinite(s) and s > 0 for s in spacing):
            raise ScanError(f"{path}: expected positive voxel spacings, got {tuple(spacing)}")
        if self.sform_code <= 0:
            return
        columns = self.sform[:, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if not np.isfinite(columns).all() or lengths.min() <= 0:
            raise ScanError(f"{path}: expected an sform with three axes, got {columns.round(4).tolist()}")
        unit = columns / lengths
        worst = np.abs(unit.T @ unit - np.eye(3)).max()
        if worst > SHEAR:
            angle = np.degrees(np.arcsin(min(1.0, worst)))
            raise ScanError(
                f"{path}: its sform is sheared by {angle:.2f} degrees, which is no rigid grid; resample it first"
            )


def read_nifti_header(path: Path) -> NiftiHeader | None:
    """Return the header of a NIfTI-1 file (``.nii`` or ``.nii.gz``), or None when it is no such header."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            raw = file.read(348)
    except (OSError, EOFError, zlib.error):
        return None
    if len(raw) < 348 or raw[344:347] not in (b"n+1", b"ni1"):
        return None
    order = "<" if struct.unpack_from("<i", raw)[0] == 348 else ">"
    datatype = struct.unpack_from(f"{order}h", raw, 70)[0]
    qform, sform = struct.unpack_from(f"{order}2h", raw, 252)
    return NiftiHeader(
        dim=struct.unpack_from(f"{order}8h", raw, 40),
        pixdim=struct.unpack_from(f"{order}8f", raw, 76),
        unit=MILLIMETRES.get(raw[123] & 7),
        complex_values=datatype in (32, 1792, 2048),
        qform_code=qform,
        sform_code=sform,
        sform=np.array(struct.unpack_from(f"{order}12f", raw, 280), dtype=np.float64).reshape(3, 4),
    )
