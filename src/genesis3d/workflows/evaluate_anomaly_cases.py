"""The cases of an evaluation of anomaly maps: scans and the masks that are called like them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.cases import Case, find_cases
from genesis3d.errors import GeometryError, ScanError
from genesis3d.evaluation.anomaly import Truth
from genesis3d.workflows.evaluate_pairs import ENDINGS, owner, stem

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.evaluate_anomaly_config import EvaluateAnomalyConfig

__all__ = ["AnomalyCase", "anomaly_cases"]

MASKS = ("lesions", "lungs", "excluded")


@dataclass(frozen=True)
class AnomalyCase:
    """A scan and the files of its masks, None where there is none."""

    case: Case
    lesions: Path | None = None
    lungs: Path | None = None
    excluded: Path | None = None

    @property
    def name(self) -> str:
        """The scan's file name without its ending."""
        return self.case.name

    def stamp(self) -> list[list[int]]:
        """Return what changes when one of the files does."""
        paths = [None if self.case.path is None else Path(self.case.path), self.lesions, self.lungs, self.excluded]
        stats = [None if path is None else path.stat() for path in paths]
        return [[] if one is None else [one.st_mtime_ns, one.st_size] for one in stats]

    def truth(self, scan: Volume) -> Truth:
        """Read the masks; raises ScanError, or GeometryError for another grid than that of ``scan``."""
        masks = {what: getattr(self, what) for what in MASKS}
        return Truth(**{what: _mask(path, scan) for what, path in masks.items() if path is not None})


def anomaly_cases(config: EvaluateAnomalyConfig) -> tuple[list[AnomalyCase], list[str]]:
    """Return the cases in order, and sentences on scans taken as healthy and masks without a scan.

    Raises
    ------
    ScanError
        When a folder is not there, no scan is found, or none of the masks given fits one.
    """
    files = {what: _files(getattr(config, what), what) for what in MASKS}
    masks = {path.resolve() for found in files.values() for path in found}
    scans = find_cases(_expanded(config.scans, "scans"))
    cases = [case for case in scans if case.path is None or Path(case.path).resolve() not in masks]
    if not cases:
        raise ScanError(f"{config.scans}: expected scans, found masks alone")
    names, said = [case.name for case in cases], list(scans.skipped)
    partners: dict[str, dict[str, Path]] = {}
    for what, found in files.items():
        partners[what] = {owner(stem(path), names): path for path in found}
        if found and not any(partners[what]):
            raise ScanError(f"{getattr(config, what)}: expected {what} called as the scans, such as {names[0]}")
        said += [f"{path.name}: belongs to no scan" for path in found if not owner(stem(path), names)]
    if config.lesions:
        said += [f"{name}: no lesions are given, it is taken as healthy" for name in names
                 if name not in partners["lesions"]]  # fmt: skip
    return [AnomalyCase(case, *(partners[what].get(case.name) for what in MASKS)) for case in cases], said


def _expanded(text: str, what: str) -> list[Path]:
    if not any(sign in text for sign in "*?["):
        if not Path(text).expanduser().exists():
            raise ScanError(f"{text}: expected {what}, found nothing there")
        return [Path(text).expanduser()]
    found = sorted(Path(path) for path in glob(str(Path(text).expanduser())))
    if not found:
        raise ScanError(f"{text}: expected {what}, no file is called so")
    return found


def _files(text: str | None, what: str) -> list[Path]:
    if text is None:
        return []
    paths: Iterable[Path] = _expanded(text, what)
    inside = [sorted(path.rglob("*")) if path.is_dir() else [path] for path in paths]
    return [path for found in inside for path in found if path.name.lower().endswith(ENDINGS) and path.is_file()]


def _mask(path: Path, scan: Volume) -> Volume:
    from genesis3d.io import read_volume

    mask = read_volume(path).canonical()
    if mask.channels != 1 or not mask.geometry.matches(scan.geometry, tolerance_mm=0.05):
        raise GeometryError(
            f"{path.name}: expected a mask on the grid of {scan.name} ({scan.geometry.describe()}), "
            f"got another one ({mask.geometry.describe()})"
        )
    labels = np.nan_to_num(mask.data).round().clip(0, 255).astype(np.uint8)
    return scan.with_data(labels, modality=None, unit=None, name=path.name, notes=())
