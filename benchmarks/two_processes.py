"""Two processes of one thread against one of two threads: the same command and the same global batch, on the CPU.

The rate is that of the later half of the steps, so that starting up does not count; the two take turns.

python -m benchmarks.two_processes [--width 8] [--batch 4] [--steps 16] [--repeats 1]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import Row, median, parser, write
from genesis3d.data.phantoms import thorax
from genesis3d.events import Failed, Stepped, read_event
from genesis3d.io import write_volume
from genesis3d.networks.unet3d import UNet3d
from genesis3d.workflows.pretrain import PretrainConfig


def config(scan: Path, width: int, batch: int, steps: int) -> PretrainConfig:
    return PretrainConfig.parse(
        {
            "cases": [str(scan)],
            "network": UNet3d(width=width, norm="group").to_dict(),
            "batch": batch,
            "steps": steps,
            "device": "cpu",
            "precision": "32",
            "validation": {"windows": 1, "every": 100_000},
            "keep": {"seconds": 3600, "every": 100_000, "samples_every": 100_000},
        }
    )


def rate(settings: Path, run: Path, processes: int, threads: int) -> float:
    """Steps per second of one training by the command line."""
    command = [
        sys.executable,
        "-m",
        "genesis3d",
        "pretrain",
        "--config",
        str(settings),
        "--run-dir",
        str(run),
        "--json",
    ]
    command += ["--processes", str(processes), "--threads", str(threads)]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    events = [read_event(line) for line in said.splitlines()]
    failed = [event.message for event in events if isinstance(event, Failed)]
    if failed:
        raise SystemExit(failed[0])
    rates = [event.rate for event in events if isinstance(event, Stepped) and event.rate]
    return median(rates[len(rates) // 2 :])


def main() -> None:
    options = parser(__doc__ or "", "two_processes")
    options.add_argument("--width", type=int, default=8)
    options.add_argument("--batch", type=int, default=4)
    options.add_argument("--steps", type=int, default=16)
    options.add_argument("--repeats", type=int, default=1)
    chosen = options.parse_args()
    one, two = [], []
    with tempfile.TemporaryDirectory() as folder:
        scan, settings = Path(folder) / "thorax.nii.gz", Path(folder) / "settings.yaml"
        write_volume(thorax(), scan)
        settings.write_text(config(scan, chosen.width, chosen.batch, chosen.steps).to_yaml(), encoding="utf-8")
        for k in range(chosen.repeats):
            one.append(rate(settings, Path(folder) / f"one{k}", 1, 2))
            two.append(rate(settings, Path(folder) / f"two{k}", 2, 1))
    ratio = median(two) / median(one)
    note = f"width {chosen.width}, 64 x 64 x 32, batch {chosen.batch}, 32 bits"
    rows = [
        Row("one process, two threads", median(one) * chosen.batch, "sub-volumes/s", note=note),
        Row("two processes, one thread each", median(two) * chosen.batch, "sub-volumes/s"),
        Row("two processes / one", ratio, "times", ">= 0.9", ratio >= 0.9),
    ]
    write(chosen.out, "Two processes against one (CPU)", "python -m benchmarks.two_processes", rows)


if __name__ == "__main__":
    main()
