"""Random sub-volumes of 64 x 64 x 32 voxels from a store, against .nii.gz and a memory map of the same scan.

python -m benchmarks.store_reads [--scan SCAN] [--reads 200]

Without --scan, open/dicom/lidc-0001.zip under GENESIS_DATA is taken, or a phantom is made; either is cut to 360 x 360
in-plane, some 17 million voxels.  The ways alternate, sub-volume by sub-volume, with a warm file cache.  The store
remembers no chunk from one reading to the next.  Of the .nii.gz no more is unpacked than up to the last slice needed,
which is faster than reading it whole; that is measured as well.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr

from benchmarks.common import Row, median, parser, write
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.data.shards import ShardReader
from genesis3d.data.storage import storage_at
from genesis3d.data.store import ScanStore, open_store
from genesis3d.io import read_volume, write_volume
from genesis3d.io.nifti import read_nifti_header
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.prepare import PrepareConfig, prepare

LEAST = 20.0
PATCH = (32, 64, 64)
SIDE = 360
Triple = tuple[int, int, int]
Read = Callable[[Triple], np.ndarray]


def find_scan(given: Path | None) -> tuple[Volume, str]:
    data = os.environ.get("GENESIS_DATA")
    lidc = Path(data) / "open/dicom/lidc-0001.zip" if data else None
    path = given or (lidc if lidc and lidc.exists() else None)
    volume = read_volume(path).canonical() if path else phantom()
    _, height, width = volume.geometry.shape
    h, w = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    size = (volume.geometry.shape[0], min(SIDE, height), min(SIDE, width))
    cut = volume.crop((0, h, w), size)
    plain = Volume(np.ascontiguousarray(cut.data), cut.geometry, volume.modality, volume.unit, "scan")
    return plain, path.stem if path else "a phantom"


def phantom() -> Volume:
    shape = (133, SIDE, SIDE)
    d, h, w = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    hu = np.random.default_rng(0).normal(0, 25, shape).astype(np.float32)
    outside = (h[:, None] ** 2 + w**2) > 0.8
    lungs = (d[:, None, None] ** 2 + (h[:, None] / 0.6) ** 2 + ((abs(w) - 0.45) / 0.35) ** 2) < 1
    hu += np.where(lungs, -850, 40) + np.where(outside, -1040, 0)
    return Volume(
        hu.round().clip(-1024, 1500).astype(np.int16)[None], Geometry(shape, (2.5, 0.7, 0.7)), "CT", "HU", "p"
    )


def part(start: Triple) -> tuple[slice, ...]:
    return tuple(slice(s, s + n) for s, n in zip(start, PATCH, strict=True))


def whole_nifti(path: Path) -> Read:
    return lambda start: read_volume(path).data[0][part(start)]


def part_of_nifti(path: Path, like: np.ndarray) -> Read:
    """Return a reading that unpacks up to the last slice needed; the file's axes and numbers are those of ``like``."""
    offset, plane = read_nifti_header(path).offset, like.shape[1] * like.shape[2] * like.itemsize

    def read(start: Triple) -> np.ndarray:
        end = offset + (start[0] + PATCH[0]) * plane
        raw = zlib.decompressobj(wbits=31).decompress(path.read_bytes(), end)
        slices = np.frombuffer(raw, like.dtype, offset=offset + start[0] * plane).reshape(PATCH[0], *like.shape[1:])
        return slices[:, part(start)[1], part(start)[2]]

    return read


def alternate(ways: dict[str, Read], starts: list[Triple]) -> dict[str, float]:
    """Return the median seconds of each way; those of a gzip are timed on every tenth sub-volume."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number, start in enumerate(starts):
        for name, read in ways.items():
            if "nii" in name and number % 10:
                continue
            began = time.perf_counter()
            np.ascontiguousarray(read(start))
            times[name].append(time.perf_counter() - began)
    return {name: median(taken) for name, taken in times.items()}


def make_store(volume: Volume, folder: Path) -> ScanStore:
    scan = write_volume(volume, folder / "scan.nii.gz")
    list(prepare(PrepareConfig(cases=(str(scan),), out=str(folder / "set"), crop=False, jobs=1)))
    return open_store(folder / "set")


def sampled_per_second(store: ScanStore, count: int) -> float:
    """Return sub-volumes a second as one thread of a training draws them: several places are looked at for each."""
    loaded = store.loaded()
    sampler = Sampler(SamplingConfig(patch=PATCH), loaded.volumes, loaded.scales)
    began = time.perf_counter()
    for step in range(count):
        sampler.cut(sampler.locate(Address(0, step)))
    return count / (time.perf_counter() - began)


def measure(volume: Volume, what: str, folder: Path, reads: int) -> list[Row]:
    store = make_store(volume, folder)
    cold = replace(store, reader=ShardReader(storage_at(folder / "set"), 0))
    np.save(folder / "scan.npy", np.ascontiguousarray(volume.data[0]))
    mapped, stored = np.load(folder / "scan.npy", mmap_mode="r"), cold.volume(0)
    array = zarr.open_array(folder / "set" / store.cases[0].key, mode="r")
    ways: dict[str, Read] = {
        "store": lambda start: stored.data[(slice(None), *part(start))],
        "zarr": lambda start: array[(slice(None), *part(start))],
        "map": lambda start: mapped[part(start)],
        "nii.gz": part_of_nifti(folder / "scan.nii.gz", mapped),
        "nii.gz whole": whole_nifti(folder / "scan.nii.gz"),
    }
    draw = np.random.default_rng(0)
    ranges = [n - p + 1 for n, p in zip(mapped.shape, PATCH, strict=True)]
    starts = [(int(d), int(h), int(w)) for d, h, w in draw.integers(ranges, size=(reads, 3))]
    check(ways, starts[0], store)
    times = alternate(ways, starts)
    ratio = times["nii.gz"] / times["store"]
    size = {name: (folder / name).stat().st_size for name in ("scan.nii.gz", "scan.npy")}
    note = f"{what}, {' x '.join(map(str, reversed(mapped.shape)))}, {mapped.size / 1e6:.1f} million voxels"
    return [
        Row("sub-volume from the store", 1e3 * times["store"], "ms", note=note),
        Row("from .nii.gz, unpacked as far as needed", 1e3 * times["nii.gz"], "ms"),
        Row("ratio", ratio, "times", f">= {LEAST:g}", ratio >= LEAST),
        Row("from the store by zarr itself", 1e3 * times["zarr"], "ms"),
        Row("from .nii.gz by read_volume", 1e3 * times["nii.gz whole"], "ms"),
        Row("from an uncompressed memory map", 1e3 * times["map"], "ms"),
        Row("sub-volumes a training draws", sampled_per_second(store, reads), "/s", note="one thread, rule default"),
        Row("size of the store", store.cases[0].nbytes / 2**20, "MiB",
            note=f".nii.gz {size['scan.nii.gz'] / 2**20:.1f}, uncompressed {size['scan.npy'] / 2**20:.1f}"),
    ]  # fmt: skip


def check(ways: dict[str, Read], start: Triple, store: ScanStore) -> None:
    """Stop when the ways do not give the same voxels."""
    low, high = store.cases[0].scales[0]
    expected = np.clip(ways["map"](start), low, high)
    unit = store.scale.to_unit(ways["store"](start)[0])
    values = {"store": unit * (high - low) + low} | {name: np.clip(ways[name](start), low, high) for name in ways
                                                      if "nii" in name}  # fmt: skip
    for name, found in values.items():
        if not np.allclose(found, expected, atol=(high - low) / 10_000):
            raise SystemExit(f"{name} disagrees with the scan")


def main() -> None:
    options: argparse.ArgumentParser = parser(__doc__ or "", "store_reads")
    options.add_argument("--scan", type=Path, help="DICOM folder, zip or file")
    options.add_argument("--reads", type=int, default=200)
    asked = options.parse_args()
    volume, what = find_scan(asked.scan)
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(volume, what, Path(temporary), asked.reads)
    write(asked.out, "Reading sub-volumes from a store", "python -m benchmarks.store_reads", rows)


if __name__ == "__main__":
    main()
