"""Memory of a training's reading from stores of 10 and of 1,000 cases, and how the larger one is prepared.

python -m benchmarks.store_memory [--cases 1000] [--draws 2000] [--jobs JOBS]

The cases are one scan under as many names.  ``genesis3d prepare`` is run as a user runs it; in the middle of the
larger set it gets Ctrl+C, and the same command then goes on.  Memory is that of a fresh process that opens a store and
draws sub-volumes from it, after the last draw.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import Row, parser, write

FEW = 10
MOST = 32.0  # MiB: 16 of remembered chunks, which ten cases hardly fill, and what names a thousand cases
SHAPE = (64, 128, 128)


def make_archive(folder: Path, names: int) -> Path:
    """Write one small scan, and give it as many names as asked for."""
    from genesis3d.data.phantoms import thorax
    from genesis3d.io import write_volume

    folder.mkdir()
    first = write_volume(thorax(SHAPE), folder / "case-0000.mha")
    for number in range(1, names):
        os.link(first, folder / f"case-{number:04d}.mha")
    return folder


def prepare(archive: Path, out: Path, jobs: int | None, interrupt_after: int | None = None) -> tuple[dict, float]:
    """Run the command; return the report and the seconds it took."""
    command = [sys.executable, "-m", "genesis3d", "prepare", str(archive), "--out", str(out), "--json"]
    command += ["--jobs", str(jobs)] if jobs else []
    began, last = time.perf_counter(), {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as child:
        for line in child.stdout or ():
            last = json.loads(line)
            if interrupt_after and last["kind"] == "stepped" and last["step"] >= interrupt_after:
                os.killpg(child.pid, signal.SIGINT)
                interrupt_after = None
    if child.returncode or last["kind"] != "finished":
        raise SystemExit(f"genesis3d prepare ended with {child.returncode}: {last}")
    return last["result"], time.perf_counter() - began


def memory(store: Path, draws: int) -> dict:
    """Return what a fresh process needs to draw from ``store``."""
    command = [sys.executable, "-m", "benchmarks.store_memory", "--draw-from", str(store), "--draws", str(draws)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return json.loads(said.stdout)


def draw(store: Path, draws: int) -> None:
    import psutil

    from genesis3d.data.sampling import Sampler, SamplingConfig
    from genesis3d.data.store import open_store
    from genesis3d.rng import Address

    loaded = open_store(store).loaded()
    sampler = Sampler(SamplingConfig(patch=(32, 64, 64)), loaded.volumes, loaded.scales)
    began, seen = time.perf_counter(), set()
    for step in range(draws):
        location = sampler.locate(Address(0, step))
        sampler.cut(location)
        seen.add(location.case)
    seconds = time.perf_counter() - began
    gc.collect()
    process = psutil.Process()
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    mib = process.memory_info().rss / 2**20
    print(json.dumps({"mib": mib, "files": files, "cases": len(seen), "rate": draws / seconds}))


def measure(folder: Path, cases: int, draws: int, jobs: int | None) -> list[Row]:
    few, _ = prepare(make_archive(folder / "few", FEW), folder / "few.zarr", jobs)
    archive = make_archive(folder / "many", cases)
    stopped, first = prepare(archive, folder / "many.zarr", jobs, interrupt_after=cases // 3)
    many, second = prepare(archive, folder / "many.zarr", jobs)
    small, large = (memory(folder / f"{name}.zarr", draws) for name in ("few", "many"))
    more = large["mib"] - small["mib"]
    return [
        Row(f"memory while drawing from {few['cases']} cases", small["mib"], "MiB",
            note=f"{small['files']} open files"),
        Row(f"memory while drawing from {many['cases']} cases", large["mib"], "MiB",
            note=f"{large['files']} open files; {draws} sub-volumes of {large['cases']} cases"),
        Row("difference", more, "MiB", f"<= {MOST:g} MiB", more <= MOST, "the whole archive is "
            f"{many['bytes_raw'] / 2**20:.0f} MiB of voxels"),
        Row("cases kept at Ctrl+C", stopped["cases"], "cases", note=f"after {first:.0f} s; {stopped['waiting']} to do"),
        Row("cases after the same command again", many["cases"], "cases", f"= {cases}", many["cases"] == cases),
        Row("preparation", cases / (first + second), "cases/s", note=f"{first + second:.0f} s in all"),
        Row("drawing from the many", large["rate"], "/s", note="sub-volumes of 64 x 64 x 32, one thread"),
    ]  # fmt: skip


def main() -> None:
    options: argparse.ArgumentParser = parser(__doc__ or "", "store_memory")
    options.add_argument("--cases", type=int, default=1000)
    options.add_argument("--draws", type=int, default=2000)
    options.add_argument("--jobs", type=int, help="processes of the preparation")
    options.add_argument("--draw-from", type=Path, help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.draw_from:
        draw(asked.draw_from, asked.draws)
        return
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(Path(temporary), asked.cases, asked.draws, asked.jobs)
    write(asked.out, "Memory of a store", "python -m benchmarks.store_memory", rows)


if __name__ == "__main__":
    main()
