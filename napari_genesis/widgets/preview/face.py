"""The Preview dock's face: header and views that always stay in sight, the settings in a scroll area."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.theme import get_theme
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSplitter, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from genesis3d.transforms import Chain, chain_preset
from napari_genesis.widgets.preview.chain import ChainEditor
from napari_genesis.widgets.preview.model import Triple
from napari_genesis.widgets.preview.parts import AddressPanel, PlacePanel, ViewPanel
from napari_genesis.widgets.preview.scan import refusal
from napari_genesis.widgets.preview.source import SourcePanel
from napari_genesis.widgets.preview.views import DifferenceView
from napari_genesis.widgets.shell import Dock, theme_kind

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["CHAIN", "SIZE", "PreviewFace", "collect_soon"]

SIZE: Triple = (32, 64, 64)
CHAIN = "official"
REMEMBER_MS = 1500
WIDTH = 470
WIDE = 1.5  # a dock this much wider than high has its settings beside the views


class PreviewFace(Dock):
    """The widgets of the Preview dock, and nothing of what they do."""

    title = "Preview"
    summary = "What the transformations do to a sub-volume, live."
    page = "preview-dock"
    verb = "Draw anew"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._build_panels()
        self._build_views()
        self.recall()
        self.remember = QTimer(self)
        self.remember.setSingleShot(True)
        self.remember.setInterval(REMEMBER_MS)
        self.remember.timeout.connect(self.store_settings)
        self.destroyed.connect(collect_soon)

    def _build_panels(self) -> None:
        self.layers = self.picker(kinds=("image", "labels"), accepts=_any_layer)
        self.place = PlacePanel(SIZE)
        self.source = SourcePanel()
        self.chain = ChainEditor(chain_preset(CHAIN))
        self.address = AddressPanel()
        self.inputs.addRow("Layer", self.layers)
        self.inputs.addRow("Shown", self.source)
        self.inputs.addRow("Sub-volume", self.place)
        self.settings.addRow(QLabel("<b>Chain</b>"))
        self.settings.addRow(self.chain)
        copy = QPushButton("Copy as Python")
        copy.setObjectName("copy-python")
        copy.setToolTip("Python that makes these very voxels, to the clipboard")
        copy.clicked.connect(self.copy_python)
        self.settings.addRow(copy)

    def _build_views(self) -> None:
        """Header and views above, everything else scrolls below (or beside, where the dock is wide)."""
        self.views = DifferenceView()
        self.looks = ViewPanel()
        self.outcome = QLabel(objectName="outcome", wordWrap=True)
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(8, 0, 8, 0)
        column.setSpacing(4)
        column.addWidget(self.views, 1)
        column.addWidget(self.looks)
        column.addWidget(self.address)
        draw = QHBoxLayout()
        draw.addWidget(self.outcome, 1)
        draw.addWidget(self.address.lock)
        draw.addWidget(self.primary)
        column.addLayout(draw)
        column.addWidget(self.status)
        body = self.scroll.widget().layout()
        header = body.takeAt(0)
        outer = self.layout()
        outer.removeWidget(self.scroll)
        row = QHBoxLayout()
        row.setContentsMargins(8, 6, 8, 0)
        row.addLayout(header.layout())
        outer.addLayout(row)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.addWidget(top)
        self.splitter.addWidget(self.scroll)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setStretchFactor(1, 1)
        outer.addWidget(self.splitter, 1)

    def current_chain(self) -> Chain:
        """Return the chain shown, for other docks."""
        return self.chain.value

    def usable_layers(self) -> list[Layer]:
        """Return the layers that can be shown, uppermost first."""
        return [layer for layer in self.layers.layers() if not refusal(layer)]

    def dims_events(self) -> tuple[Any, ...]:
        """Return what tells that the viewer shows other slices."""
        events = self.viewer.dims.events
        return events.ndisplay, events.order, events.point

    def copy_python(self) -> None:
        """Put Python that makes these voxels on the clipboard."""

    def sizeHint(self) -> QSize:  # Qt's name
        """Wide enough for three canvases, with the better half of a small screen left to the scan."""
        return QSize(WIDTH, 700)

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Docked below the viewer, the settings stand beside the views."""
        wide = self.width() > WIDE * self.height()
        self.splitter.setOrientation(Qt.Orientation.Horizontal if wide else Qt.Orientation.Vertical)
        super().resizeEvent(event)

    def _on_theme(self, event: Any = None) -> None:
        super()._on_theme(event)
        if hasattr(self, "chain"):  # the shell asks before the panels are there
            self.chain.set_theme(theme_kind(self.viewer))
            accent = get_theme(self.viewer.theme).current.as_hex()
            self.setStyleSheet(f"QToolButton:checked {{ background-color: {accent}; border-radius: 2px }}")

    def store_settings(self) -> None:
        """Remember chain, size, address and window."""
        self.remember.stop()
        if self.place.isEnabled():  # as training, the chain is the training's
            self.store.put("chain", self.chain.value.to_dict())
        self.store.put("size", list(self.place.size3))
        self.store.put("address", list(self.address.value))
        self.store.put("window", self.looks.windows.currentText())

    def recall(self) -> None:
        """Take up what was remembered; what no longer fits is left at its default."""
        known = self.store.load()
        with suppress(GenesisError, TypeError, ValueError):
            self.chain.set_value(Chain.parse(known["chain"])) if "chain" in known else None
        with suppress(TypeError, ValueError):
            d, h, w = (int(n) for n in known.get("size", SIZE))
            self.place.set_size((d, h, w))
        with suppress(TypeError, ValueError):
            seed, step, slot = (int(n) for n in known.get("address", (0, 0, 0)))
            self.address.set_value(seed, step, slot)
        self.looks.windows.setCurrentText(str(known.get("window", self.looks.windows.currentText())))


def collect_soon() -> None:
    """Let go of plots and canvases in the GUI thread, soon: collected by chance in a job's thread they would crash."""
    QTimer.singleShot(0, _collect)


def _collect() -> None:
    gc.collect()


def _any_layer(layer: Layer) -> bool:
    """Offer every image and labels layer: what cannot be shown is refused with a sentence, not hidden."""
    return True
