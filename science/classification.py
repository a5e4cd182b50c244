"""Sub-volumes to classify, healthy or opacified: of phantoms, and of real lungs with opacities put in.

python science/classification.py CHEST OUT

CHEST is the folder chest that science/chest_targets.py writes.  Writes OUT/phantom and OUT/open: scans, and
targets.csv with boxes of 16 x 48 x 48 voxels, each place once healthy and once opacified.  Patients are scans, or
phantoms.  science/classification.yaml says how both are fine-tuned.
"""

from __future__ import annotations

import argparse
import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from chest_targets import cut, lungs_alone
from common import run_command
from opacities import LOW, SPAN, depth_in, lungs_of, unit, with_opacities

from genesis3d.data.phantoms import thorax, thorax_with_opacity
from genesis3d.files import write_atomic
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.io.read import read_volume
from genesis3d.io.write import write_volume
from genesis3d.rng import Address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

BOX = (16, 48, 48)
PLACES = 12  # boxes of each scan
PHANTOMS = 9
LEAST_LUNG, LEAST_OPACITY = 0.15, 0.10  # of the box, and of the lung in it


@dataclass(frozen=True, eq=False)
class Pair:
    """A patient twice on one grid: healthy and with opacities, which cover ``inside``."""

    patient: str
    healthy: Volume
    opacified: Volume
    inside: NDArray[np.bool_]


def phantom(seed: int) -> Pair:
    """Return a thorax phantom without and with ground glass."""
    shape, spacing = (48, 160, 160), (6.0, 2.4, 2.4)
    sick, labels = thorax_with_opacity(shape, spacing, seed)
    healthy = thorax(shape, spacing, seed)
    lungs = lung_mask(healthy).mask
    inside = lungs.with_data((labels.data > 0).astype(np.uint8))
    alone = [lungs_alone(volume, lungs) for volume in (healthy, sick)]
    alone = [volume.with_data(volume.data.round().astype(np.int16)) for volume in alone]
    return Pair(f"phantom-{seed}", *alone, cut(inside, lungs).data[0] > 0)


def real(path: Path, seed: int) -> Pair:
    """Return the scan at ``path`` as it is and with opacities in its lungs."""
    scan = read_volume(path).canonical()
    rng = (Address(seed) / path.name).generator()
    values = unit(scan.data[0])
    lungs = lungs_of(values)
    depth = depth_in(lungs, scan.geometry.spacing)
    changed, weight = values, np.zeros_like(values)
    while (weight[lungs] > 0.5).mean() < LEAST_OPACITY:
        changed, more = with_opacities(rng, changed, lungs.astype(np.float32), depth, scan.geometry.spacing)
        weight = np.maximum(weight, more)
    hu = np.where(weight > 0, changed * SPAN + LOW, scan.data[0]).round().astype(np.int16)
    return Pair(path.name.partition(".")[0], scan, scan.with_data(hu[None]), weight > 0.5)


def places(pair: Pair, seed: int) -> list[tuple[int, ...]]:
    """Return first voxels of boxes that hold enough lung, and enough of it opacified."""
    lungs, rng = lungs_of(unit(pair.healthy.data[0])), (Address(seed) / pair.patient).generator()
    room = [n - b for n, b in zip(lungs.shape, BOX, strict=True)]
    found: list[tuple[int, ...]] = []
    if min(room) < 0:
        return found
    for start in rng.integers(0, np.array(room) + 1, size=(2000, 3)).tolist():
        box = tuple(slice(s, s + b) for s, b in zip(start, BOX, strict=True))
        lung = int(lungs[box].sum())
        if lung >= LEAST_LUNG * np.prod(BOX) and (lungs[box] & pair.inside[box]).sum() >= LEAST_OPACITY * lung:
            found.append(tuple(start))
        if len(found) == PLACES:
            break
    return found


def write(pairs: list[Pair], out: Path, seed: int) -> int:
    """Write the scans of ``pairs`` and the table of their boxes; return the number of boxes."""
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[Any]] = []
    for pair in pairs:
        starts = places(pair, seed)
        for name, volume in (("healthy", pair.healthy), ("opacified", pair.opacified)):
            path = write_volume(volume, out / f"{pair.patient}-{name}.nii.gz")
            rows += [[path.name, name, *start, pair.patient] for start in starts]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["path", "class", "start_d", "start_h", "start_w", "patient"])
    table.writerows(rows)
    write_atomic(out / "targets.csv", text.getvalue().encode())
    return len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chest", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scans = sorted(given.chest.glob("*.nii.gz"))
    print("phantom", write([phantom(seed) for seed in range(PHANTOMS)], given.out / "phantom", given.seed), "boxes")
    print("open", write([real(path, given.seed) for path in scans], given.out / "open", given.seed), "boxes")


if __name__ == "__main__":
    run_command(main)
