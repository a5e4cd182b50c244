"""Run every benchmark but the slow one (or those named) and write docs/benchmarks.md from their result files.

python -m benchmarks [--report-only] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks import cluster_cost
from benchmarks.common import RESULTS

HERE = Path(__file__).parent
TABLE = HERE.parent / "docs" / "benchmarks.md"
NAMES = ["start", "transforms", "dicom_open", "preview_latency", "window_while_training", "train_to_prediction",
         "anomaly_memory", "anomaly_speed", "segment_memory", "store_reads", "train_step", "two_processes",
         "gpu"]  # fmt: skip
# many minutes long: run when named
SLOW = ["segment_speed", "store_memory", "ten_minutes"]


def run(name: str) -> None:
    print(f"== {name}", flush=True)
    screen = [] if os.environ.get("DISPLAY") else ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24"]
    subprocess.run([*screen, sys.executable, "-m", f"benchmarks.{name}"], check=True, cwd=HERE.parent)


def table(result: dict) -> list[str]:
    lines = [
        f"## {result['name']}",
        "",
        f"`{result['command']}`",
        "",
        "| what | measured | target | |",
        "|---|---|---|---|",
    ]
    for row in result["rows"]:
        value = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}"
        verdict = {None: "", True: "met", False: "**missed**"}[row["met"]]
        lines.append(f"| {row['what']} | {value} | {row['target']} | {' '.join([verdict, row['note']]).strip()} |")
    return [*lines, ""]


def report() -> None:
    results = [json.loads(p.read_text(encoding="utf-8")) for n in NAMES + SLOW if (p := RESULTS / f"{n}.json").exists()]
    machine = ", ".join(f"{key} {value}" for key, value in results[0]["machine"].items())
    head = [
        "# Benchmarks",
        "",
        "Made by `make bench` from `benchmarks/results/*.json`; ratios come from one run each.",
        "",
        f"Machine: {machine}; no GPU, software OpenGL.",
        "",
    ]
    TABLE.write_text("\n".join([*head, *(line for result in results for line in table(result))]), encoding="utf-8")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--report-only", action="store_true", help="only write the table again")
    options.add_argument("names", nargs="*", help=f"of {', '.join(NAMES + SLOW)}")
    chosen = options.parse_args()
    if not chosen.report_only:
        for name in chosen.names or NAMES:
            run(name)
    report()
    cluster_cost.main()


if __name__ == "__main__":
    main()
