"""What is no healthy lung in LIDC-IDRI-0001 and 0002: masks of voxels that count nowhere.

python science/lidc_nodules.py DATA OUT

DATA holds dicom/lidc-0001.zip, with the readers' XML in it, and chest_ct/lidc-0002.nii.gz.  Writes
OUT/lidc-0001_excluded.nii.gz and OUT/lidc-0002_excluded.nii.gz on the scans' own grids.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
from common import run_command

from genesis3d.errors import ScanError
from genesis3d.io.polygons import fill
from genesis3d.io.read import read_volume
from genesis3d.io.write import write_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Mask = NDArray[np.bool_]
    Contour = tuple[float, NDArray[np.float64]]

SPACE = "{http://www.nih.gov}"
MARGIN = 6.0  # mm around contours and what is dense: a voxel of the maps is as thick
POINT = 4.0  # mm radius of a nodule below 3 mm, of which the readers give the middle alone
# LIDC-IDRI-0002 comes without XML: a nodule with a band of dense lung in the left lung's base, found by eye
EYE_PLACE = (-252.0, -17.0, 108.0)  # its middle, world (S, P, L) in mm
EYE_REACH = 32.0  # mm around it within which what is dense is taken
DENSE = -600.0  # HU after a Gaussian of 1.5 mm


def contours(xml: bytes) -> Iterator[Contour]:
    """Yield the readers' nodules slice by slice: z in mm, and corners (N, 2) as (row, column) in pixels; one is a point."""
    for nodule in ElementTree.fromstring(xml).iter(f"{SPACE}unblindedReadNodule"):
        for roi in nodule.iter(f"{SPACE}roi"):
            place = roi.findtext(f"{SPACE}imageZposition")
            corners = [
                (float(edge.findtext(f"{SPACE}yCoord") or "nan"), float(edge.findtext(f"{SPACE}xCoord") or "nan"))
                for edge in roi.iter(f"{SPACE}edgeMap")
            ]
            if place is not None and corners:
                yield float(place), np.array(corners)


def read_by_readers(archive: Path, scan: Volume) -> Volume:
    """Return a mask on the canonical grid of ``scan``, an axial series: every reader's nodules and MARGIN around them."""
    with zipfile.ZipFile(archive) as file:
        found = [name for name in file.namelist() if name.endswith(".xml")]
        if not found:
            raise ScanError(f"{archive.name}: expected the readers' XML in it, found none")
        drawn = list(contours(file.read(found[0])))
    scan = scan.canonical()
    inside = np.zeros(scan.geometry.shape, np.bool_)
    for height, corners in drawn:
        index = round(float(scan.geometry.to_index((height, *scan.geometry.origin[1:]))[0]))
        if not 0 <= index < len(inside):
            raise ScanError(f"{archive.name}: expected contours on the slices of the scan, got one at {height} mm")
        if len(corners) == 1:
            where = (index, round(corners[0, 0]), round(corners[0, 1]))
            inside |= ball(scan, where, POINT)
        else:
            inside[index] |= fill([corners], inside.shape[1:])
    return as_mask(scan, widened(inside, scan, MARGIN))


def found_by_eye(scan: Volume) -> Volume:
    """Return a mask on the canonical grid of LIDC-IDRI-0002: what is dense around EYE_PLACE, and MARGIN around it."""
    from scipy.ndimage import gaussian_filter

    scan = scan.canonical()
    smooth = gaussian_filter(scan.data[0].astype(np.float32), [1.5 / step for step in scan.geometry.spacing])
    middle = np.rint(scan.geometry.to_index(EYE_PLACE)).astype(int)
    near = ball(scan, (int(middle[0]), int(middle[1]), int(middle[2])), EYE_REACH)
    return as_mask(scan, widened(near & (smooth > DENSE), scan, MARGIN))


def ball(scan: Volume, middle: tuple[int, int, int], radius: float) -> Mask:
    """Return the voxels within ``radius`` mm of the voxel ``middle``."""
    steps = zip(scan.geometry.shape, middle, scan.geometry.spacing, strict=True)
    z, y, x = np.ix_(*((np.arange(n) - m) * step for n, m, step in steps))
    return np.asarray(z * z + y * y + x * x <= radius * radius)


def widened(inside: Mask, scan: Volume, by: float) -> Mask:
    """Return ``inside`` and what lies within ``by`` mm of it."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(~inside, sampling=scan.geometry.spacing) <= by)


def as_mask(scan: Volume, inside: Mask) -> Volume:
    """Return ``inside`` as a label volume on the grid of ``scan``."""
    return scan.with_data(inside.astype(np.uint8), modality=None, unit=None, name=f"{scan.name} excluded", notes=())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with dicom/ and chest_ct/")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    archive = given.data / "dicom" / "lidc-0001.zip"
    first, second = read_volume(archive), read_volume(given.data / "chest_ct" / "lidc-0002.nii.gz")
    for name, mask in (("lidc-0001", read_by_readers(archive, first)), ("lidc-0002", found_by_eye(second))):
        path = write_volume(mask, given.out / f"{name}_excluded.nii.gz", labels=True)
        print(path, f"{mask.data.sum() * np.prod(mask.geometry.spacing) / 1000:.1f} mL")


if __name__ == "__main__":
    run_command(main)
