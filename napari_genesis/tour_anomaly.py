"""The Anomaly dock on a scan with inserted opacity, and its pictures in docs.

    python -m napari_genesis.tour_anomaly --scan SCAN --screenshots FOLDER --model MODEL

Opacities with exactly known masks are grown in a lung of ``--scan`` (a healthy chest CT; default: a phantom); the scan
as it was is the earlier date.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_genesis.tour import Tour

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.volume import Volume

__all__ = ["main", "show_anomaly", "with_opacity"]

FOLD_S = 1.0


def with_opacity(scan: Volume, volume_ml: float, seed: int) -> Volume:
    """Return ``scan`` with opacities of ``volume_ml`` in one of its lungs."""
    from genesis3d.data.inserted import Insertion, inserted
    from genesis3d.workflows.lungs import find_lungs

    found = find_lungs(scan, "classical")
    assert found is not None  # nobody stops it
    changed, _mask = inserted(scan, found.mask, Insertion(volume_ml=volume_ml), seed)
    return changed


def show_anomaly(tour: Tour, layer: Layer, earlier: Layer, model: str | None, recipes: Sequence[str]) -> None:
    """Map, look, exclude, compare recipes and dates; a picture of each."""
    tour.viewer.window.remove_dock_widget(tour.dock("Preview"))  # its box would lie on the scan
    dock = tour.dock("Anomaly map")
    if model is not None:
        dock.models.set_path(model)
    for recipe in recipes:
        map_scan(tour, dock, layer, recipe)
    dock.keeping.show_kept(dock.keeping.maps[0])
    go_to_largest(tour, dock)
    tour.picture("map")
    dock.keeping.views_button.setChecked(True)
    dock.panel.figures.setCurrentIndex(1)
    below(tour, dock)
    tour.picture("linked-views")
    dock.keeping.views_button.setChecked(False)
    dock.panel.figures.setCurrentIndex(0)
    dock.panel.table.selectRow(dock.panel.table.rowCount() - 1)
    dock.panel.regions.exclude.click()
    go_to_largest(tour, dock)
    dock.keeping.compare_fold.expand(animate=False)
    below(tour, dock)
    tour.picture("regions-and-recipes")
    map_scan(tour, dock, earlier, recipes[0])
    first = dock.keeping.maps[0]
    dock.keeping.show_kept(first)
    dock.dating.compare()
    tour.wait(lambda: not dock.running, 600)
    dock.dating.fold.expand(animate=False)
    dock.dating.panel.table.selectRow(0)
    first.layers.hide()
    below(tour, dock)
    tour.picture("two-dates")


def map_scan(tour: Tour, dock: Any, layer: Layer, recipe: str) -> None:
    """Map ``layer`` by ``recipe`` and wait for it."""
    dock.layer_picker.set_layer(layer)
    dock.recipes.set_recipe(recipe)
    tour.wait(seconds=FOLD_S)
    dock.start()
    tour.wait(lambda: not dock.running, 3600)
    tour.wait(lambda: not dock.panel.figures.busy, 120)


def go_to_largest(tour: Tour, dock: Any) -> None:
    """Go to the largest region."""
    dock.panel.table.clearSelection()
    dock.panel.table.selectRow(0)
    tour.wait(seconds=FOLD_S)


def below(tour: Tour, dock: Any) -> None:
    """Scroll to the end of the dock."""
    tour.wait(seconds=FOLD_S)
    bar = dock.scroll.verticalScrollBar()
    bar.setValue(bar.maximum())


def main(arguments: list[str] | None = None) -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(prog="python -m napari_genesis.tour_anomaly", description=__doc__)
    parser.add_argument("--scan", help="a healthy chest CT: DICOM folder or zip, NIfTI, ...; default: a phantom")
    parser.add_argument("--model", help="run, model file or name of the library; default: the one picked at first")
    parser.add_argument("--recipes", nargs="+", default=["opacity", "hu"], help="recipes to compare, the first shown")
    parser.add_argument("--volume", type=float, default=150.0, help="inserted opacity in mL")
    parser.add_argument("--seed", type=int, default=1, help="place and form of the opacity")
    parser.add_argument("--screenshots", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--theme", default="dark", help="dark or light")
    chosen = parser.parse_args(arguments)
    import napari

    from napari_genesis.layers import add_volume, volume_from_layer

    chosen.screenshots.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("GENESIS_HOME", str(chosen.screenshots / "home"))
    viewer = napari.Viewer(title="napari-genesis")
    viewer.theme = chosen.theme
    tour = Tour(viewer, chosen.screenshots, "anomaly-")
    earlier = tour.open_scan(chosen.scan)
    ill = with_opacity(volume_from_layer(earlier), chosen.volume, chosen.seed)
    layer = add_volume(viewer, ill, earlier, contrast_limits=tuple(earlier.contrast_limits))
    earlier.visible = False
    show_anomaly(tour, layer, earlier, chosen.model, chosen.recipes)
    viewer.close()


if __name__ == "__main__":
    main()
