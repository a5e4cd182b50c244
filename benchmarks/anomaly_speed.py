"""Time of an anomaly map on a 512 x 512 x 133 chest CT: first coarse map, whole map, memory, and the slider.

python -m benchmarks.anomaly_speed [--scan SCAN] [--model MODEL] [--members 3] [--device cpu] [--threads 2]

Without --scan, open/dicom/lidc-0001.zip under GENESIS_DATA is taken, or a phantom of the same size is made; without
--model, an untrained ensemble of the size that ships: neither time nor memory depends on its weights.  Lungs are found
by the recipe's default way, and their time counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.anomaly_memory import apart, find_scan
from benchmarks.common import Row, parser, write

COARSE, WHOLE, SLIDER = 15.0, 180.0, 0.1  # s
GIB = 2.5
SIDE = 256
REPEATS = 10


def make_model(path: Path, members: int) -> Path:
    from genesis3d.intensity import Window
    from genesis3d.networks.ensemble import Ensemble
    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    one = UNet3d(width=8, decoder="nearest", norm="batch", flat=1)
    network = Ensemble(network=one, members=members, activation="opacity", out_channels=2)
    card = ModelCard(
        title=f"untrained, {members} of width 8", network=network, task={"name": "opacity"}, activation="opacity",
        intensity=Window(low=-1000, high=200), modality="CT", patch=(16, 64, 64), working_spacing=(6.0, 2.0, 2.0),
    )  # fmt: skip
    write_model(path, network.build(0), card)
    return path


def mapped(scan: Path, model: Path, device: str, threads: int) -> dict[str, float]:
    """Return seconds to the lungs, the coarse map and the whole one, and the process's peak memory in GiB."""
    from genesis3d.io import read_volume
    from genesis3d.networks.model_file import read_model
    from genesis3d.workflows.anomaly import AnomalySettings, anomaly_volume

    volume, loaded = read_volume(scan), read_model(model)
    settings = AnomalySettings(device=device, threads=threads)
    found: dict[str, float] = {}
    began = time.perf_counter()

    def coarse(_: object) -> None:
        found.setdefault("coarse", time.perf_counter() - began)

    work = anomaly_volume(volume, loaded, settings, coarse=coarse)
    windows = 0
    for event in work:
        if event.kind == "started":
            found["lungs"], windows = time.perf_counter() - began, event.total or 0
    found |= {"whole": time.perf_counter() - began, "windows": windows}
    unit = 1 if sys.platform == "darwin" else 1024
    return found | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30}


def slider() -> float:
    """Return the median seconds from a threshold to new labels in the layers of the dock, on a cube of 256 voxels."""
    from napari.components import ViewerModel

    from genesis3d.volume import Geometry, Volume
    from genesis3d.workflows.anomaly import AnomalySettings, anomaly_volume
    from napari_genesis.widgets.anomaly.layers import MapLayers

    shape = (SIDE, SIDE, SIDE)
    hu = np.random.default_rng(0).integers(-900, -500, (1, *shape)).astype(np.int16)
    scan = Volume(hu, Geometry(shape, (1.0, 1.0, 1.0)), "CT", "HU", "cube")
    work = anomaly_volume(scan, None, AnomalySettings(), lungs_from="none")
    while True:
        try:
            next(work)
        except StopIteration as end:
            result = end.value
            break
    layers = MapLayers(ViewerModel(), result, None, "hu", "cube")
    times = []
    for number in range(REPEATS):
        began = time.perf_counter()
        layers.threshold(50.0 + 10 * number)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def rows(found: dict[str, float], note: str) -> list[Row]:
    coarse, whole, peak = found.get("coarse", found["whole"]), found["whole"], found["memory"]
    return [
        Row("lungs found", found["lungs"], "s", note="part of what follows"),
        Row("first coarse map", coarse, "s", f"<= {COARSE:g} s", coarse <= COARSE, note),
        Row(
            "whole map, default recipe",
            whole,
            "s",
            f"<= {WHOLE:g} s",
            whole <= WHOLE,
            f"{found['windows']:.0f} windows",
        ),
        Row("peak memory", peak, "GiB", f"<= {GIB} GiB", peak <= GIB),
    ]


def main() -> None:
    options = parser(__doc__ or "", "anomaly_speed")
    options.add_argument("--scan", type=Path, help="DICOM folder, zip or file")
    options.add_argument("--model", type=Path, help="run directory or model file")
    options.add_argument("--members", type=int, default=3, help="of the untrained ensemble")
    options.add_argument("--device", default="cpu", help="cpu, cuda:0, ...")
    options.add_argument("--threads", type=int, default=2, help="CPU threads")
    options.add_argument("--child", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.child:
        print(mapped(asked.scan, asked.model, asked.device, asked.threads))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scan, what = find_scan(asked.scan, folder)
        model = asked.model or apart(make_model, folder / "model.safetensors", asked.members)
        command = [sys.executable, "-m", "benchmarks.anomaly_speed", "--child", "1", "--scan", str(scan), "--model",
                   str(model), "--device", asked.device, "--threads", str(asked.threads)]  # fmt: skip
        environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads)}
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        figures = {key: float(value) for key, value in _parsed(text.splitlines()[-1]).items()}
        measured = rows(figures, f"{what}, {asked.device}, {asked.threads} threads; {asked.model or 'untrained'}")
    seconds = slider()
    measured.append(Row(f"threshold to labels, {SIDE}^3", seconds, "s", f"<= {SLIDER:g} s", seconds <= SLIDER))
    write(asked.out, "Speed of an anomaly map", "python -m benchmarks.anomaly_speed", measured)


def _parsed(text: str) -> dict[str, float]:
    import ast

    return dict(ast.literal_eval(text))


if __name__ == "__main__":
    main()
