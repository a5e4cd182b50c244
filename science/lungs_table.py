"""Measure how the lungs are found: by rules, by the network that ships, and by both together.

python science/lungs_table.py DATA [--only NAME...]

DATA holds open/ and internal/.  Writes science/results/lungs.json and the table of docs/lungs.md; with --only, the
figures of the other scans stay as they are.  The network was trained on the scans of open/chest_ct and on lidc-0001,
but for those its configuration leaves out; on no other.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import DOCS, ROOT, run_command, training_scans

from genesis3d.errors import DomainError, ScanError
from genesis3d.files import write_atomic
from genesis3d.io.read import read_volume
from genesis3d.workflows.lungs import Method, find_lungs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Mask = NDArray[np.bool_]
    Record = dict[str, Any]

RESULTS = ROOT / "science" / "results" / "lungs.json"
PAGE = DOCS / "lungs.md"
BEGIN, END = "<!-- made by science/lungs_table.py -->", "<!-- end -->"
WAYS: tuple[Method, ...] = ("classical", "network", "auto")
TUMOUR = 3  # label in the planning CTs
HEADER = (
    "| scan | lesion kept: rules, network, auto | Dice with given lungs | Dice with the rules' mask: network, auto "
    "| seconds | said of auto |",
    "|---|---|---|---|---|---|",
)


def cases(data: Path) -> dict[str, tuple[Path, Path | None, Path | None]]:
    """Return scan, given lungs and lesions (or None) by name."""
    folder, series = (Path(path) for path in training_scans(data / "open"))
    internal = data / "internal"
    plain = [*sorted(folder.glob("*.nii.gz")), series, *sorted((internal / "chest_ct").glob("*.nii.gz"))]
    found: dict[str, tuple[Path, Path | None, Path | None]] = {_name(path): (path, None, None) for path in plain}
    for lungs in sorted((internal / "chest_ct_lung_masks").glob("*_mask.nii.gz")):
        scan = lungs.with_name(lungs.name.replace("_mask", ""))
        found[_name(scan)] = (scan, lungs, None)
    for lesion in sorted((internal / "covid_lesion_masks").glob("*_lesion.nii.gz")):
        scan, lungs = (lesion.with_name(lesion.name.replace("_lesion", part)) for part in ("", "_lung"))
        found[_name(scan)] = (scan, lungs, lesion)
    return found


def _name(path: Path) -> str:
    return path.name.partition(".")[0]


def measured(scan: Volume, given: Volume | None, lesion: Volume | None) -> Record:
    """Return the figures of one scan for each way of finding its lungs."""
    masks: dict[Method, Mask] = {}
    record: Record = {"seconds": {}, "said": []}
    for way in WAYS:
        began, cpu = time.perf_counter(), time.process_time()
        try:
            found = find_lungs(scan, way)
        except DomainError as error:
            record["said"].append(f"{way}: {error}")
            continue
        record["seconds"][way] = [time.perf_counter() - began, time.process_time() - cpu]
        masks[way] = found.mask.data[0] > 0
        if way == "auto":
            record["said"] += found.warnings
    if lesion is not None:
        ill = lesion.data[0] > 0
        record["kept"] = {way: float(mask[ill].mean()) for way, mask in masks.items()}
    if given is not None:
        lungs = (given.data[0] > 0) & (given.data[0] != TUMOUR)
        tumour = given.data[0] == TUMOUR
        record["dice"] = {way: dice(mask & ~tumour, lungs) for way, mask in masks.items()}
    if "classical" in masks:
        record["like rules"] = {way: dice(mask, masks["classical"]) for way, mask in masks.items()}
    return record


def dice(a: Mask, b: Mask) -> float:
    """Return the Dice overlap of two masks that are not both empty."""
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def row(name: str, record: Record) -> str:
    """Return a line of the table; seconds are of the processor, for ``auto``."""
    kept = _listed(record.get("kept"), WAYS, 1000, "{:.1f} %", 10)
    given = _listed(record.get("dice"), WAYS, 1, "{:.3f}", 1)
    like = _listed(record.get("like rules"), WAYS[1:], 1, "{:.3f}", 1)
    seconds = record["seconds"].get("auto")
    said = " ".join(record["said"]).replace("|", "/")
    return (
        f"| {name} | {kept} | {given} | {like} | {seconds[1]:.1f} | {said} |" if seconds else f"| {name} |||||{said} |"
    )


def _listed(figures: dict[str, float] | None, ways: tuple[Method, ...], factor: float, form: str, by: float) -> str:
    if not figures:
        return ""
    return ", ".join(form.format(figures[way] * factor / by) if way in figures else "none" for way in ways)


def write_page(records: Record) -> None:
    """Put the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ScanError(f"{PAGE}: expected the lines {BEGIN} and {END} around the table")
    table = "\n".join([*HEADER, *(row(name, record) for name, record in records.items())])
    write_atomic(PAGE, f"{before}{BEGIN}\n{table}\n{END}{after}".encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with open/ and internal/")
    parser.add_argument("--only", nargs="*", help="names of scans; default: all")
    given = parser.parse_args()
    records: Record = (
        json.loads(RESULTS.read_text(encoding="utf-8")) if given.only is not None and RESULTS.exists() else {}
    )
    for name, paths in cases(given.data).items():
        if given.only is None or name in given.only:
            volumes = [None if path is None else read_volume(path).canonical() for path in paths]
            scan, lungs, lesion = volumes
            assert scan is not None
            records[name] = measured(scan, lungs, lesion)
            print(row(name, records[name]), flush=True)
            write_atomic(RESULTS, (json.dumps(records, indent=1) + "\n").encode())
    write_page(records)


if __name__ == "__main__":
    run_command(main)
