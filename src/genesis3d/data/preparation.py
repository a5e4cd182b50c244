"""One case into a store: read, cropped to the body, resampled, mapped to [0, 1], encoded, written."""

from __future__ import annotations

import errno
import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, field_validator

from genesis3d.config import Config
from genesis3d.data.checks import checked_channels, checked_spacing
from genesis3d.data.shards import ATTRIBUTE, LEVELS, encode, shard_name
from genesis3d.data.store import StoredCase
from genesis3d.errors import GenesisError, ScanError
from genesis3d.intensity import INTENSITIES, Intensity, Scale, common_intensity, default_intensity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.channels import Group
    from genesis3d.data.storage import Storage
    from genesis3d.volume import Volume

__all__ = ["Outcome", "PreparationSettings", "cause", "prepare_case", "without_paths"]

Triple = tuple[int, int, int]
Vector = tuple[float, float, float]


class PreparationSettings(Config):
    """What decides the content of a store."""

    spacing: Vector | None = Field(
        None, description="spacing (z, y, x) in mm that scans are resampled to; empty: each keeps its own"
    )
    intensity: Annotated[Intensity, *INTENSITIES.field()] | None = Field(
        None,
        description="how scans are mapped to [0, 1]; empty: by modality (CT: fixed window in HU, else percentiles)",
    )
    crop: bool = Field(True, description="cut away what lies outside the body")
    margin: float = Field(10.0, ge=0, le=200, description="mm kept around the body")
    channels: tuple[str, ...] = Field(
        (), description="ends of the names of registered files that are the channels of one case, such as _0000, _0001"
    )

    @field_validator("spacing")
    @classmethod
    def _spacing(cls, value: Vector | None) -> Vector | None:
        return checked_spacing(value)

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_channels(value)


@dataclass(frozen=True)
class Outcome:
    """What became of a case: its ``record``, or in ``problem`` why it is left out; ``fatal`` when the store fails."""

    name: str
    record: StoredCase | None = None
    problem: str = ""
    fatal: bool = False


def prepare_case(group: Group, settings: PreparationSettings, storage: Storage) -> Outcome:
    """Prepare one case; nothing is raised.  The case is in the store as soon as its last file is, and whole then."""
    try:
        data, record = _prepared(group, settings)
    except MemoryError:
        return Outcome(group.name, problem="it does not fit into memory")
    except (GenesisError, OSError) as error:
        return Outcome(group.name, problem=without_paths(str(error), group))
    except Exception as error:  # one odd file must not end the preparation of an archive
        return Outcome(group.name, problem=without_paths(f"{type(error).__name__}: {error}", group))
    try:
        return Outcome(group.name, _written(data, record, storage))
    except OSError as error:
        return Outcome(group.name, problem=cause(error), fatal=True)


def without_paths(text: str, group: Group | None = None) -> str:
    """Return ``text`` as one line in which files, those of ``group`` first of all, are named without their folders."""
    for scan in group.scans if group else ():
        if scan.path:
            for path in (scan.path, str(Path(scan.path).resolve())):
                text = text.replace(path, Path(path).name)
    return " ".join(re.sub(r"(?<![\w.:/])(/|[A-Za-z]:\\)[^\s:;,']*[/\\]", "", text).split())


def cause(error: OSError) -> str:
    """Return why a store cannot be written, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or " ".join(str(error).split())


def _prepared(group: Group, settings: PreparationSettings) -> tuple[NDArray[np.uint16], StoredCase]:
    """Return the voxels to store, and their record (still without its size in the store)."""
    volumes, said = _channels(group)
    used = [settings.intensity or default_intensity(volume) for volume in volumes]
    scales = [intensity.fit(volume) for intensity, volume in zip(used, volumes, strict=True)]
    source = volumes[0].geometry
    start, shape = _box(volumes, settings)
    units = [_unit(v.crop(start, shape), s, settings.spacing) for v, s in zip(volumes, scales, strict=True)]
    geometry = units[0].geometry
    data = np.stack([np.rint(unit.data[0] * np.float32(LEVELS)).astype(np.uint16) for unit in units])
    record = StoredCase(
        name=group.name, key=group.key, modality=volumes[0].modality, channels=len(units),
        shape=geometry.shape, spacing=geometry.spacing, origin=geometry.origin, direction=geometry.direction,
        intensity=common_intensity(used), scales=tuple((scale.low, scale.high) for scale in scales),
        mean=float(data.mean(dtype=np.float64)) / LEVELS, std=float(data.std(dtype=np.float64)) / LEVELS,
        source_shape=source.shape, source_spacing=source.spacing, nbytes=0, digest=_digest(data, geometry.spacing),
        warnings=tuple(without_paths(text, group) for text in said),
    )  # fmt: skip
    return data, record


def _channels(group: Group) -> tuple[list[Volume], list[str]]:
    from genesis3d.data.channels import on_one_grid

    volumes = [replace(scan.load(), name=scan.name) for scan in group.scans]
    for volume in volumes:
        if volume.channels != 1:
            raise ScanError(f"{volume.name}: expected one value a voxel (channels are separate files), got "
                            f"{volume.channels}")  # fmt: skip
    notes = [note for volume in volumes for note in volume.notes]
    volumes, said = on_one_grid(volumes)
    return volumes, notes + said


def _box(volumes: list[Volume], settings: PreparationSettings) -> tuple[Triple, Triple]:
    """Return the smallest box that holds the body as each channel shows it."""
    if not settings.crop:
        return (0, 0, 0), volumes[0].geometry.shape
    from genesis3d.io.itk_filters.body import body_box

    boxes = [body_box(volume, settings.margin) for volume in volumes]
    first = np.min([start for start, _ in boxes], axis=0)
    last = np.max([np.add(start, size) for start, size in boxes], axis=0)
    d, h, w = (int(n) for n in first)
    depth, height, width = (int(n) for n in last - first)
    return (d, h, w), (depth, height, width)


def _unit(volume: Volume, scale: Scale, spacing: Vector | None) -> Volume:
    """Return ``volume`` in [0, 1], voxels without a value 0, on its new grid."""
    unit = volume.with_data(np.nan_to_num(scale.to_unit(np.ascontiguousarray(volume.data)), copy=False, nan=0.0))
    if spacing is None:
        return unit
    from genesis3d.io.itk_filters.resample import resampled

    unit = resampled(unit, spacing)
    return unit.with_data(np.clip(unit.data, 0.0, 1.0))


def _digest(data: NDArray[np.uint16], spacing: Vector) -> str:
    digest = blake2b(repr((data.shape, [round(s, 6) for s in spacing])).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(data, dtype="<u2").data)
    return digest.hexdigest()


def _written(data: NDArray[np.uint16], record: StoredCase, storage: Storage) -> StoredCase:
    """Write the shard, then ``zarr.json``, by which the case is there; what a killed process left is removed first."""
    shard, header = encode(data)
    record = record.replaced(nbytes=len(shard))
    header["attributes"] = {ATTRIBUTE: record.to_dict()}
    storage.remove(record.key)
    try:
        storage.write(shard_name(record.key), shard)
        storage.write(f"{record.key}/zarr.json", json.dumps(header, indent=1).encode())
    except OSError:
        with suppress(OSError):  # on a full disk, room for what others still write
            storage.remove(record.key)
        raise
    return record
