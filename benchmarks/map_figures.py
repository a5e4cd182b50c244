"""Figures of an anomaly map and its z against healthy scans on a phantom of 512 x 512 x 133 voxels.

python -m benchmarks.map_figures [--repeats 3]

Figures are those that a dock shows beside a map: regions with their depth, zones, classes of density.  Moving the
threshold computes the regions anew, the depths of the lungs are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.common import Row, median, parser, write
from genesis3d.anomaly.base import Scene, Scored
from genesis3d.anomaly.calibration_fit import Fitting
from genesis3d.anomaly.classes import class_rows
from genesis3d.anomaly.figures import region_rows
from genesis3d.anomaly.pleura import Pleura
from genesis3d.anomaly.zones import zone_rows
from genesis3d.volume import Geometry, Volume

SHAPE, SPACING = (133, 512, 512), (2.5, 0.7, 0.7)
NODES = 300


@dataclass(frozen=True, eq=False)
class Map:
    """What figures are taken of."""

    scan: Volume
    lungs: Volume
    score: Volume
    labels: Volume


def phantom() -> Map:
    geometry = Geometry(SHAPE, SPACING)
    d, h, w = (np.linspace(-1, 1, n, dtype=np.float32)[s] for n, s in
               zip(SHAPE, np.ix_(*map(range, SHAPE)), strict=True))  # fmt: skip
    lungs = np.zeros(SHAPE, np.uint8)
    for side, centre in ((2, -0.42), (1, 0.42)):
        lungs[(d / 0.95) ** 2 + (h / 0.6) ** 2 + ((w - centre) / 0.36) ** 2 < 1] = side
    rng = np.random.default_rng(0)
    scan = rng.normal(-850, 40, SHAPE).astype(np.int16)
    score = rng.gamma(1.0, 20.0, SHAPE).astype(np.float32) * (lungs > 0)
    labels = np.zeros(SHAPE, np.int32)
    for number, (z, y, x) in enumerate(rng.permutation(np.argwhere(lungs > 0)[::1009])[:NODES], start=1):
        labels[z - 1 : z + 2, y - 6 : y + 7, x - 6 : x + 7] = number
    labels[lungs == 0] = 0
    volumes = [Volume(data[None], geometry, name="phantom") for data in (lungs, score, labels)]
    return Map(Volume(scan[None], geometry, "CT", "HU", "phantom"), *volumes)


def seconds(work: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


def main() -> None:
    options = parser(__doc__ or "", "map_figures")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    made, n = phantom(), given.repeats
    pleura = Pleura.of(made.lungs)
    scene = Scene(made.scan, made.lungs)
    scored = Scored(made.score, restored=made.scan.with_data(made.scan.data.astype(np.float32)))
    fitting = Fitting("difference")
    fitting.add(scene, scored, "phantom")
    known = fitting.done()

    def everything() -> None:
        region_rows(made, Pleura.of(made.lungs))
        zone_rows(made)
        class_rows(made.scan, made.lungs)

    whole = seconds(everything, n)
    rows = [
        Row("all figures", whole, "s", "at most 1 s", whole <= 1, f"{NODES} regions"),
        Row("regions alone, depths kept", seconds(lambda: region_rows(made, pleura), n), "s"),
        Row("z", seconds(lambda: known.z(scene, scored), n), "s"),
        Row("z without a restored scan", seconds(lambda: known.z(scene, replace(scored, restored=None)), n), "s"),
    ]
    write(given.out, "map_figures", f"python -m benchmarks.map_figures --repeats {n}", rows)


if __name__ == "__main__":
    main()
