"""What a NIfTI header says that the image library swallows: units, shears, two affines that disagree, lost bytes.

NIfTI-1 format, nifti1.h: fields at fixed offsets of a 348-byte header, coordinates in (R, A, S).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry

__all__ = ["NiftiHeader", "read_nifti_header", "require_complete"]

HEADER = 348
MILLIMETRES = {1: 1000.0, 2: 1.0, 3: 0.001}
COMPLEX = (32, 1792, 2048)
FLOATS = {16: 4, 64: 8}
SHEAR = 1e-3
DISAGREE_MM = 0.1
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI-1 header that decide where its voxels lie.

    Attributes
    ----------
    pixdim : qfac, then the spacing along each dimension, in the file's own unit
    unit : millimetres per unit of length; None when the header does not say
    complex_values : whether voxels are complex numbers
    number : type of the stored voxels when they are floating-point numbers, else None
    offset, voxel_bytes : bytes before the first voxel, and of all voxels as they are stored
    qform, sform : (3, 4) index to (R, A, S), in the file's own unit; None when unset
    """

    pixdim: tuple[float, ...]
    unit: float | None
    complex_values: bool
    number: np.dtype[Any] | None
    offset: int
    voxel_bytes: int
    qform: NDArray[np.float64] | None
    sform: NDArray[np.float64] | None

    def require_rigid(self, path: Path) -> None:
        """Raise ScanError for spacings that are not positive or an sform that shears."""
        spacing = self.pixdim[1:4]
        if not all(np.isfinite(s) and s > 0 for s in spacing):
            raise ScanError(f"{path}: expected positive voxel spacings, got {tuple(round(s, 6) for s in spacing)}")
        if self.sform is None:
            return
        columns = self.sform[:, :3]
        lengths = np.linalg.norm(columns, axis=0)
        if not np.isfinite(self.sform).all() or lengths.min() <= 0:
            raise ScanError(f"{path}: expected an sform with three axes, got {columns.round(4).tolist()}")
        unit = columns / lengths
        worst = float(np.abs(unit.T @ unit - np.eye(3)).max())
        if worst > SHEAR:
            angle = np.degrees(np.arcsin(min(1.0, worst)))
            raise ScanError(
                f"{path}: its sform is sheared by {angle:.2f} degrees, which is no rigid grid; resample it first"
            )

    def notes(self, used: Geometry) -> tuple[str, ...]:
        """Return what a user should know of the place in space, given the grid that was ``used``."""
        notes = []
        if self.qform is None and self.sform is None:
            notes.append("the file states no place in space (neither qform nor sform); left and right are not known")
        if self.unit is None:
            notes.append("the file names no unit of length; millimetres are assumed")
        elif self.unit != 1.0:
            notes.append(f"lengths are given in {'metres' if self.unit > 1 else 'micrometres'} and were turned into mm")
        off = {name: self._off(form, used) for name, form in (("qform", self.qform), ("sform", self.sform))}
        if max(off.values()) > DISAGREE_MM:
            kept, left = sorted(off, key=off.__getitem__)
            notes.append(f"qform and sform disagree by {off[left]:.3g} mm; the {kept} was used")
        return tuple(notes)

    def _off(self, form: NDArray[np.float64] | None, used: Geometry) -> float:
        """Return how far in mm ``form`` puts a corner from where the grid ``used`` has it; 0 when unset."""
        if form is None:
            return 0.0
        depth, height, width = used.shape
        corners = np.array([[0, 0, 0], [depth, 0, 0], [0, height, 0], [0, 0, width]], dtype=np.float64)
        ras = corners[:, ::-1] @ form[:, :3].T + form[:, 3]
        spl = (ras * [-1, -1, 1])[:, ::-1] * (self.unit or 1.0)
        return float(np.abs(spl - used.to_world(corners)).max())


def read_nifti_header(path: Path) -> NiftiHeader:
    """Return the header of the NIfTI-1 file ``path``, compressed or not; raises ScanError when it has none."""
    raw = b"".join(_bytes(path, HEADER))[:HEADER]
    if len(raw) < HEADER or raw[344:348] not in (b"n+1\0", b"ni1\0"):
        raise ScanError(f"{path}: expected a NIfTI-1 file, got something else (no NIfTI header)")
    order = "<" if struct.unpack_from("<i", raw)[0] == HEADER else ">"
    qform_code, sform_code = struct.unpack_from(f"{order}2h", raw, 252)
    pixdim = struct.unpack_from(f"{order}8f", raw, 76)
    sform = np.array(struct.unpack_from(f"{order}12f", raw, 280), dtype=np.float64).reshape(3, 4)
    offset = struct.unpack_from(f"{order}f", raw, 108)[0]
    dim = struct.unpack_from(f"{order}8h", raw, 40)
    datatype, bits = struct.unpack_from(f"{order}2h", raw, 70)
    return NiftiHeader(
        pixdim=pixdim,
        unit=MILLIMETRES.get(raw[123] & 7),
        complex_values=datatype in COMPLEX,
        number=np.dtype(f"{order}f{FLOATS[datatype]}") if datatype in FLOATS else None,
        offset=int(offset) if np.isfinite(offset) and offset > 0 else 0,
        voxel_bytes=math.prod(max(1, n) for n in dim[1 : 1 + min(7, max(0, dim[0]))]) * max(1, bits) // 8,
        qform=_qform(pixdim, struct.unpack_from(f"{order}6f", raw, 256)) if qform_code > 0 else None,
        sform=sform if sform_code > 0 else None,
    )


def require_complete(path: Path, header: NiftiHeader) -> int:
    """Return how many voxels of ``path`` are NaN or infinite.

    The image library reads those as 0, fills what a truncated file lacks with zeros, and says nothing of either.

    Raises
    ------
    ScanError
        Unless the file really holds the voxels that its ``header`` announces, uncorrupted.
    """
    wanted = header.offset + header.voxel_bytes
    held, bad, rest = 0, 0, b""
    # some more than wanted: at its end a packed file checks itself
    for piece in _bytes(path, wanted + CHUNK):
        # only what lies between the header and the end of the voxels is looked at
        voxels = piece[max(0, header.offset - held) : max(0, wanted - held)]
        held += len(piece)
        if header.number is not None:
            rest += voxels
            count = len(rest) // header.number.itemsize
            values = np.frombuffer(rest, header.number, count)
            bad += count - int(np.count_nonzero(np.isfinite(values)))
            rest = rest[count * header.number.itemsize :]
    if held < wanted:
        held = max(0, held - header.offset)
        raise ScanError(f"{path}: is truncated or corrupt: expected {header.voxel_bytes} bytes of voxels, got {held}")
    return bad


def _qform(pixdim: tuple[float, ...], fields: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the affine of quaternion and offset (nifti1.h, method 2)."""
    b, c, d, *offset = fields
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    qfac = -1.0 if pixdim[0] < 0 else 1.0
    scale = np.array([pixdim[1], pixdim[2], pixdim[3] * qfac])
    return np.column_stack([rotation * scale, offset])


def _bytes(path: Path, count: int) -> Iterator[bytes]:
    """Yield the content of ``path``, unpacked if it is packed, at most ``count`` bytes; ScanError where corrupt."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if packed:
            try:
                yield from _unpacked(file, count)
            except zlib.error as error:
                raise ScanError(f"{path}: is corrupt ({' '.join(str(error).split())})") from error
            return
        while count > 0 and (piece := file.read(min(CHUNK, count))):
            count -= len(piece)
            yield piece


def _unpacked(file: BinaryIO, count: int) -> Iterator[bytes]:
    """Yield at most ``count`` bytes of a gzip ``file``, one member after the other; zlib.error where corrupt."""
    while count > 0 and (piece := file.read(CHUNK)).startswith(b"\x1f\x8b"):
        unpack = zlib.decompressobj(31)
        while count > 0 and not unpack.eof:
            out = unpack.decompress(piece, min(CHUNK, count))
            count -= len(out)
            yield out
            piece = unpack.unconsumed_tail
            # a full output may leave more inside: only an empty one asks for more input
            if not piece and not out and not unpack.eof:
                piece = file.read(CHUNK)
                if not piece:
                    return
        file.seek(-len(unpack.unused_data), 1)
