"""Chest CT as the label studies need it: lungs alone, 6 x 2 x 2 mm voxels, cut to their box.

python science/chest_targets.py DATA OUT

DATA holds open/chest_ct, open/dicom/lidc-0001.zip and, for the target, internal/covid_lesion_masks.  Writes
OUT/chest/*.nii.gz (unlabelled) and OUT/covid/images, labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from common import run_command, training_scans

from genesis3d.errors import DomainError
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.io.itk_filters.resample import resampled
from genesis3d.io.read import read_volume
from genesis3d.io.write import write_volume

if TYPE_CHECKING:
    from genesis3d.volume import Volume

SPACING = (6.0, 2.0, 2.0)  # mm
MARGIN = 12.0  # mm kept around the lungs


OUTSIDE = -1000.0  # HU of what is no lung


def lungs_alone(volume: Volume, inside: Volume) -> Volume:
    """Return a CT that is air but for the lungs: where ``inside``, on the same grid, is above 0."""
    return cut(volume.with_data(np.where(inside.data > 0, volume.data, OUTSIDE).astype(np.float32)), inside)


def cut(volume: Volume, inside: Volume) -> Volume:
    """Return ``volume`` in the box of ``inside`` above 0, on the same grid, and MARGIN around it."""
    start, size = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero((inside.data[0] > 0).any(axis=others))
        margin = round(MARGIN / volume.geometry.spacing[axis])
        first = max(0, int(found[0]) - margin)
        start.append(first)
        size.append(min(volume.geometry.shape[axis], int(found[-1]) + 1 + margin) - first)
    return volume.crop((start[0], start[1], start[2]), (size[0], size[1], size[2]))


def mask(path: Path) -> Volume:
    """Return the mask at ``path`` as 0 and 1, canonical."""
    volume = read_volume(path).canonical()
    return volume.with_data((volume.data > 0).astype(np.uint8))


def write_open(data: Path, out: Path) -> None:
    """Write the unlabelled scans; one in which no lung is found is left out, with a word."""
    folder, series = (Path(p) for p in training_scans(data / "open"))
    for path in [*sorted(folder.glob("*.nii.gz")), series]:
        name, scan = path.name.partition(".")[0], read_volume(path).canonical()
        try:
            scan = lungs_alone(scan, lung_mask(scan).mask)
        except DomainError as error:
            print(f"left out: {error}")
            continue
        made = resampled(scan, SPACING)
        clipped = made.data.clip(-1024, 1500).round().astype(np.int16)
        print(write_volume(made.with_data(clipped), out / f"{name}.nii.gz"), made.geometry.shape)


def write_covid(data: Path, out: Path) -> None:
    """Write the labelled scans and their lesions."""
    for path in sorted((data / "internal" / "covid_lesion_masks").glob("*_lesion.nii.gz")):
        name = path.name.removesuffix("_lesion.nii.gz")
        scan = read_volume(path.with_name(f"{name}.nii.gz")).canonical()
        lungs = mask(path.with_name(f"{name}_lung.nii.gz"))
        image = resampled(lungs_alone(scan, lungs), SPACING)
        share = resampled(cut(mask(path), lungs), SPACING)
        write_volume(image.with_data(image.data.round().astype(np.int16)), out / "images" / f"{name}.nii.gz")
        lesion = share.with_data((share.data >= 0.5).astype(np.uint8))
        print(write_volume(lesion, out / "labels" / f"{name}.nii.gz", labels=True), int(lesion.data.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with open/ and internal/")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for folder in ("chest", "covid/images", "covid/labels"):
        (given.out / folder).mkdir(parents=True, exist_ok=True)
    write_covid(given.data, given.out / "covid")
    write_open(given.data, given.out / "chest")


if __name__ == "__main__":
    run_command(main)
