"""Opening a DICOM folder: ours against SimpleITK's own three calls, alternating, warm cache; times and peak memory.

    python benchmarks/dicom_open.py FOLDER [--repeats 5] [--out FILE.json]

Each peak of memory is that of a fresh process that opens the folder once, less what its imports took.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk

from genesis3d.io import read_volume


def open_ours(folder: str) -> np.ndarray:
    return read_volume(folder).data[0]


def open_itk(folder: str) -> np.ndarray:
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    return sitk.GetArrayFromImage(reader.Execute())


WAYS: dict[str, Callable[[str], np.ndarray]] = {"ours": open_ours, "itk": open_itk}


def seconds(way: str, folder: str) -> float:
    started = time.perf_counter()
    WAYS[way](folder)
    return time.perf_counter() - started


def peak_mib(way: str, folder: str) -> float:
    """Return the growth of the highest resident memory while a fresh process opens ``folder`` once."""
    command = [sys.executable, __file__, folder, "--peak-of", way]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout)


def print_peak(way: str, folder: str) -> None:
    import resource

    import genesis3d.io.dicom
    import genesis3d.io.itk
    import genesis3d.io.pixels  # noqa: F401

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    WAYS[way](folder)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def measure(folder: str, repeats: int) -> dict[str, Any]:
    arrays = {way: read(folder) for way, read in WAYS.items()}
    if not np.array_equal(arrays["ours"], arrays["itk"]):
        raise SystemExit("the two ways disagree on the values")
    shape, types = arrays["ours"].shape, {way: str(array.dtype) for way, array in arrays.items()}
    arrays.clear()
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            times[way].append(seconds(way, folder))
    medians = {way: statistics.median(values) for way, values in times.items()}
    return {
        "what": "open a DICOM folder, warm cache",
        "shape": shape,
        "dtype": types,
        "repeats": repeats,
        "seconds": times,
        "median_seconds": medians,
        "ratio": medians["ours"] / medians["itk"],
        "peak_mib": {way: peak_mib(way, folder) for way in WAYS},
        "array_mib": {way: float(np.prod(shape)) * np.dtype(types[way]).itemsize / 2**20 for way in WAYS},
        "versions": {
            "SimpleITK": sitk.Version.VersionString(),
            "pydicom": pydicom.__version__,
            "numpy": np.__version__,
        },
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak-of", choices=list(WAYS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak_of:
        print_peak(asked.peak_of, asked.folder)
        return
    result = measure(asked.folder, asked.repeats)
    text = json.dumps(result, indent=2)
    print(text)
    if asked.out:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
