"""What every benchmark shares: the machine in words, one result file, one table row."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One measured figure: ``what`` was measured, its ``value`` in ``unit``, and the ``target`` in words."""

    what: str
    value: float | None
    unit: str
    target: str = ""
    met: bool | None = None
    note: str = ""


def machine() -> dict[str, str]:
    """Return processor, cores, memory and library versions, without names of hosts or users."""
    from importlib.metadata import version

    import psutil

    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    versions = {name: version(name) for name in ("torch", "numpy", "napari", "SimpleITK", "numba")}
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    } | versions


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """Return a parser that knows ``--out``, by default benchmarks/results/NAME.json."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="result file")
    return options


def write(out: Path, name: str, command: str, rows: Sequence[Row]) -> None:
    """Write one result file and print its rows."""
    out.parent.mkdir(parents=True, exist_ok=True)
    result = {"name": name, "command": command, "machine": machine(), "rows": [asdict(row) for row in rows]}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        shown = "not measured" if row.value is None else f"{row.value:.4g} {row.unit}"
        verdict = {None: "", True: "  met", False: "  MISSED"}[row.met]
        print(f"{row.what}: {shown}  {row.target}{verdict}  {row.note}".rstrip())


def percentile(values: Sequence[float], share: float) -> float:
    """Return the percentile ``share`` (0 to 100) of ``values``, linearly interpolated."""
    import numpy as np

    return float(np.percentile(values, share))


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return float(statistics.median(values))
