"""The lungs of the Anomaly dock: which are wanted, and the brush to correct them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject

from genesis3d.errors import DomainError, GenesisError
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.widgets.anomaly.looks import lung_colours
from napari_genesis.widgets.anomaly.lungs import brush
from napari_genesis.widgets.anomaly.work import finding

if TYPE_CHECKING:
    from napari.layers import Layer

    from genesis3d.volume import Volume
    from napari_genesis.widgets.anomaly.dock import AnomalyDock

__all__ = ["Masking"]

FOUND, WHOLE = "found in the CT", "the whole scan (no CT in HU)"


class Masking(QObject):
    """What the Anomaly dock does about lungs."""

    def __init__(self, dock: AnomalyDock) -> None:
        super().__init__(dock)
        self.dock = dock
        self._found: list[Volume] = []
        self._like: Any = None
        dock.lungs_picker.brushed.connect(self.edit)

    def wanted(self, scan: Volume) -> tuple[Volume | None, str]:
        """Return the lungs where they are given, and for the engine where they come from.

        Raises
        ------
        DomainError, GeometryError, ScanError
            When the labels layer is not there, or is no mask.
        """
        picker = self.dock.lungs_picker
        if picker.way != "layer":
            return None, "none" if picker.way == "auto" and scan.unit != "HU" else picker.way
        if picker.layer is None:
            raise DomainError(f"{scan.name}: expected a labels layer for the lungs, got none; pick one or another way")
        return volume_from_layer(picker.layer), "layer"

    def describe(self, layer: Layer | None) -> None:
        """Say what the first way means for the picked scan."""
        known = {} if layer is None else layer.metadata.get("genesis", {})
        words = FOUND if layer is None or known.get("unit") == "HU" else WHOLE
        self.dock.lungs_picker.combo.setItemText(0, words)
        self.dock.lungs_picker.brush.setEnabled(layer is not None)

    def edit(self) -> None:
        """Give the brush for the lungs: of the map shown, of the labels picked, or of lungs found for it now."""
        dock, scan = self.dock, self.dock.layer_picker.layer
        shown = dock.panel.kept
        ours = shown is not None and scan is not None and dock.keeping.scan_of(shown) is scan
        mine = (shown.layers.layer("lungs") if ours and shown is not None else None) or dock.lungs_picker.layer
        if mine is not None:
            brush(dock.viewer, mine)
            dock.status.show_facts("paint 1 left, 2 right, 0 to take away; the map follows")
        elif scan is not None and not dock.running:
            self._find(scan)

    def _find(self, layer: Layer) -> None:
        try:
            volume = replace(volume_from_layer(layer), notes=())
        except GenesisError as error:
            self.dock.show_error(str(error))
            return
        way = self.dock.lungs_picker.way
        method = way if way in ("classical", "network", "body") else "auto"
        if method == "auto" and volume.unit != "HU":
            method = "body"
        self._found, self._like = [], layer
        job = ThreadJob(finding(volume, method, self._found), name="finding the lungs")
        job.ended.connect(self._on_found)
        self.dock.watch(job)
        job.start()

    def _on_found(self, state: JobState) -> None:
        like, self._like = self._like, None
        if state.state != "finished" or not self._found:
            return
        dock, mask = self.dock, self._found.pop()
        like = like if like is not None and like in dock.viewer.layers else None
        layer = add_volume(dock.viewer, mask.with_data(mask.data.copy()), like, kind="labels", opacity=0.3,
                           colormap=lung_colours())  # fmt: skip
        dock.lungs_picker.set_layer(layer)
        brush(dock.viewer, layer)
        dock.status.show_facts("correct the lungs with the brush, then map")
