"""From a move in the Preview dock to new voxels in its layers, on a CT of 512x512x133, software drawing apart.

A control point of the intensity curve is dragged: each move changes the non-linear step of the official chain, with
shuffling and out-painting applied too.  A move counts until the layers hold the new voxels; painting follows.

    xvfb-run -a python -m benchmarks.preview_latency
"""

from __future__ import annotations

import os
import tempfile
import time

import numpy as np

from benchmarks.common import Row, median, parser, percentile, write

MOVES = 100
SHAPE = (133, 512, 512)
ALL = "local shuffling + non-linear + out-painting"
CASES = (((32, 64, 64), "64x64x32", 50.0), ((128, 128, 128), "128x128x128", 150.0))


def scan() -> object:
    """A full-size CT: smooth air and tissue with noise, int16 HU."""
    from genesis3d.volume import Geometry, Volume

    rng = np.random.default_rng(0)
    slab = rng.normal(0, 60, SHAPE[1:]) + 700 * np.sin(np.linspace(0, 9, SHAPE[2])) - 300
    data = np.broadcast_to(slab, SHAPE).astype(np.int16)
    return Volume(data[None], Geometry(SHAPE, (2.5, 0.7, 0.7)), "CT", "HU", name="ct")


def settle(dock: object) -> None:
    from qtpy.QtWidgets import QApplication

    quiet = time.perf_counter() + 0.05
    while time.perf_counter() < quiet or dock.resolver.busy:
        QApplication.processEvents()


def measure(dock: object, size: tuple[int, int, int]) -> list[float]:
    """Return the milliseconds of each move."""
    from qtpy.QtWidgets import QApplication

    dock.place.set_size(size)
    dock._update()
    settle(dock)
    while ALL not in dock.outcome.text():
        dock.address.next()
        settle(dock)
    target = next(row.curve for row in dock.chain.rows if row.curve is not None).targets[0]
    answers: list[float] = []

    def answered(_: object) -> None:
        answers.append(time.perf_counter())

    dock.resolver.resolved.connect(answered)  # after the dock's own slot: the layers are written by then
    times = []
    for x in np.random.default_rng(1).uniform(-900, 900, MOVES):
        answers.clear()
        begun = time.perf_counter()
        target.setPos(float(x), 100.0)
        while not answers:
            QApplication.processEvents()
        times.append(1000 * (answers[0] - begun))
        settle(dock)
    dock.resolver.resolved.disconnect(answered)
    return times


def main() -> None:
    options = parser(__doc__ or "", "preview_latency").parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GENESIS_HOME"] = folder
        import napari
        import psutil

        from napari_genesis.layers import add_volume
        from napari_genesis.widgets.preview.dock import PreviewDock

        viewer = napari.Viewer()
        viewer.window._qt_window.resize(1280, 800)
        layer = add_volume(viewer, scan())
        process = psutil.Process()
        dock = PreviewDock(viewer)
        before = process.memory_info().rss
        viewer.window.add_dock_widget(dock, name="Preview")
        rows = []
        for size, text, bound in CASES:
            times = measure(dock, size)
            worst = percentile(times, 95)
            rows += [
                Row(f"move to new voxels, {text}, p50", median(times), "ms"),
                Row(f"move to new voxels, {text}, p95", worst, "ms", f"<= {bound:.0f} ms", worst <= bound),
            ]
        grown = (process.memory_info().rss - before) / 2**20
        rows.append(
            Row(
                "memory taken by preview and libraries", grown, "MiB", note=f"scan: {layer.data.nbytes / 2**20:.0f} MiB"
            )
        )
        assert np.shares_memory(dock.frame.volume.data, layer.data), "the scan was copied"
        dock.shutdown()
        viewer.close()
    write(options.out, "Preview latency", "python -m benchmarks.preview_latency", rows)


if __name__ == "__main__":
    main()
