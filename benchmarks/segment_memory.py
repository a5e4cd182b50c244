"""Peak memory of a segmentation above the process with scan and network loaded and one window computed.

python -m benchmarks.segment_memory [--shape 133 512 512] [--width 8] [--classes 2 4]

Ours and MONAI's inferer each in a child process of its own, float32, one window at a time, the same windows and
overlap.  MONAI's input, the whole scan in float32, counts as the loaded scan; the labels made of its scores do not
count at all.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import Row, parser, write
from benchmarks.segmenting import drained, monai_scores, phantom, taught, to_unit
from genesis3d.inference.predictor import warm
from genesis3d.networks.model_file import read_model
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment import SegmentSettings, segment_volume
from genesis3d.workflows.segment_prepare import prepared

OVERLAP = 0.25
MIB = 2**20


def peak() -> float:
    """Return the largest memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # where a child's begins at its own
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def child(which: str, scan: Path, path: Path) -> None:
    """Load, compute one window, note the peak, segment, and print how far the peak rose."""
    data = np.load(scan)
    spacing = (2.5 * 133 / data.shape[1], 0.7 * 512 / data.shape[2], 0.7 * 512 / data.shape[3])
    volume = Volume(data, Geometry(data.shape[1:], spacing), "CT", "HU", "phantom")
    settings = SegmentSettings(overlap=OVERLAP, device="cpu", precision="32", skip_air=False)
    if which == "ours":
        model = warm(path, "cpu", "32").model
        ready = prepared(volume, model, settings)
        ready.predictor(np.zeros((1, 1, *ready.plan.size), np.float32))
        before = peak()
        drained(segment_volume(volume, model, settings))
    else:
        importlib.import_module("monai.inferers")  # before the peak is noted

        model = read_model(path)
        size = prepared(volume, model, settings).plan.size
        unit = to_unit(volume)
        with torch.inference_mode():
            model.module(torch.zeros(1, 1, *size))
        before = peak()
        monai_scores(model, unit, size, OVERLAP)
    print(json.dumps(peak() - before))


def rose(which: str, scan: Path, path: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.segment_memory", "--child", which, str(scan), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    options = parser(__doc__ or "", "segment_memory")
    options.add_argument("--shape", type=int, nargs=3, default=(133, 512, 512), help="D H W of the phantom")
    options.add_argument("--width", type=int, default=8, help="of the network")
    options.add_argument("--classes", type=int, nargs="+", default=(2, 4), help="numbers of classes")
    options.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]), Path(asked.child[2]))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        scan = Path(temporary) / "scan.npy"
        np.save(scan, phantom(tuple(asked.shape))[0].data)
        for classes in asked.classes:
            path = taught(Path(temporary) / f"{classes}.safetensors", asked.width, classes, 0)
            ours, theirs = rose("ours", scan, path), rose("monai", scan, path)
            note = f"{' x '.join(str(n) for n in reversed(asked.shape))} voxels, {classes} classes, float32"
            rows += [
                Row(f"ours / MONAI, {classes} classes", ours / theirs, "", "<= 0.5", ours <= 0.5 * theirs, note),
                Row(f"ours, {classes} classes", ours, "MiB"),
                Row(f"MONAI, {classes} classes", theirs, "MiB"),
            ]
    write(asked.out, "Memory of a segmentation", "python -m benchmarks.segment_memory", rows)


if __name__ == "__main__":
    main()
