"""What a folder of anomaly maps keeps of itself: by what its maps were made, which are complete, one table of all."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from genesis3d.errors import ConfigError, ScanError
from genesis3d.files import write_atomic
from genesis3d.workflows.anomaly_files import NOTICE, REPORT

__all__ = ["RECORD", "SUMMARY", "BatchRecord"]

RECORD, SUMMARY = "batch.json", "summary.csv"
TOTALS = ("lungs_ml", "left_ml", "right_ml", "flagged_ml", "flagged_percent", "regions", "mean_score")
HEADER = ("scan", "state", *TOTALS, "threshold", "unit", "warnings", "reason")


class BatchRecord:
    """``batch.json`` and ``summary.csv`` of a folder: model and settings, and its scans as they became complete.

    Parameters
    ----------
    folder : of the results, which holds a folder a scan
    made_by : plain values of what decides the results: model and settings
    overwrite : take a folder over that was made by something else; all its scans are then computed again

    Raises
    ------
    ConfigError
        When the folder holds results of something else and ``overwrite`` is not set, or its record is damaged.
    """

    def __init__(self, folder: Path, made_by: dict[str, Any], overwrite: bool = False) -> None:
        self.folder, self.summary = folder, folder / SUMMARY
        self._path = folder / RECORD
        known = self._read()
        # as it will be read back: tuples are lists in a file
        made_by = json.loads(json.dumps(made_by))
        if known and known["made_by"] != made_by:
            if not overwrite:
                raise ConfigError(_difference(self._path, known["made_by"], made_by))
            known = {}
        self.values: dict[str, Any] = {"schema_version": 1, "notice": NOTICE, "made_by": made_by,
                                       "cases": known.get("cases", {}), "failed": {}}  # fmt: skip

    def has(self, key: str, stamp: str) -> bool:
        """Whether the scan was mapped from the same file, and its report is still there."""
        entry = self.values["cases"].get(key)
        return entry is not None and entry["stamp"] == stamp and (self.folder / entry["name"] / REPORT).is_file()

    def add(self, key: str, name: str, stamp: str) -> None:
        """Note a complete scan, and write record and table."""
        self.values["cases"][key] = {"name": name, "stamp": stamp}
        self.save()

    def fail(self, key: str, name: str, reason: str) -> None:
        """Note a scan that could not be mapped."""
        self.values["cases"].pop(key, None)
        self.values["failed"][key] = {"name": name, "reason": reason}
        self.save()

    def save(self) -> None:
        """Write record and table, each whole or not at all; raises ScanError."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEADER, *self._rows()])
        try:
            write_atomic(self.summary, text.getvalue().encode())
            write_atomic(self._path, (json.dumps(self.values, indent=1) + "\n").encode())
        except OSError as error:
            raise ScanError(f"{self.folder}: cannot be written: {error.strerror or error}") from error

    def _rows(self) -> list[list[Any]]:
        rows = []
        for entry in self.values["cases"].values():
            report = _report(self.folder / entry["name"] / REPORT)
            if report is not None:
                totals, threshold = report["totals"], report["threshold"]
                rows.append([entry["name"], "complete", *(totals[name] for name in TOTALS), threshold["value"],
                             threshold["unit"], len(report["warnings"]), ""])  # fmt: skip
        blank = [""] * (len(HEADER) - 3)
        rows += [[entry["name"], "failed", *blank, entry["reason"]] for entry in self.values["failed"].values()]
        return sorted(rows, key=lambda row: str(row[0]))

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {}
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            return {"made_by": dict(values["made_by"]), "cases": dict(values["cases"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self._path}: expected what earlier maps left, got a damaged file") from error


def _report(path: Path) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values


def _difference(path: Path, old: dict[str, Any], new: dict[str, Any]) -> str:
    name = next(key for key in {**old, **new} if old.get(key) != new.get(key))
    return (
        f"{path}: expected {name} {old.get(name)!r}, by which the maps there were made, got {new.get(name)!r}; "
        "take another folder or overwrite them"
    )
