"""The text headers of NRRD and MetaImage: where the voxels are, whether packed, and whether a spacing is stated.

NRRD: http://teem.sourceforge.net/nrrd/format.html; MetaImage: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genesis3d.errors import ScanError

__all__ = ["TextHeader", "read_text_header"]

LONGEST = 1 << 20


@dataclass(frozen=True)
class TextHeader:
    """What decides whether an NRRD or MetaImage file can be what it says.

    Attributes
    ----------
    stored : bytes of the file that holds the voxels
    packed : whether the voxels are compressed
    notes : what a user should know of the place in space
    """

    stored: int
    packed: bool
    notes: tuple[str, ...]


def read_text_header(path: Path) -> TextHeader:
    """Return the header of the NRRD or MetaImage file ``path``.

    Raises
    ------
    ScanError
        When the data file it names is not there, no plain file, or one of many.
    """
    with path.open("rb") as file:
        raw = file.read(LONGEST)
    nrrd = raw.startswith(b"NRRD")
    fields = _nrrd_fields(raw) if nrrd else _meta_fields(raw)
    name = fields.get("data file" if nrrd else "elementdatafile", "LOCAL")
    spacing = fields.get("space directions", fields.get("spacings")) if nrrd else fields.get("elementspacing")
    packed = fields.get("encoding", "raw") not in ("raw", "txt", "text", "ascii", "hex")
    packed = packed if nrrd else fields.get("compresseddata", "").lower().startswith("t")
    return TextHeader(_data_bytes(path, name), packed, _spacing_notes(spacing))


def _nrrd_fields(raw: bytes) -> dict[str, str]:
    head = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    pairs = (line.partition(":") for line in head.splitlines()[1:] if not line.startswith("#"))
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    return fields | ({"data file": fields["datafile"]} if "datafile" in fields else {})


def _meta_fields(raw: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in raw.splitlines():
        key, _, value = line.decode("utf-8", "replace").partition("=")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            break
    return fields


def _data_bytes(path: Path, name: str) -> int:
    if name.upper() == "LOCAL":
        return path.stat().st_size
    if name.upper().startswith("LIST") or "%" in name:
        raise ScanError(f"{path}: expected one data file, got a list of them ({name}); join them first")
    data = path.parent / name
    # a device or a pipe would never end
    if not data.is_file():
        raise ScanError(f"{path}: the data file it names, {name}, is {'no plain file' if data.exists() else 'missing'}")
    return data.stat().st_size


def _spacing_notes(spacing: str | None) -> tuple[str, ...]:
    words = (spacing or "").replace("(", " ").replace(")", " ").replace(",", " ").split()
    try:
        stated = bool(np.isfinite([float(word) for word in words if word.lower() != "none"]).any())
    except ValueError:
        stated = False
    return () if stated else ("the file states no voxel spacing; 1 mm is assumed",)
