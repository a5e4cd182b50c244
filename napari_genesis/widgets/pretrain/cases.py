"""The list of cases of a training: layers, files and folders, each with a thumbnail; things can be dropped on it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QIcon, QImage, QPixmap
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from genesis3d.errors import GenesisError
from genesis3d.events import Warned
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.pretrain.case_entries import EDGE, CaseEntry, Found, Read, about, finder
from napari_genesis.widgets.status import memory

if TYPE_CHECKING:
    from napari.layers import Layer

__all__ = ["CaseList"]


class _DropList(QListWidget):
    dropped = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self.setAcceptDrops(True)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # Qt's name
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dragMoveEvent(self, event: QDragMoveEvent) -> None:  # Qt's name
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # Qt's name
        paths = [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]
        event.acceptProposedAction()
        self.dropped.emit(paths)


class CaseList(QWidget):
    """The cases, with buttons to add and remove.

    Signals
    -------
    changed() : the entries are others, or more is known of them
    failed(str) : a sentence about what could not be added
    started(object) : a :class:`Job` reads scans in the background; whoever owns the list ends it with itself
    """

    changed = Signal()
    failed = Signal(str)
    started = Signal(object)

    def __init__(self, viewer: Any, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._entries: list[CaseEntry] = []
        self._jobs: list[ThreadJob] = []
        self.list = _DropList()
        self.list.setObjectName("case-list")
        self.list.setIconSize(QSize(EDGE, EDGE))
        self.list.setFixedHeight(112)
        self.list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.list.setToolTip("scans to learn from; drop files, folders or stores here")
        self.list.dropped.connect(self.add_paths)
        self.summary = QLabel(objectName="case-summary", wordWrap=True)
        self.summary.setStyleSheet("font-size: 8pt")
        buttons = QGridLayout()
        for name, text, slot, tip, place in (
            ("add-layers", "Add selected layers", self.add_selected_layers, "image layers of the viewer", (0, 0, 1, 4)),
            ("remove-case", "Remove", self.remove_selected, "from the list; nothing is deleted", (0, 4, 1, 2)),
            ("add-files", "Files ...", self._ask_files, "scans, or a zip of a DICOM series", (1, 0, 1, 2)),
            ("add-folder", "Folder ...", self._ask_folder, "of scans, or of DICOM files", (1, 2, 1, 2)),
            ("add-store", "Store ...", self._ask_store, "scans prepared by genesis3d prepare", (1, 4, 1, 2)),
        ):
            button = QPushButton(text, objectName=name)
            button.setToolTip(tip)
            button.clicked.connect(slot)
            buttons.addWidget(button, *place)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for item in (self.list, self.summary):
            layout.addWidget(item)
        layout.addLayout(buttons)
        self._update_summary()

    @property
    def entries(self) -> list[CaseEntry]:
        """The cases in the order of the list."""
        return list(self._entries)

    def add_selected_layers(self) -> None:
        """Add the viewer's selected image layers."""
        layers = [layer for layer in self._viewer.layers if layer in self._viewer.layers.selection]
        images = [layer for layer in layers if type(layer).__name__ == "Image"]
        if not images:
            self.failed.emit("select at least one image layer in the layer list first")
        self.add_layers(images)

    def add_layers(self, layers: Iterable[Layer]) -> None:
        """Add layers as they are; a layer that is no 3D scan is named in :attr:`failed`."""
        from napari_genesis.layers import volume_from_layer

        for layer in layers:
            try:
                volume = volume_from_layer(layer)
            except GenesisError as error:
                self.failed.emit(str(error))
                continue
            if any(e.volume is not None and e.volume.data.base is volume.data.base and e.name == layer.name
                   for e in self._entries):  # fmt: skip
                continue
            entry = CaseEntry(layer.name, volume.source, volume.series, volume)
            self._entries.append(entry.seen(volume))
        self._refill()

    def add_paths(self, paths: list[str]) -> None:
        """Add scans and folders of scans; they are looked at in the background."""
        if not paths:
            return
        known = frozenset((e.path, e.series) for e in self._entries if e.volume is None)
        job = ThreadJob(finder(paths, known), name="read cases")
        job.event.connect(self._on_event)
        job.ended.connect(self._on_ended)
        self._jobs = [each for each in self._jobs if each.running] + [job]
        self.started.emit(job)
        job.start()
        self._update_summary()

    def remove_selected(self) -> None:
        """Take the selected cases off the list; nothing is deleted."""
        gone = {index.row() for index in self.list.selectedIndexes()}
        self._entries = [entry for row, entry in enumerate(self._entries) if row not in gone]
        self._refill()

    def clear(self) -> None:
        """Empty the list."""
        self._entries = []
        self._refill()

    @property
    def reading(self) -> bool:
        """Whether scans are being looked at."""
        return any(job.running for job in self._jobs)

    def bytes_to_copy(self) -> int:
        """Return how much may have to be written for layers that differ from their file, or have none."""
        return sum(e.volume.data.nbytes for e in self._entries if e.volume is not None)

    def _on_event(self, event: object) -> None:
        if isinstance(event, Found):
            self._entries.append(event.entry)
            self._refill()
        elif isinstance(event, Read):
            for row, entry in enumerate(self._entries):
                if entry is event.before:
                    self._entries[row] = event.entry
                    self._show(row)
            self._update_summary()
            self.changed.emit()
        elif isinstance(event, Warned):
            self.failed.emit(event.message)

    def _on_ended(self, state: JobState) -> None:
        if state.state == "failed":
            self.failed.emit(state.message)
        self._update_summary()
        self.changed.emit()

    def _refill(self) -> None:
        self.list.clear()
        for row in range(len(self._entries)):
            self.list.addItem(QListWidgetItem())
            self._show(row)
        self._update_summary()
        self.changed.emit()

    def _show(self, row: int) -> None:
        entry, item = self._entries[row], self.list.item(row)
        item.setText(f"{entry.name}   {about(entry)}")
        item.setToolTip("a layer of the viewer" if entry.volume is not None else f"from {Path(entry.path or '').name}")
        if entry.picture is not None:
            height, width = entry.picture.shape
            image = QImage(entry.picture.data, width, height, width, QImage.Format.Format_Grayscale8)
            item.setIcon(QIcon(QPixmap.fromImage(image)))

    def _update_summary(self) -> None:
        count = sum(entry.count or 1 for entry in self._entries)
        if not count:
            hint = "looking for scans ..." if self.reading else "Add layers, or drop scans or folders here."
            self.summary.setText(hint)
            return
        voxels = sum(entry.voxels or 0 for entry in self._entries)
        parts = [f"{count:,} case{'s' * (count != 1)}", f"{voxels / 1e6:.{1 if voxels < 1e7 else 0}f} million voxels"]
        if any(entry.voxels is None for entry in self._entries):
            parts[1] += " and more" if not self.reading else " so far"
        copies = self.bytes_to_copy()
        if copies:
            parts.append(f"layers that differ from their file are written to the run, up to {memory(copies)}")
        self.summary.setText("  ·  ".join(parts))

    def _ask_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self, "Add scans")
        self.add_paths(paths)

    def _ask_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Add a folder of scans, or a DICOM folder")
        self.add_paths([path] if path else [])

    def _ask_store(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Add a store of prepared scans (a folder NAME.zarr)")
        self.add_paths([path] if path else [])
