"""The Scan dock: window, planes, positions and values of one scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QLabel

from genesis3d.errors import GenesisError
from genesis3d.volume import obliquity_degrees
from napari_genesis.layers import oblique_conflict, volume_from_layer
from napari_genesis.widgets.scan.readout import Readout
from napari_genesis.widgets.scan.views import JumpControls, PlaneControls
from napari_genesis.widgets.scan.window import DepthLook, WindowControls
from napari_genesis.widgets.shell import Dock

if TYPE_CHECKING:
    import napari
    from napari.layers import Layer

    from napari_genesis.widgets.scan.ortho import OrthoViews

__all__ = ["ScanDock"]

SHOW, HIDE = "Show three planes", "Hide three planes"
EMPTY = "Drop a DICOM folder, an archive of one, or a NIfTI, NRRD or MetaImage file on the viewer."


class ScanDock(Dock):
    """Looks at a scan as radiologists do; closing it gives the viewer back as it was."""

    title = "Scan"
    summary = "Window, planes, and the value and patient position under the cursor."
    page = "scans-in-napari"
    verb = SHOW

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.planes: OrthoViews | None = None
        self._look, self._deep = DepthLook(), False
        self.layer_picker = self.picker(kinds=("image", "labels"))
        self.facts = QLabel(objectName="facts", wordWrap=True)
        self.window_controls = WindowControls()
        self.plane_controls = PlaneControls(viewer)
        self.jump = JumpControls(viewer)
        self.readout = Readout(viewer)
        self.inputs.addRow("Layer", self.layer_picker)
        self.inputs.addRow(self.facts)
        for name, part in (("Window", self.window_controls), ("View", self.plane_controls), ("Position", self.jump)):
            self.settings.addRow(name, part)
        self.settings.addRow("Cursor", self.readout)
        self.more_fold.hide()
        self.layer_picker.changed.connect(self.set_layer)
        self.plane_controls.depth.connect(self._on_depth)
        self.set_layer(self.layer_picker.layer)

    @property
    def layer(self) -> Layer | None:
        """The layer looked at."""
        return self.layer_picker.layer

    def set_layer(self, layer: Layer | None) -> None:
        """Look at ``layer``."""
        self._look.take_off()
        for part in (self.window_controls, self.plane_controls, self.jump, self.readout):
            part.set_layer(layer)
        self._deep = False
        self._on_depth(self.viewer.dims.ndisplay == 3)
        self.facts.setText(EMPTY if layer is None else _facts(layer))
        self.show_error(oblique_conflict(self.viewer) or "")
        if layer is None:
            self._hide_planes()
        elif self.planes is not None:
            self.planes.set_layer(layer)
        self._say_primary()

    def start(self) -> None:
        """Show the three planes side by side below the canvas, or hide them."""
        if self.planes is not None:
            self._hide_planes()
        elif self.layer is not None:
            from napari_genesis.widgets.scan.ortho import OrthoViews

            self.planes = OrthoViews(self.viewer, self.layer)
            self.planes.closed.connect(self._on_planes_closed)
            self.viewer.window.add_dock_widget(self.planes, name="Three planes", area="bottom")
        self._say_primary()

    def reset(self) -> None:
        """Show the picked scan as it was first shown: its own window, axial, whole."""
        if self.layer is None:
            return
        from napari_genesis.windows import default_limits

        if hasattr(self.layer, "contrast_limits"):
            self.window_controls.set_limits(*default_limits(volume_from_layer(self.layer)))
        self.plane_controls.anatomical.setChecked(True)
        self.plane_controls.show_plane("axial")

    def shutdown(self) -> None:
        """Let go of the viewer and give its camera back."""
        if self.closed:
            return
        self._hide_planes()
        self._look.take_off()
        for part in (self.window_controls, self.plane_controls, self.jump, self.readout):
            if isalive(part):
                part.release()
        super().shutdown()

    def _on_depth(self, depth: bool) -> None:
        if not depth or self.layer is None:
            self._look.take_off()
        elif not self._deep:
            self._look.put_on(self.layer)
        self._deep = depth and self.layer is not None

    def _hide_planes(self) -> None:
        planes, self.planes = self.planes, None
        if planes is not None and isalive(planes):
            planes.shut()
            self.viewer.window.remove_dock_widget(planes)

    def _on_planes_closed(self) -> None:
        self.planes = None
        if isalive(self) and not self.closed:
            self._say_primary()

    def _say_primary(self) -> None:
        possible = self.layer is not None
        self.set_primary(SHOW if self.planes is None else HIDE, possible, "" if possible else "open a scan first")


def _facts(layer: Any) -> str:
    """Modality, unit, tilt and notes of a layer, one line each."""
    try:
        volume = volume_from_layer(layer)
    except GenesisError as error:
        return str(error)
    lines = [f"{volume.modality or 'unknown modality'}, {'values in ' + volume.unit if volume.unit else 'no unit'}"]
    tilt = obliquity_degrees(volume.geometry)
    if tilt > 0.05:
        lines.append(f"tilted by {tilt:.1f} degrees: slices run along the scan's own axes")
    lines += volume.notes
    return "\n".join(lines)
