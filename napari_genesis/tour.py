"""A tour through the docks: what ``make run`` opens, and what the pictures in docs are made by.

    python -m napari_genesis.tour                        # the phantom, in a window to go on working in
    python -m napari_genesis.tour --scan SCAN            # a scan of one's own
    python -m napari_genesis.tour --screenshots FOLDER   # every step done, a numbered picture of each, then the end

A small model is trained for the anomaly map unless ``--model`` names one: on healthy phantoms, or on ``--cases``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari import Viewer

__all__ = ["Tour", "main"]

PLUGIN = "napari-genesis"
FIRST_RUN = "first look"
WINDOW = (1440, 900)


class Tour:
    """The steps; each leaves the window as a user would see it."""

    def __init__(self, viewer: Viewer, pictures: Path | None = None, prefix: str = "") -> None:
        from napari_genesis.widgets.workbench import WorkbenchDock

        self.viewer = viewer
        self.pictures = pictures
        self._prefix, self._count = prefix, 0
        viewer.window._qt_window.resize(*WINDOW)
        _dock, workbench = viewer.window.add_plugin_dock_widget(PLUGIN, "Genesis workbench")
        assert isinstance(workbench, WorkbenchDock)
        self.wait(lambda: len(viewer.window.dock_widgets) >= 5, 60)

    def dock(self, name: str) -> Any:
        """Bring the dock called ``name`` to the front and return it."""
        dock, widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        dock.show()
        dock.raise_()
        self.wait(seconds=0.3)
        return widget

    def wait(self, done: Callable[[], bool] = lambda: False, seconds: float = 1.0) -> bool:
        """Let the window work until ``done()`` or for ``seconds``; return whether it was done."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            QApplication.processEvents()
            time.sleep(0.01)
        return True

    def picture(self, name: str) -> None:
        """Save the window as ``NN-name.png`` (the prefix before it), where pictures are wanted."""
        if self.pictures is None:
            return
        self._count += 1
        self.wait(seconds=1.5)
        path = self.pictures / f"{self._prefix}{self._count:02d}-{name}.png"
        self.viewer.window._qt_window.grab().save(str(path))
        print(path)

    def open_scan(self, path: str | None) -> Any:
        """Open ``path``, or the phantom with diffuse opacity; return the scan's layer."""
        if path is None:
            self.viewer.open_sample(PLUGIN, "thorax_with_opacity")
        else:
            self.viewer.open(path, plugin=PLUGIN)
        layer = next(each for each in self.viewer.layers if type(each).__name__ == "Image")
        for other in self.viewer.layers:
            other.visible = other is layer
        self.viewer.layers.selection.active = layer
        self.wait(seconds=1)
        return layer

    def train(self, cases: list[str], minutes: float, layer: Any) -> Any:
        """Start a pre-training in the Pre-train dock on ``cases``, or on ``layer``; return the dock."""
        dock = self.dock("Pre-train")
        if cases:
            dock.cases.add_paths(cases)
            self.wait(lambda: not dock.cases.reading, 120)
        else:
            dock.cases.add_layers([layer])
        config = dock.config_form.config()
        dock.config_form.set_config(
            config.replaced(minutes=minutes, steps=None, validation=config.validation.replaced(every=25))
        )
        dock.config_form.name.setText(FIRST_RUN)
        dock.start()
        self.wait(lambda: dock.follower is not None and dock.follower.state.step > 0, 180)
        return dock

    def take(self, path: str | None, cases: list[str], model: str | None, minutes: float) -> None:
        """Go through every step; a picture of each."""
        layer = self.open_scan(path)
        self.dock("Genesis workbench")
        self.picture("workbench")
        self.show_scan()
        self.show_preview(layer)
        if minutes > 0:
            training = self.train(cases, minutes, layer)
            self.wait(lambda: not training.running, minutes * 30 + 20)
            self.picture("pre-training")
            self.wait(lambda: not training.running, minutes * 60 + 300)
            self.picture("pre-trained")
            model = model or str(training.follower.run_dir)
        self.show_learnt(layer, model)
        self.show_anomaly(layer, model)

    def show_scan(self) -> None:
        """The Scan dock with its three planes."""
        scan = self.dock("Scan")
        scan.start()
        self.wait(seconds=2)
        self.picture("scan-three-planes")
        scan.start()

    def show_preview(self, layer: Any) -> None:
        """The Preview dock in 2D and 3D."""
        preview = self.dock("Preview")
        layer.visible = True
        self.wait(lambda: preview.outcome.text().startswith("outcome"), 60)
        self.picture("preview")
        self.viewer.dims.ndisplay = 3
        self.wait(seconds=3)
        self.picture("preview-3d")
        self.viewer.dims.ndisplay = 2

    def show_learnt(self, layer: Any, model: str) -> None:
        """The twelve outcomes of a sub-volume of ``layer``, restored by ``model``, in the Pre-train dock."""
        training = self.dock("Pre-train")
        training.learnt.scans.set_layer(layer)
        training.show_learnt(Path(model))
        self.wait(lambda: not training.learnt.running, 600)
        self.picture("what-was-learnt")

    def show_anomaly(self, layer: Any, model: str) -> None:
        """Map ``layer`` with ``model`` and, without, by its HU; the result, both compared, and in 3D."""
        anomaly = self.dock("Anomaly map")
        anomaly.layer_picker.set_layer(layer)
        for recipe in ("hu", "difference"):
            anomaly.recipes.set_recipe(recipe)
            if anomaly.needs_model:
                anomaly.models.set_path(model)
            self.wait(seconds=1)
            anomaly.start()
            self.wait(lambda: anomaly.map is not None and not anomaly.running, 1200)
        self.picture("anomaly-map")
        anomaly.keeping.views_button.setChecked(True)
        anomaly.keeping.compare_fold.expand(animate=False)
        self.picture("anomaly-map-compared")
        anomaly.keeping.views_button.setChecked(False)
        self.viewer.dims.ndisplay = 3
        self.wait(seconds=3)
        self.picture("anomaly-map-3d")
        self.viewer.dims.ndisplay = 2


def first_model() -> Path | None:
    """Return the run of an earlier tour if its model is there."""
    from napari_genesis.widgets.shared import runs_folder

    run = runs_folder() / FIRST_RUN
    return run if (run / "checkpoints" / "last.safetensors").is_file() else None


def healthy_phantoms(count: int = 2) -> list[str]:
    """Write healthy phantoms to train on beside the runs, once; return their paths."""
    from genesis3d.data.phantoms import thorax
    from genesis3d.io import write_volume
    from napari_genesis.widgets.shared import home

    folder = home() / "phantoms"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"healthy-{seed}.mha" for seed in range(1, count + 1)]
    for seed, path in enumerate(paths, start=1):
        if not path.exists():
            write_volume(thorax(seed=seed), path)
    return [str(path) for path in paths]


def main(arguments: list[str] | None = None) -> None:
    """Run the tour."""
    parser = argparse.ArgumentParser(prog="python -m napari_genesis.tour", description=__doc__)
    parser.add_argument("--scan", help="DICOM folder or zip, NIfTI, NRRD or MetaImage; default: a phantom")
    parser.add_argument(
        "--cases", nargs="*", default=[], help="scans to train on; default: healthy phantoms, or the scan"
    )
    parser.add_argument("--model", help="run or model file for the anomaly map, in place of the one trained")
    parser.add_argument(
        "--minutes", type=float, default=1.0, help="length of the small training; 0: none (with --model)"
    )
    parser.add_argument("--screenshots", type=Path, help="folder for numbered pictures of every step; then end")
    chosen = parser.parse_args(arguments)
    import napari

    pictures: Path | None = chosen.screenshots
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("GENESIS_HOME", str(pictures / "home"))
    cases = chosen.cases or ([] if chosen.scan else healthy_phantoms())
    viewer = napari.Viewer(title="napari-genesis")
    tour = Tour(viewer, pictures)
    if pictures is not None:
        tour.take(chosen.scan, cases, chosen.model, chosen.minutes)
        viewer.close()
        return
    layer = tour.open_scan(chosen.scan)
    if first_model() is None and chosen.model is None and not chosen.scan:
        tour.train(cases, chosen.minutes, layer)
    tour.dock("Genesis workbench")
    napari.run()


if __name__ == "__main__":
    main()
