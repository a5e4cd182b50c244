"""Opening a DICOM folder: ours against SimpleITK's own three calls, alternating, warm cache, median of five.

python -m benchmarks.dicom_open [--scan FOLDER_OR_ZIP] [--repeats 5]

Without --scan, open/dicom/lidc-0001.zip under GENESIS_DATA is unpacked, or a series of the same size is made up.
Each peak of memory is that of a fresh process that opens the folder once, less what it had after its imports.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from benchmarks.common import Row, median, parser, write
from genesis3d.io import read_volume

MOST = 1.3


def open_ours(folder: Path) -> np.ndarray:
    return read_volume(folder).data[0]


def open_itk(folder: Path) -> np.ndarray:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    return sitk.GetArrayFromImage(reader.Execute())


WAYS: dict[str, Callable[[Path], np.ndarray]] = {"ours": open_ours, "itk": open_itk}


def seconds(way: str, folder: Path) -> float:
    started = time.perf_counter()
    WAYS[way](folder)
    return time.perf_counter() - started


def peak_mib(way: str, folder: Path) -> float | None:
    """Return by how much a fresh process grows at most while it opens ``folder``; None where the system cannot say."""
    command = [sys.executable, "-m", "benchmarks.dicom_open", "--scan", str(folder), "--peak-of", way]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return float(said) if said else None


def print_peak(way: str, folder: Path) -> None:
    import genesis3d.io.dicom
    import genesis3d.io.itk
    import genesis3d.io.pixels  # noqa: F401

    status = Path("/proc/self/status")
    if not status.exists():
        return
    before = kib(status, "VmRSS")
    WAYS[way](folder)
    print((kib(status, "VmHWM") - before) / 1024)


def kib(status: Path, field: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(field + ":"))


def series_folder(scan: Path | None, temporary: Path) -> tuple[Path, str]:
    """Return a folder of slices, and what it is."""
    data = os.environ.get("GENESIS_DATA")
    lidc = Path(data) / "open/dicom/lidc-0001.zip" if data else None
    scan = scan or (lidc if lidc and lidc.exists() else None)
    if scan is None:
        make_series(temporary)
        return temporary, "a made-up series"
    if scan.is_dir():
        return scan, scan.name
    with zipfile.ZipFile(scan) as archive:
        archive.extractall(temporary)
    # GetGDCMSeriesFileNames looks into one folder, not below it
    return next(temporary.rglob("*.dcm")).parent, scan.stem


def make_series(folder: Path) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    series = generate_uid()
    for index in range(133):
        d = Dataset()
        d.SOPClassUID, d.SOPInstanceUID, d.SeriesInstanceUID = CTImageStorage, generate_uid(), series
        d.StudyInstanceUID, d.Modality, d.InstanceNumber = series, "CT", index
        d.ImagePositionPatient, d.ImageOrientationPatient = [0, 0, 2.5 * index], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.SliceThickness, d.Rows, d.Columns = [0.7, 0.7], 2.5, 512, 512
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 1
        d.BitsAllocated, d.BitsStored, d.HighBit, d.RescaleSlope, d.RescaleIntercept = 16, 16, 15, 1, -1024
        d.PixelData = rng.integers(0, 3000, (512, 512)).astype(np.int16).tobytes()
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.save_as(folder / f"{index:04d}.dcm", enforce_file_format=True)


def measure(folder: Path, what: str, repeats: int) -> list[Row]:
    arrays = {way: read(folder) for way, read in WAYS.items()}
    if not np.array_equal(arrays["ours"], arrays["itk"]):
        raise SystemExit("the two ways disagree on the values")
    note = f"{what}, {' x '.join(map(str, reversed(arrays['ours'].shape)))}"
    types = {way: f"{array.dtype}, {array.nbytes / 2**20:.0f} MiB of voxels" for way, array in arrays.items()}
    arrays.clear()
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            times[way].append(seconds(way, folder))
    ratio = median(times["ours"]) / median(times["itk"])
    return [
        Row("open a DICOM folder", median(times["ours"]), "s", note=note),
        Row("the same by SimpleITK alone", median(times["itk"]), "s"),
        Row("ratio", ratio, "times", f"<= {MOST}", ratio <= MOST),
        Row("peak memory, ours", peak_mib("ours", folder), "MiB", note=types["ours"]),
        Row("peak memory, SimpleITK alone", peak_mib("itk", folder), "MiB", note=types["itk"]),
    ]


def main() -> None:
    options = parser(__doc__ or "", "dicom_open")
    options.add_argument("--scan", type=Path, help="folder of slices, or zip of one")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--peak-of", choices=list(WAYS), help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.peak_of:
        print_peak(asked.peak_of, asked.scan)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder, what = series_folder(asked.scan, Path(temporary))
        rows = measure(folder, what, asked.repeats)
    write(asked.out, "Opening a DICOM folder", "python -m benchmarks.dicom_open", rows)


if __name__ == "__main__":
    main()
