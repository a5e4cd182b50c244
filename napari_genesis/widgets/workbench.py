"""The workbench: opens every dock as a tab, and says what to do first."""

from __future__ import annotations

from functools import partial

from napari.components import ViewerModel
from qtpy.compat import isalive
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

__all__ = ["DOCKS", "SAMPLES", "WorkbenchDock", "open_docks"]

PLUGIN = "napari-genesis"

# display name in the manifest, and what it is for
DOCKS = {
    "Scan": "windows, HU under the cursor, anatomical views",
    "Preview": "see and tune what training will see",
    "Pre-train": "learn anatomy from unlabelled scans",
    "Fine-tune": "teach a model your structures from a few painted slices",
    "Segment": "find structures with a trained model",
    "Anomaly map": "overlay what the network cannot explain",
}
SAMPLES = {
    "thorax_with_opacity": "Thorax phantom with diffuse opacity",
    "thorax": "Thorax phantom",
    "chirality": "Left-right-front-back phantom",
}


def open_docks(viewer: ViewerModel) -> dict[str, QWidget]:
    """Open every dock of the plugin as a tab of one group; return them by display name."""
    opened: dict[str, QWidget] = {}
    for name in DOCKS:
        dock, widget = viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        dock.show()
        opened[name] = widget
    return opened


class WorkbenchDock(QWidget):
    """Where a first visit starts: samples, a scan of one's own, and the docks in the order of use."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.setObjectName("genesis-WorkbenchDock")
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 6, 8, 8)
        column.addWidget(
            self._text("<b>Genesis workbench</b><br>Self-supervised 3D learning on CT and MR, step by step.")
        )
        column.addWidget(self._text("<b>1. A scan</b>: drop a DICOM folder, zip or file on the viewer, or"))
        column.addWidget(self._button("Open files ...", "open-files", self._open_files))
        column.addWidget(self._button("Open a DICOM folder ...", "open-folder", self._open_folder))
        for key, title in SAMPLES.items():
            column.addWidget(self._button(title, f"sample-{key}", partial(self._open_sample, key)))
        column.addWidget(self._text("<b>2. The docks</b>, in the order of use"))
        for name, purpose in DOCKS.items():
            column.addWidget(self._button(name, f"dock-{name}", partial(self._raise, name)))
            column.addWidget(self._text(purpose))
        column.addWidget(self._text("Research software. Not for clinical use."))
        column.addStretch(1)
        QTimer.singleShot(0, self._open_all)  # a dock cannot open others while it is being opened itself

    def _text(self, text: str) -> QLabel:
        label = QLabel(text, wordWrap=True)
        label.setTextFormat(Qt.TextFormat.RichText)
        return label

    def _button(self, text: str, name: str, act: object) -> QPushButton:
        button = QPushButton(text, objectName=name)
        button.clicked.connect(act)
        return button

    def _open_all(self) -> None:
        if not isalive(self):
            return
        open_docks(self.viewer)
        frame = self.parentWidget()
        while frame is not None and not isinstance(frame, QDockWidget):
            frame = frame.parentWidget()
        if frame is not None:
            QTimer.singleShot(100, frame.raise_)  # Qt brings the newest tab to the front once it is laid out

    def _raise(self, name: str, *_: object) -> None:
        dock, _widget = self.viewer.window.add_plugin_dock_widget(PLUGIN, name, tabify=True)
        dock.show()
        dock.raise_()

    def _open_sample(self, key: str, *_: object) -> None:
        self.viewer.open_sample(PLUGIN, key)

    def _open_files(self, *_: object) -> None:
        names, _kind = QFileDialog.getOpenFileNames(self, "Open scans")
        if names:
            self.viewer.open(names, plugin=PLUGIN)

    def _open_folder(self, *_: object) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open a DICOM folder")
        if name:
            self.viewer.open([name], plugin=PLUGIN)
