"""What is no healthy lung in LIDC-IDRI-0001, 0002 and the POPI scan: masks of voxels that count nowhere.

python science/lidc_nodules.py DATA OUT

DATA holds dicom/lidc-0001.zip, with the readers' XML in it, and chest_ct/lidc-0002 and popi-00.nii.gz.  Writes
OUT/lidc-0001_excluded.nii.gz and the others on the scans' own grids.
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
# found by eye, as these come without readers: middle, world (S, P, L) in mm, and mm around it
BY_EYE = {
    "lidc-0002": ((-252.0, -17.0, 108.0), 32.0),  # nodule with a band of dense lung at the base of the left lung
    "popi-00": ((-10.5, 84.5, -87.4), 25.0),  # mass of about 25 mm above the right hilum
}
DENSE = -600.0  # HU after a Gaussian of 1.5 mm


def contours(xml: bytes) -> Iterator[Contour]:
    """Yield the readers' nodules by slice: z in mm, and corners (N, 2) as (row, column) in pixels; one is a point."""
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
    """Return a mask on the canonical grid of ``scan``, an axial series: all readers' nodules and MARGIN around."""
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


def found_by_eye(scan: Volume, name: str) -> Volume:
    """Return a mask on the canonical grid of ``scan``: what is dense about the place of BY_EYE, and MARGIN around."""
    from scipy.ndimage import gaussian_filter

    scan, (place, reach) = scan.canonical(), BY_EYE[name]
    smooth = gaussian_filter(scan.data[0].astype(np.float32), [1.5 / step for step in scan.geometry.spacing])
    middle = np.rint(scan.geometry.to_index(place)).astype(int)
    near = ball(scan, (int(middle[0]), int(middle[1]), int(middle[2])), reach)
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


def write_excluded(data: Path, out: Path) -> list[Path]:
    """Write the masks of all three scans under ``data`` to ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    archive = data / "dicom" / "lidc-0001.zip"
    masks = {"lidc-0001": read_by_readers(archive, read_volume(archive))}
    masks |= {name: found_by_eye(read_volume(data / "chest_ct" / f"{name}.nii.gz"), name) for name in BY_EYE}
    return [write_volume(mask, out / f"{name}_excluded.nii.gz", labels=True) for name, mask in masks.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with dicom/ and chest_ct/")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    for path in write_excluded(given.data, given.out):
        print(path)


if __name__ == "__main__":
    run_command(main)
