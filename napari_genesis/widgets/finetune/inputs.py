"""What a fine-tuning learns from: a scan and labels of the viewer, or folders of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget

from genesis3d.errors import ConfigError, GenesisError, ScanError
from genesis3d.labels import named
from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.widgets.colours import label_colours
from napari_genesis.widgets.finetune.classes import ClassTable
from napari_genesis.widgets.finetune.counting import LabelWatch, Painted
from napari_genesis.widgets.finetune.folders import FolderInputs
from napari_genesis.widgets.finetune.handing import Pair
from napari_genesis.widgets.parts import form_layout
from napari_genesis.widgets.training_rows import narrow

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer

    from napari_genesis.widgets.pickers import LayerPicker

__all__ = ["Inputs", "new_labels", "takes"]

UNPAINTED = {
    "slices": "background on painted slices",
    "background": "background everywhere",
    "ignore": "not known: background is painted, too",
}
TIPS = (
    "on a slice with any paint, what is not painted is background; other slices are not learnt from",
    "the whole scan is painted: everything else is background",
    "only painted voxels are learnt from; paint some as a class named background",
)
AXES = ("axial", "coronal", "sagittal")
HINT = "Pick a scan, press 'New labels on this scan', and paint each structure on a few slices."


def takes(layer: Layer) -> bool:
    """Whether the pickers offer ``layer``: a stack of slices, not something that a training shows."""
    if getattr(layer, "rgb", False) or getattr(layer, "multiscale", False):
        return False
    return layer.ndim >= 3 and not {"genesis samples", "genesis prediction"} & set(layer.metadata)


def new_labels(viewer: Any, image: Image) -> Labels:
    """Add an empty labels layer on the grid of ``image``, ready to be painted; raises ScanError."""
    volume = volume_from_layer(image)
    empty = volume.with_data(np.zeros(volume.geometry.shape, np.uint8), unit=None, notes=())
    layer = add_volume(viewer, empty, image, kind="labels", name=f"{image.name} - labels")
    viewer.layers.selection = {layer}
    viewer.layers.selection.active = layer
    layer.colormap = label_colours([named(value) for value in range(1, 41)])
    layer.selected_label = 1
    layer.mode = "paint"
    return layer


class Inputs(QTabWidget):
    """Two tabs: layers, and folders.

    Signals
    -------
    changed() : something else is to be learnt from
    failed(str) : a sentence about what could not be done
    started(object) : a :class:`Job` works in the background; whoever owns the inputs ends it with itself
    """

    changed = Signal()
    failed = Signal(str)
    started = Signal(object)

    def __init__(self, viewer: Any, scans: LayerPicker, second: LayerPicker, labels: LayerPicker) -> None:
        super().__init__()
        self.setObjectName("finetune-inputs")
        self._viewer = viewer
        self.scans, self.second, self.labels = scans, second, labels
        self.painted = Painted()
        self.watch = LabelWatch(viewer, self)
        self.table = ClassTable()
        self.new_button = QPushButton("New labels on this scan", objectName="new-labels")
        self.new_button.setToolTip("an empty labels layer on the scan's grid, the brush ready")
        self.unpainted = narrow(QComboBox(objectName="unpainted"))
        for (key, text), tip in zip(UNPAINTED.items(), TIPS, strict=True):
            self.unpainted.addItem(text, key)
            self.unpainted.setItemData(self.unpainted.count() - 1, tip, 3)
        self.unpainted.setToolTip("what a voxel means that is not painted")
        self.summary = QLabel(HINT, objectName="label-summary", wordWrap=True)
        self.summary.setStyleSheet("font-size: 8pt")
        self.folders = FolderInputs()
        self.addTab(self._layers_page(), "Layers")
        self.addTab(self.folders, "Folders")
        self._connect()
        self.labels.info.hide()  # the summary says more
        self._on_scans()
        self._on_labels(self.labels.layer)

    @property
    def of_folders(self) -> bool:
        """Whether folders, not layers, are learnt from."""
        return self.currentIndex() == 1

    @property
    def possible(self) -> str:
        """Why there is nothing to learn from yet, or empty."""
        if self.of_folders:
            return "" if self.folders.chosen else "choose folders of images and labels first"
        if self.scans.layer is None:
            return "open a scan first"
        return "" if self.labels.layer is not None else "pick labels, or make them on the scan first"

    def unlabelled(self) -> str:
        """Return what an unpainted voxel means, as :class:`TargetData` has it."""
        return str(self.unpainted.currentData())

    def set_unlabelled(self, key: str) -> None:
        """Choose what an unpainted voxel means."""
        self.unpainted.setCurrentIndex(max(0, self.unpainted.findData(key)))

    def pair(self) -> Pair:
        """Return the scan and labels picked.

        Raises
        ------
        ConfigError
            When one of them is missing, or the background is neither said nor painted.
        ScanError
            For a layer that is no 3D volume, or labels that lie elsewhere than the scan.
        """
        if self.scans.layer is None or self.labels.layer is None:
            raise ConfigError(self.possible or HINT)
        scan, labels = volume_from_layer(self.scans.layer), volume_from_layer(self.labels.layer)
        channels = [scan]
        if self.second.layer is not None and self.second.layer is not self.scans.layer:
            channels.append(volume_from_layer(self.second.layer))
        names = {one.name.lower() for one in self.table.classes()}
        if self.unlabelled() == "ignore" and self.painted.total and "background" not in names:
            raise ConfigError("paint some background, too, and name its class background (or choose what is unpainted)")
        require_overlap(scan, labels)
        return Pair(tuple(channels), labels)

    def make_labels(self) -> None:
        """Add an empty labels layer on the picked scan and pick it."""
        image = self.scans.layer
        if image is None:
            self.failed.emit("open a scan first: labels lie on its grid")
            return
        try:
            self.labels.set_layer(new_labels(self._viewer, image))
        except GenesisError as error:
            self.failed.emit(str(error))

    def close_inputs(self) -> None:
        """Let go of the layers."""
        self.watch.close_watch()
        for emitter in self._emitters():
            emitter.disconnect(self._on_scans)
        self.table.show_layer(None)

    def _layers_page(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(6, 6, 6, 6)
        column.setSpacing(4)
        self.rows: QFormLayout = form_layout()
        rows = self.rows
        rows.addRow("Scan", self.scans)
        rows.addRow("and", self.second)
        rows.addRow("Labels", self.labels)
        rows.addRow("Unpainted", self.unpainted)
        column.addLayout(rows)
        for widget in (self.new_button, self.table, self.summary):
            column.addWidget(widget)
        return page

    def _connect(self) -> None:
        self.new_button.clicked.connect(self.make_labels)
        self.labels.changed.connect(self._on_labels)
        for emitter in self._emitters():
            emitter.connect(self._on_scans)
        for signal in (self.scans.changed, self.second.changed, self.currentChanged, self.folders.changed,
                       self.unpainted.currentIndexChanged, self.table.renamed):  # fmt: skip
            signal.connect(self._tell)
        self.folders.failed.connect(self.failed)
        self.watch.counted.connect(self._on_counted)
        self.watch.started.connect(self.started)

    def _emitters(self) -> list[Any]:
        return [self._viewer.layers.events.inserted, self._viewer.layers.events.removed]

    def _on_scans(self, event: Any = None) -> None:
        """Offer a second channel where there is a second scan."""
        if isalive(self):
            self.rows.setRowVisible(self.second, len(self.second.layers()) > 1)

    def _on_labels(self, layer: Labels | None) -> None:
        self.table.show_layer(layer)
        self.painted = Painted()
        self.summary.setText(self._said(self.painted))
        self.watch.follow(layer)
        self._tell()

    def _on_counted(self, painted: Painted) -> None:
        self.painted = painted
        self.table.show_painted(painted)
        self.summary.setText(self._said(painted))
        self._tell()

    def _said(self, painted: Painted) -> str:
        if self.labels.layer is None:
            return HINT
        if not painted.total:
            return "Nothing is painted yet: paint each structure, with a number of its own, on a few slices."
        what = f"{AXES[painted.axis]} slice{'s' * (painted.slices != 1)}"
        return f"{painted.total:,} voxels painted on {painted.slices} {what}."

    def _tell(self, *_: object) -> None:
        self.changed.emit()


def require_overlap(scan: Any, labels: Any) -> None:
    """Raise ScanError unless labels and scan lie over each other in space."""
    from genesis3d.data.channels import LEAST_OVERLAP, overlap

    if labels.geometry.matches(scan.geometry, 0.01):
        return
    share = overlap(scan.geometry, labels.geometry)
    if share < LEAST_OVERLAP:
        raise ScanError(
            f"{labels.name}: expected labels that lie over {scan.name} ({scan.geometry.describe()}), got a grid of "
            f"{labels.geometry.describe()} that covers {100 * share:.0f} % of it"
        )
