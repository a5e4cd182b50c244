"""The loop of the Fine-tune dock and the Segment dock on a scan, and their pictures in docs.

    python -m napari_genesis.tour_finetune --scan SCAN --screenshots FOLDER --minutes 5

Lung and bone are painted on a few slices, by thresholds in place of a hand.  ``--steps`` in place of ``--minutes``
begins with nothing, a small network on small sub-volumes: for slow machines.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_genesis.tour import Tour

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["main", "show_finetune", "show_segment", "structures"]

PAINTED = (0.2, 0.35, 0.45, 0.6, 0.75, 0.85)  # of the scan's height
NAMES = {1: "lung", 2: "bone"}
LUNG_HU, BONE_HU = -500, 220


def structures(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 1 for lung, 2 for bone in an axial slice in HU, smoothed as a brush would."""
    from scipy import ndimage

    air, labels = ndimage.label(plane < LUNG_HU)[0], np.zeros(plane.shape, np.uint8)
    outside = {*np.unique(air[[0, -1]]), *np.unique(air[:, [0, -1]])}
    lung = ndimage.binary_opening((air > 0) & ~np.isin(air, list(outside)), iterations=2)
    labels[ndimage.binary_closing(lung, iterations=3)] = 1
    labels[ndimage.binary_opening(ndimage.binary_closing(plane > BONE_HU, iterations=2), iterations=1)] = 2
    return labels


def paint(labels: Any, scan: NDArray[Any], z: int) -> None:
    """Paint slice ``z`` anew, in one step of undo."""
    wanted = structures(scan[z])
    rows, columns = np.nonzero(wanted != labels.data[z])
    labels.data_setitem((np.full(rows.size, z), rows, columns), wanted[rows, columns])


def show_finetune(tour: Tour, layer: Any, minutes: float, steps: int | None = None) -> Path:
    """Paint, train, look, take a slice, correct it, go on; a picture of each.  Return the run."""
    tour.viewer.window.remove_dock_widget(tour.dock("Preview"))  # its box would lie on the scan
    dock = tour.dock("Fine-tune")
    dock.data.scans.set_layer(layer)
    dock.data.make_labels()
    labels, scan = dock.data.labels.layer, np.asarray(layer.data)
    for share in PAINTED:
        paint(labels, scan, int(share * scan.shape[0]))
    look_at(tour, layer, int(PAINTED[2] * scan.shape[0]))
    tour.wait(lambda: dock.data.painted.slices == len(PAINTED), 60)
    for row, name in enumerate(NAMES.values()):
        dock.data.table.item(row, 1).setText(name)
    tour.picture("painted")

    if steps is not None:
        begin_with_nothing(dock, steps)
    else:
        dock.form.budget.set_values(None, minutes)
    look_at(tour, layer, int(0.52 * scan.shape[0]))
    dock.primary.click()
    tour.wait(lambda: dock.view.overlay.step > 0 or not dock.running, 600)
    tour.wait(lambda: not dock.running, minutes * 60 * 0.5)
    tour.picture("live-prediction")
    tour.wait(lambda: not dock.running, minutes * 60 * 4 + 600)
    dock.take_prediction()
    paint(labels, scan, int(0.52 * scan.shape[0]))
    dock.go_on()
    tour.wait(lambda: dock.running, 60)
    look_at(tour, layer, int(0.68 * scan.shape[0]))
    tour.wait(lambda: not dock.running, minutes * 60 * 4 + 600)
    tour.picture("continued")
    for each in (labels, *(one for one in tour.viewer.layers if type(one).__name__ == "Labels")):
        each.visible = False
    return Path(dock.follower.run_dir)


def show_segment(tour: Tour, layer: Any, model: Path) -> None:
    """Segment ``layer`` with ``model``; labels and table, in 2D and 3D."""
    dock = tour.dock("Segment")
    dock.models.set_path(str(model))
    dock.scans.set_layer(layer)
    tour.wait(seconds=1)
    dock.primary.click()
    tour.wait(lambda: dock.running, 30)
    tour.wait(lambda: not dock.running and not dock.panel.busy, 900)
    tour.picture("segmented")
    layer.visible = False
    tour.viewer.dims.ndisplay = 3
    tour.viewer.camera.angles = (0, 25, 60)
    tour.wait(seconds=3)
    tour.picture("segmented-3d")
    tour.viewer.dims.ndisplay = 2
    layer.visible = True


def begin_with_nothing(dock: Any, steps: int) -> None:
    """Settings of a small network that learns in ``steps``."""
    config = dock.form.config()
    small = {"sampling": {"patch": (16, 48, 48)}, "augmentation": "none", "optimiser": {"lr": 5e-3, "warmup": 5}}
    every = config.validation.replaced(every=max(1, steps // 5))
    dock.form.set_config(config.replaced(model=None, steps=steps, minutes=None, validation=every, **small))


def look_at(tour: Tour, layer: Any, z: int) -> None:
    """Show axial slice ``z``."""
    tour.viewer.dims.set_point(0, layer.data_to_world((z, 0, 0))[0])


def main(arguments: list[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(prog="python -m napari_genesis.tour_finetune", description=__doc__)
    parser.add_argument("--scan", help="DICOM folder or zip, NIfTI, NRRD or MetaImage; default: a phantom")
    parser.add_argument("--minutes", type=float, default=2.0, help="length of each of the two trainings")
    parser.add_argument("--steps", type=int, help="length in steps, begun with nothing, in place of minutes")
    parser.add_argument("--screenshots", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--theme", default="dark", help="dark or light")
    chosen = parser.parse_args(arguments)
    import napari

    chosen.screenshots.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GENESIS_HOME", str(chosen.screenshots / "home"))
    viewer = napari.Viewer(title="napari-genesis")
    viewer.theme = chosen.theme
    tour = Tour(viewer, chosen.screenshots, "finetune-")
    layer = tour.open_scan(chosen.scan)
    show_segment(tour, layer, show_finetune(tour, layer, chosen.minutes, chosen.steps))
    viewer.close()


if __name__ == "__main__":
    main()
