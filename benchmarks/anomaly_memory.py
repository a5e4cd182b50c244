"""Peak memory and time of ``genesis3d anomaly`` on a 512 x 512 x 133 chest CT, run as a child process.

python -m benchmarks.anomaly_memory [--scan SCAN] [--model MODEL] [--width 8]

Without --scan, open/dicom/lidc-0001.zip under GENESIS_DATA is taken, or a phantom of the same size is made; without
--model, an untrained network of the given width: neither time nor memory depends on its weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Row, parser, write
from genesis3d.events import read_event

MOST = 2.5  # GiB


def find_scan(given: Path | None, temporary: Path) -> tuple[Path, str]:
    """Return a scan and what it is."""
    data = os.environ.get("GENESIS_DATA")
    lidc = Path(data) / "open/dicom/lidc-0001.zip" if data else None
    scan = given or (lidc if lidc and lidc.exists() else None)
    return (scan, scan.stem) if scan else (apart(make_phantom, temporary / "phantom.nii.gz"), "a phantom")


def apart(make: Callable[..., Path], *arguments: Any) -> Path:
    """Call ``make`` in a process of its own: a child's peak memory, as Linux tells it, begins at its parent's."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(make, *arguments).result()


def make_phantom(path: Path) -> Path:
    from genesis3d.io import write_volume
    from genesis3d.volume import Geometry, Volume

    shape = (133, 512, 512)
    d, h, w = (np.arange(n, dtype=np.float32) for n in shape)
    hu = np.random.default_rng(0).normal(-1000, 20, shape).astype(np.int16)
    hu[:, ((h[:, None] - 256) / 190) ** 2 + ((w - 256) / 240) ** 2 <= 1] += 1040
    for centre in (150, 362):
        lung = ((d[:, None, None] - 66) / 60) ** 2 + ((h[:, None] - 256) / 130) ** 2 + ((w - centre) / 90) ** 2 <= 1
        hu[lung] -= 900
    hu[:, 400:430, 240:270] += 300  # bone
    geometry = Geometry(shape, (2.5, 0.7, 0.7))
    return write_volume(Volume(hu[None], geometry, "CT", "HU", "phantom"), path)


def make_model(path: Path, width: int) -> Path:
    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    network = UNet3d(width=width)
    write_model(
        path, network.build(0), ModelCard(title=f"untrained, width {width}", network=network, patch=(32, 64, 64))
    )
    return path


def run(scan: Path, model: Path, folder: Path) -> tuple[float, float, list[str]]:
    """Return peak memory in GiB, seconds in all, and the lines of JSON of one run."""
    command = [sys.executable, "-m", "genesis3d", "anomaly", str(scan), "--model", str(model)]
    command += ["--out-dir", str(folder / "out"), "--device", "cpu", "--json"]
    began = time.perf_counter()
    with (folder / "events.jsonl").open("w") as events:
        child = subprocess.Popen(command, stdout=events)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"genesis3d anomaly ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    seconds = time.perf_counter() - began
    return usage.ru_maxrss * unit / 2**30, seconds, (folder / "events.jsonl").read_text().splitlines()


def measure(scan: Path, model: Path, folder: Path, what: str) -> list[Row]:
    peak, seconds, lines = run(scan, model, folder)
    events = [event for line in lines if (event := read_event(line))]
    started = next(e for e in events if e.kind == "started")
    last = next(e for e in reversed(events) if e.kind == "stepped")
    report = json.loads((folder / "out" / "report.json").read_text())
    shape = " x ".join(str(n) for n in reversed(report["scan"]["shape_zyx"]))
    note = f"{what}, {shape}; {report['model']['title']}; precision {started.precision}"
    return [
        Row("peak memory of genesis3d anomaly", peak, "GiB", f"<= {MOST} GiB", peak <= MOST, note),
        Row("the whole command", seconds, "s", note=f"{started.total} windows"),
        Row("windows per second", last.rate, "/s"),
    ]


def main() -> None:
    options = parser(__doc__ or "", "anomaly_memory")
    options.add_argument("--scan", type=Path, help="DICOM folder, zip or file")
    options.add_argument("--model", type=Path, help="run directory or model file")
    options.add_argument("--width", type=int, default=8, help="width of the untrained network")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scan, what = find_scan(asked.scan, folder)
        model = asked.model or apart(make_model, folder / "model.safetensors", asked.width)
        rows = measure(scan, model, folder, what)
    write(asked.out, "Memory of an anomaly map", "python -m benchmarks.anomaly_memory", rows)


if __name__ == "__main__":
    main()
