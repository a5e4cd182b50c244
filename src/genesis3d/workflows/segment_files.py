"""The files of segmentations: labels on each scan's own grid, a table of all structures, and what made them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, ScanError
from genesis3d.evaluation.structures import HEADER, structure_rows
from genesis3d.files import write_atomic

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.segment_one import Segmentation

__all__ = ["MANIFEST", "TABLE", "Manifest", "write_segmentation"]

MANIFEST = "segmented.json"
TABLE = "table.csv"
NOTICE = "Research software. Not for clinical use."


def write_segmentation(
    result: Segmentation,
    folder: Path,
    name: str,
    format: str = ".nii.gz",
    source: str | None = None,
    series: str | None = None,
) -> Iterator[Path]:
    """Write labels, and probabilities and entropy where there are any, as ``folder/name...``; yield each path.

    Parameters
    ----------
    format : of the labels, one of :data:`~genesis3d.workflows.segment_settings.FORMATS`; ``.zarr``: labels and
        probabilities are in their store already
    source, series : the DICOM scan that a DICOM SEG belongs to

    Raises
    ------
    ScanError, GeometryError
        When the disk does not take them, or the scan is no DICOM series and a DICOM SEG is asked for.
    """
    from genesis3d.io import write_dicom_seg, write_volume

    if format == "dicom":
        if source is None:
            raise ScanError(f"{name}: expected a DICOM scan, to which a DICOM SEG can belong, got no file")
        yield write_dicom_seg(result.labels, result.classes, source, folder / f"{name}.dcm", series)
    elif format != ".zarr":
        yield write_volume(result.labels, folder / f"{name}{format}", labels=True, classes=result.classes)
    stored = format == ".zarr"
    for volume, what in ((None if stored else result.probabilities, "probabilities"), (result.entropy, "uncertainty")):
        if volume is not None:
            yield write_volume(volume, folder / f"{name}_{what}.nii.gz")


class Manifest:
    """``segmented.json``: model and settings of a folder of segmentations, and its cases as they became complete.

    Parameters
    ----------
    folder : of the results
    made_by : plain values of what decides the results: model and settings
    overwrite : take a folder over that was made by something else; all its cases are then computed again

    Raises
    ------
    ConfigError
        When the folder holds results of something else and ``overwrite`` is not set.
    """

    def __init__(self, folder: Path, made_by: dict[str, Any], overwrite: bool = False) -> None:
        self.folder = folder
        self._path = folder / MANIFEST
        known = self._read()
        if known and known["made_by"] != made_by:
            if not overwrite:
                raise ConfigError(_difference(self._path, known["made_by"], made_by))
            known = {}
        self.values: dict[str, Any] = {
            "schema_version": 1,
            "notice": NOTICE,
            "made_by": made_by,
            "cases": known.get("cases", {}),
            "failed": {},
        }

    def has(self, key: str, stamp: str) -> bool:
        """Whether the case was completed from the same file, and its files are still there."""
        entry = self.values["cases"].get(key)
        if entry is None or entry["stamp"] != stamp:
            return False
        return all((self.folder / name).exists() for name in entry["files"])

    def add(self, key: str, entry: dict[str, Any]) -> None:
        """Note a complete case (``name``, ``stamp``, ``files``, ``rows``, ...), and write the manifest."""
        self.values["cases"][key] = entry
        self.save()

    def fail(self, key: str, name: str, reason: str) -> None:
        """Note a case that could not be segmented; what an earlier call made of it is forgotten."""
        self.values["cases"].pop(key, None)
        self.values["failed"][key] = {"name": name, "reason": reason}
        self.save()

    def save(self) -> None:
        """Write manifest and table, each whole or not at all; raises ScanError."""
        text = io.StringIO()
        rows = [[case["name"], *row] for case in self.values["cases"].values() for row in case["rows"]]
        csv.writer(text, lineterminator="\n").writerows([["case", *HEADER], *rows])
        try:
            write_atomic(self.folder / TABLE, text.getvalue().encode())
            write_atomic(self._path, (json.dumps(self.values, indent=1) + "\n").encode())
        except OSError as error:
            raise ScanError(f"{self.folder}: cannot be written: {error.strerror or error}") from error

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {}
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            return {"made_by": dict(values["made_by"]), "cases": dict(values["cases"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{self._path}: expected what an earlier segmentation left, got a damaged file"
            ) from error


def entry_of(result: Segmentation, scan: Volume, name: str, stamp: str, files: list[str]) -> dict[str, Any]:
    """Return the manifest's entry of a complete case."""
    _, rows = structure_rows(result.labels, scan, result.classes)
    return {
        "name": name,
        "stamp": stamp,
        "files": files,
        "rows": rows,
        "device": result.device,
        "precision": result.precision,
        "seconds": round(result.seconds, 1),
        "warnings": list(result.warnings),
    }


def _difference(path: Path, old: dict[str, Any], new: dict[str, Any]) -> str:
    name = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return (
        f"{path}: expected {name} {old.get(name)!r}, by which the results there were made, got {new.get(name)!r}; "
        "take another folder or overwrite them"
    )
