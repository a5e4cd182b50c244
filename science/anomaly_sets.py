"""The scans that anomaly maps are measured on: COVID-19 lesions, inserted opacities, healthy scans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lidc_nodules import write_excluded

from genesis3d.data.inserted import Insertion, inserted
from genesis3d.errors import RunError
from genesis3d.evaluation.anomaly import anomaly_figures
from genesis3d.io import read_volume, write_volume
from genesis3d.io.itk_filters.median import median
from genesis3d.workflows.evaluate_anomaly_cases import anomaly_cases
from genesis3d.workflows.evaluate_anomaly_config import EvaluateAnomalyConfig
from genesis3d.workflows.lungs import find_lungs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from genesis3d.volume import Volume

PLAIN = "HU, median 5x5x3, > -700"
HOSTS = ("lidc-0002", "lidc-0001", "normal-001")  # what opacities are put into
SHARES = (30, 50, 70, 90)  # % of a lung
WIDE_CONTRASTS = (150, 250, 400, 600)  # HU, every scan another with every share
CONTRASTS = (100, 200, 400)  # HU of regions
REGIONS, REGIONS_ML = 4, 60.0


@dataclass(frozen=True)
class ScanSet:
    """Scans of one kind with their masks (folders or patterns); ``held_out``: scored by models trained without them."""

    name: str
    scans: str
    lesions: str | None = None
    lungs: str | None = None
    excluded: str | None = None
    held_out: bool = False


def scan_sets(data: Path, work: Path, quick: bool) -> dict[str, Callable[[], ScanSet]]:
    """Return the sets by name, each made under ``work`` when called; ``quick`` leaves one scan of each kind."""
    chest, private = data / "open" / "chest_ct", data / "internal" / "chest_ct"
    healthy = {
        "lidc-0002": chest / "lidc-0002.nii.gz",
        "lidc-0001": data / "open" / "dicom" / "lidc-0001.zip",
        "popi-00": chest / "popi-00.nii.gz",
    }
    others = {name: private / f"covid-ct-md-{name}.nii.gz" for name in ("normal-001", "covid-001", "cap-001")}
    if quick:
        healthy, others = dict(list(healthy.items())[:1]), dict(list(others.items())[:1])
    hosts = {name: path for name, path in (healthy | others).items() if name in HOSTS}
    return {
        "covid": lambda: covid_set(data, "1" if quick else "?"),
        "healthy": lambda: healthy_set(data, work, healthy),
        "others": lambda: ScanSet("others", linked(others, work / "others")),
        "wide": lambda: inserted_set("wide", data, work, hosts, quick),
        "regions": lambda: inserted_set("regions", data, work, hosts, quick),
    }


def covid_set(data: Path, which: str) -> ScanSet:
    """Return the scans with lesions of patients; ``which``: a number, or ? for all."""
    stem = data / "internal" / "covid_lesion_masks" / f"medseg-{which}"
    return ScanSet("covid", f"{stem}.nii.gz", f"{stem}_lesion.nii.gz", f"{stem}_lung.nii.gz")


def healthy_set(data: Path, work: Path, scans: dict[str, Path]) -> ScanSet:
    """Return the scans without opacity, with what of them counts nowhere."""
    folder = work / "healthy"
    linked({name: path for name, path in excluded(data, work).items() if name in scans}, folder, "_excluded")
    return ScanSet("healthy", linked(scans, folder), excluded=str(folder / "*_excluded.nii.gz"), held_out=True)


def inserted_set(kind: str, data: Path, work: Path, hosts: dict[str, Path], quick: bool) -> ScanSet:
    """Return scans with opacities put into ``hosts``, ``kind`` wide or regions."""
    folder = work / kind
    write_inserted(kind, hosts, folder, excluded(data, work), quick)
    masks = [str(folder / f"*_{what}.nii.gz") for what in ("lesion", "lung", "excluded")]
    return ScanSet(kind, str(folder / "*-scan.nii.gz"), *masks, held_out=True)


def excluded(data: Path, work: Path) -> dict[str, Path]:
    """Return masks of nodules and the like by scan, written once."""
    folder = work / "excluded"
    if not (folder / "popi-00_excluded.nii.gz").is_file():  # the last one written
        write_excluded(data / "open", folder)
    return {name: folder / f"{name}_excluded.nii.gz" for name in ("lidc-0001", "lidc-0002", "popi-00")}


def linked(files: dict[str, Path], folder: Path, ending: str = "") -> str:
    """Return ``folder`` with a link to each file, called by its key."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in files.items():
        if not path.exists():
            raise RunError(f"{path}: expected a scan, found nothing there")
        suffix = ".zip" if path.suffix == ".zip" else ".nii.gz"
        link = folder / f"{name}{ending}{suffix}"
        if not link.is_symlink():
            link.symlink_to(path.absolute())
    return str(folder)


def write_inserted(kind: str, hosts: dict[str, Path], folder: Path, masks: dict[str, Path], quick: bool) -> None:
    """Write scans with inserted opacities, called HOST-SHARE-CONTRAST-scan or HOST-CONTRAST-scan, and their masks."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (host, path) in enumerate(hosts.items()):
        wanted = list(_wide(number) if kind == "wide" else _regions())[: 1 if quick else None]
        names = {f"{host}-{what}-scan": (settings, seed + number) for what, settings, seed in wanted}
        missing = {name: one for name, one in names.items() if not (folder / f"{name}.nii.gz").is_file()}
        if not missing:
            continue
        scan = read_volume(path).canonical()
        lungs = find_lungs(scan).mask
        for name, (settings, seed) in missing.items():
            changed, opacity = inserted(scan, lungs, settings, seed)
            write_volume(opacity, folder / f"{name}_lesion.nii.gz", labels=True)
            write_volume(lungs, folder / f"{name}_lung.nii.gz", labels=True)
            if host in masks:
                linked({name: masks[host]}, folder, "_excluded")
            write_volume(changed, folder / f"{name}.nii.gz")
            print(f"made {name}", flush=True)


def _wide(number: int) -> Iterator[tuple[str, Insertion, int]]:
    for place, share in enumerate(SHARES):
        contrast = WIDE_CONTRASTS[(place + number) % len(WIDE_CONTRASTS)]
        yield f"{share}-{contrast}", Insertion(share_percent=share, contrast=contrast, gravity=0.5), 100 + 10 * place


def _regions() -> Iterator[tuple[str, Insertion, int]]:
    for place, contrast in enumerate(CONTRASTS):
        settings = Insertion(volume_ml=REGIONS_ML, regions=REGIONS, contrast=contrast, gravity=0.2)
        yield str(contrast), settings, 200 + 10 * place


def plain_rows(config: EvaluateAnomalyConfig) -> Iterator[dict[str, Any]]:
    """Yield rows as of ``evaluate anomaly`` for the plainest score of all: a median of 5x5x3 voxels, above -700 HU."""
    for case in anomaly_cases(config)[0]:
        scan = case.case.load()
        truth = case.truth(scan)
        smooth = scan.with_data(median(scan.data[0], (1, 2, 2)))
        masks = {"given": truth.lungs} if truth.lungs is not None else {}
        if config.own or not masks:
            masks["own"] = find_lungs(scan).mask
        for source, lungs in masks.items():
            score = _inside(smooth, lungs)
            flagged = score.with_data((score.data > -700).astype(np.uint8))
            figures = anomaly_figures(score, flagged, lungs, truth, -700.0)
            group = "without lesions given" if truth.lesions is None else "lesions"
            yield {"case": case.name, "lungs": source, "method": PLAIN, "group": group} | figures


def _inside(score: Volume, lungs: Volume | None) -> Volume:
    assert lungs is not None
    return score.with_data(np.where(lungs.data > 0, score.data, np.float32(-1024)))
