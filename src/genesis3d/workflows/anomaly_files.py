"""The files of an anomaly map: volumes on the scan's own grid, a table, and a report that is written last."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GenesisError, ScanError
from genesis3d.events import Event, Saved, Warned
from genesis3d.files import write_atomic
from genesis3d.io import write_volume
from genesis3d.networks.card import library_versions
from genesis3d.workflows.anomaly_map import lung_millilitres, rows
from genesis3d.workflows.anomaly_masks import write_segmentations
from genesis3d.workflows.anomaly_report import REPORTS, report_files

if TYPE_CHECKING:
    from genesis3d.networks.model_file import ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["FILES", "REPORT", "check_folder", "report", "table_text", "write_bytes", "write_map", "write_text"]

REPORT = "report.json"
# Of a map of a CT by a model that restores; probability.nii.gz comes with a model of opacity.
FILES = ("restored.nii.gz", "difference.nii.gz", "score.nii.gz", "mask.nii.gz", "lungs.nii.gz", "baseline.nii.gz",
         "regions.csv", *REPORTS, REPORT)  # fmt: skip
NOTICE = "Research software. Not for clinical use."


def check_folder(out_dir: str | Path) -> Path:
    """Return ``out_dir`` as a folder that exists, made if need be; raises ScanError when it cannot be."""
    folder = Path(out_dir).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScanError(f"{folder}: expected a folder for the results: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK):
        raise ScanError(f"{folder}: expected a folder for the results, it is not writable")
    return folder


def write_map(result: AnomalyMap, out_dir: str | Path) -> Iterator[Event]:
    """Write every file of the map, telling each; the report comes last, so a folder with one is complete.

    Raises
    ------
    ScanError
        When folder or disk do not take them; files already complete stay, a report is then not there.
    """
    folder = check_folder(out_dir)
    (folder / REPORT).unlink(missing_ok=True)
    for name, volume in _volumes(result).items():
        yield Saved(path=str(write_volume(_stored(volume), folder / name)), what=name)
    yield from _segmentations(result, folder)
    files = {"regions.csv": table_text(result).encode()} | report_files(result)
    files[REPORT] = (json.dumps(report(result), indent=2) + "\n").encode()
    for name, content in files.items():
        write_bytes(folder / name, content)
        yield Saved(path=str(folder / name), what=name)


def _segmentations(result: AnomalyMap, folder: Path) -> Iterator[Event]:
    """Write what DICOM Segmentations there can be; a series whose headers do not allow for them costs no map."""
    try:
        for path in write_segmentations(result, folder):
            yield Saved(path=str(path), what=path.name)
    except GenesisError as error:
        yield Warned(message=f"the masks are not written as DICOM SEG, only as NIfTI: {error}")


def _volumes(result: AnomalyMap) -> dict[str, Volume]:
    """Return what there is of the map, by the name of its file, in the order of :data:`FILES`."""
    mask = result.labels.with_data((result.labels.data > 0).astype(np.uint8))
    found = {
        "restored": result.restored, "difference": result.difference, "score": result.score, "mask": mask,
        "lungs": result.lungs, "baseline": result.baseline, "probability": result.probability,
    }  # fmt: skip
    return {f"{name}.nii.gz": volume for name, volume in found.items() if volume is not None}


def table_text(result: AnomalyMap) -> str:
    """Return the table of regions as CSV."""
    header, table = rows(result.regions, result.scan.unit, result.recipe.unit == "probability")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *table])
    return text.getvalue()


def report(result: AnomalyMap) -> dict[str, Any]:
    """Return what was done and found, as plain values: no path and nothing of the patient but the scan's file name."""
    scan, lungs = result.scan, lung_millilitres(result.lungs)
    whole, flagged = sum(lungs.values()), sum(item.region.volume_ml for item in result.regions)
    return {
        "schema_version": 1,
        "notice": NOTICE,
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "scan": {
            "name": scan.name,
            "modality": scan.modality,
            "unit": scan.unit,
            "shape_zyx": list(scan.as_source().geometry.shape),
            "spacing_zyx_mm": list(scan.as_source().geometry.spacing),
        },
        "model": None if result.card is None else _model(result.card),
        "recipe": result.recipe.to_dict(),
        "settings": result.settings.model_dump(mode="json", include=set(result.settings_fields)),
        "lungs_from": result.lungs_from,
        "threshold": {"value": result.threshold, "unit": _unit(result)},
        "healthy": _healthy(result),
        "totals": {
            "lungs_ml": round(whole, 2),
            "left_ml": round(lungs["left"], 2),
            "right_ml": round(lungs["right"], 2),
            "flagged_ml": round(flagged, 3),
            "flagged_percent": round(100 * flagged / whole, 3),
            "regions": len(result.regions),
            "mean_score": _mean_inside(result.score, result.lungs),
        },
        "warnings": list(result.warnings),
        "run": {"device": result.device, "precision": result.precision, "seconds": round(result.seconds, 1)},
        "files": [*_volumes(result), "regions.csv", *REPORTS, REPORT],
        "versions": library_versions(),
    }


def _healthy(result: AnomalyMap) -> dict[str, Any] | None:
    """Return what the model's calibration says of the threshold and the scan; None without one."""
    known = result.calibration
    if known is None:
        return None
    seen = replace(result.scored, score=result.score)
    return {
        "scans": known.scans,
        "flagged_percent_of_healthy_lung": round(100 * known.flag_rate(result.threshold), 4),
        "scan_p": round(known.scan_p(result.scene, seen, result.threshold), 4),
    }


def _unit(result: AnomalyMap) -> str:
    return "probability" if result.recipe.unit == "probability" else result.scan.unit or "value"


def _model(card: ModelCard) -> dict[str, Any]:
    known = card.to_dict()
    kept = ("title", "network", "task", "activation", "intensity", "patch", "spacing", "step", "metrics", "licence",
            "created")  # fmt: skip
    return {key: known[key] for key in kept}


def _mean_inside(score: Volume, lungs: Volume) -> float:
    return round(float(score.data[lungs.data > 0].mean(dtype=np.float64)), 4)


def _stored(volume: Volume) -> Volume:
    """CT in whole HU, as scans are stored: a quarter of the size, and compressed in a tenth of the time."""
    if volume.unit != "HU" or volume.data.dtype.kind != "f":
        return volume
    whole = np.empty(volume.data.shape, np.int16)
    for part, out in zip(volume.data, whole, strict=True):
        np.rint(part, out=out, casting="unsafe")
    return replace(volume, data=whole)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, whole or not at all; raises ScanError."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all; raises ScanError."""
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
