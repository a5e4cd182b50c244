"""Two folders that ``genesis3d anomaly`` wrote, compared into a third."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Finished, Saved, keep_running
from genesis3d.io import read_volume, write_volume
from genesis3d.io.itk_filters.regions import find_regions
from genesis3d.networks.card import library_versions
from genesis3d.workflows.anomaly_dates import DateComparison, compare_dates
from genesis3d.workflows.anomaly_dates_config import DatesSettings
from genesis3d.workflows.anomaly_dates_regions import change_rows
from genesis3d.workflows.anomaly_dates_report import DATES_REPORTS, dates_files, totals
from genesis3d.workflows.anomaly_files import NOTICE, REPORT, check_folder, write_bytes

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly_dates_config import DatesConfig

__all__ = ["DATES", "DATES_FILES", "StoredMap", "compare_folders", "read_map", "write_dates"]

DATES = "dates.json"
DATES_FILES = ("second_on_first.nii.gz", "second_mask_on_first.nii.gz", "change.nii.gz", "changes.csv", *DATES_REPORTS,
               DATES)  # fmt: skip


@dataclass(frozen=True)
class StoredCard:
    """What a folder says of its model."""

    title: str


@dataclass(frozen=True, eq=False)
class StoredMap:
    """A map read back from its folder, canonical: what a comparison needs of it."""

    scan: Volume
    lungs: Volume
    score: Volume
    labels: Volume
    threshold: float
    recipe: str
    card: StoredCard | None


def read_map(folder: str | Path, scan: str | Path | None = None) -> StoredMap:
    """Return the map that ``genesis3d anomaly`` wrote into ``folder``.

    Parameters
    ----------
    scan : file or folder of the scan; None: restored plus difference, which is the scan clipped to the model's range

    Raises
    ------
    ScanError
        When the folder is not complete, or its files do not lie on one grid.
    """
    folder = Path(folder).expanduser()
    values = _report(folder)
    names = ("score", "mask", "lungs")
    score, mask, lungs = (read_volume(folder / f"{name}.nii.gz").canonical() for name in names)
    shown = _scan(folder, values, score) if scan is None else read_volume(scan).canonical()
    for name, volume in (*zip(names[1:], (mask, lungs), strict=True), ("scan", shown)):
        if not volume.geometry.matches(score.geometry, tolerance_mm=0.05):
            raise ScanError(f"{folder}: expected {name} on the grid of the score, got {volume.geometry.describe()}")
    labels, _ = find_regions(mask, {})
    marked = lungs.with_data(lungs.data.astype(np.uint8))
    model, recipe = values.get("model"), values.get("recipe") or {}
    card = StoredCard(str(model["title"])) if model else None
    threshold = float(values["threshold"]["value"])
    return StoredMap(shown, marked, score, labels, threshold, str(recipe.get("name", "")), card)


def compare_folders(config: DatesConfig, control: Control = keep_running) -> Iterator[Event]:
    """Compare two folders of maps and write :data:`DATES_FILES`; nothing is written when stopped.

    Raises
    ------
    ScanError, DomainError
        One sentence on a folder, or on two scans that do not fit each other.
    """
    folder = check_folder(config.out_dir)
    first, second = read_map(config.first, config.first_scan), read_map(config.second, config.second_scan)
    result = yield from compare_dates(first, second, control, config)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield from write_dates(result, folder)
    yield Finished(result=_summary(result))


def write_dates(result: DateComparison, out_dir: str | Path) -> Iterator[Event]:
    """Write every file of :data:`DATES_FILES`, telling each; ``dates.json`` comes last.

    Raises
    ------
    ScanError
        When folder or disk do not take them.
    """
    folder = check_folder(out_dir)
    (folder / DATES).unlink(missing_ok=True)
    mask = result.labels.with_data((result.labels.data > 0).astype(np.uint8))
    for name, volume in zip(DATES_FILES, (_whole(result.scan), mask, result.change), strict=False):
        yield Saved(path=str(write_volume(volume, folder / name)), what=name)
    header, rows = change_rows(result.regions)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    files = {"changes.csv": text.getvalue().encode()} | dates_files(result)
    files[DATES] = (json.dumps(_record(result), indent=2) + "\n").encode()
    for name, content in files.items():
        write_bytes(folder / name, content)
        yield Saved(path=str(folder / name), what=name)


def _record(result: DateComparison) -> dict[str, Any]:
    found = result.registration
    return {
        "schema_version": 1,
        "notice": NOTICE,
        "scans": [result.first.scan.name, result.second.scan.name],
        "totals": {name: round(value, 3) for name, value in totals(result).items()},
        "regions": _summary(result),
        "registration": {"motion": found.motion, "matrix_spl": [list(row) for row in found.matrix], "dice": found.dice,
                         "dice_before": found.dice_before, "surface_mm": found.surface_mm},
        "settings": result.settings.model_dump(mode="json", include=set(DatesSettings.model_fields)),
        "warnings": list(result.warnings),
        "files": list(DATES_FILES),
        "versions": library_versions(),
    }  # fmt: skip


def _summary(result: DateComparison) -> dict[str, Any]:
    states = [one.state for one in result.regions]
    counted = {state: states.count(state) for state in dict.fromkeys(states)}
    return counted | {"dice": round(result.registration.dice, 3)}


def _report(folder: Path) -> dict[str, Any]:
    path = folder / REPORT
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScanError(
            f"{folder}: expected a folder that genesis3d anomaly completed, its {REPORT} is missing or damaged"
        ) from error
    if not isinstance(values, dict) or "threshold" not in values:
        raise ScanError(f"{path}: expected the report of an anomaly map, got another file")
    return values


def _scan(folder: Path, values: dict[str, Any], score: Volume) -> Volume:
    about = values.get("scan", {})
    known = {"name": str(about.get("name", folder.name)), "modality": about.get("modality"), "unit": about.get("unit")}
    if not (folder / "restored.nii.gz").is_file():
        raise ScanError(
            f"{folder}: expected the scan, too, of a map made without a model: give it as first_scan or second_scan"
        )
    restored, difference = (read_volume(folder / f"{name}.nii.gz").canonical() for name in ("restored", "difference"))
    data = restored.data[:1].astype(np.float32) + difference.data[:1]
    return score.with_data(data, **known, notes=(), source=None, series=None)


def _whole(volume: Volume) -> Volume:
    return volume.with_data(np.rint(volume.data).astype(np.int16)) if volume.unit == "HU" else volume
