"""Labelled scans on disk: a folder of images and one of labels, or a dataset.json."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QLineEdit, QPushButton, QToolButton, QVBoxLayout, QWidget

from genesis3d.events import Control, Finished
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.parts import form_layout

if TYPE_CHECKING:
    from genesis3d.data.targets import TargetData

__all__ = ["FolderInputs"]

PLACES = {
    "images": ("Images", "folder of scans; one that holds images/ and labels/ needs nothing else"),
    "labels": ("Labels", "folder of label files, called like the images"),
    "dataset": ("or dataset", "dataset.json of the Medical Segmentation Decathlon or of nnU-Net, or its folder"),
}


class FolderInputs(QWidget):
    """Three lines to type, browse or drop into, and a look at what is there.

    Signals
    -------
    changed() : other folders
    failed(str) : a sentence about what could not be read
    started(object) : a :class:`Job` looks at names and headers
    """

    changed = Signal()
    failed = Signal(str)
    started = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, QLineEdit] = {}
        self.summary = QLabel(objectName="folder-summary", wordWrap=True)
        self.summary.setStyleSheet("font-size: 8pt")
        self.look_button = QPushButton("Look", objectName="folder-look")
        self.look_button.setToolTip("find the cases and name them, without reading a voxel")
        self.look_button.clicked.connect(self.look)
        rows = form_layout()
        for name, (label, tip) in PLACES.items():
            rows.addRow(label, self._line(name, tip))
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addLayout(rows)
        column.addWidget(self.look_button)
        column.addWidget(self.summary)
        column.addStretch(1)
        self._on_edited()

    @property
    def chosen(self) -> bool:
        """Whether anything is named."""
        return bool(self._text("dataset") or self._text("images"))

    def data(self) -> TargetData:
        """Return what is named; raises ConfigError for a data set beside folders."""
        from genesis3d.data.targets import TargetData

        places = {name: (self._text(name),) if self._text(name) else () for name in ("images", "labels")}
        return TargetData.parse({**places, "dataset": self._text("dataset") or None}, "folders")

    def set_data(self, data: TargetData) -> None:
        """Show folders."""
        for name, values in (("images", data.images), ("labels", data.labels)):
            self.lines[name].setText(values[0] if len(values) == 1 else "")
        self.lines["dataset"].setText(data.dataset or "")
        self._on_edited()

    def look(self, *_: object) -> None:
        """Find the cases behind the window."""
        from genesis3d.errors import GenesisError

        try:
            data = self.data()
        except GenesisError as error:
            self.failed.emit(str(error))
            return
        job = ThreadJob(_finding(data), name="find labelled scans")
        job.event.connect(self._on_event)
        job.ended.connect(self._on_ended)
        self.summary.setText("looking ...")
        self.started.emit(job)
        job.start()

    def _line(self, name: str, tip: str) -> QWidget:
        line = QLineEdit(objectName=f"folder-{name}")
        line.setToolTip(tip)
        line.setPlaceholderText(tip.partition(";")[0])
        line.textChanged.connect(self._on_edited)
        browse = QToolButton(objectName=f"folder-{name}-browse", text="…", toolTip="choose")
        browse.clicked.connect(partial(self._ask, name))
        self.lines[name] = line
        box = QWidget()
        row = QHBoxLayout(box)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(line, 1)
        row.addWidget(browse)
        return box

    def _ask(self, name: str, *_: object) -> None:
        path = QFileDialog.getExistingDirectory(self, PLACES[name][1])
        if path:
            self.lines[name].setText(path)

    def _text(self, name: str) -> str:
        text = self.lines[name].text().strip()
        return str(Path(text).expanduser()) if text else ""

    def _on_edited(self, *_: object) -> None:
        self.look_button.setEnabled(self.chosen)
        self.summary.setText("" if self.chosen else "Folders of labelled scans, as nnU-Net or the MSD have them.")
        self.changed.emit()

    def _on_event(self, event: Any) -> None:
        if isinstance(event, str):
            self.summary.setText(event)

    def _on_ended(self, state: JobState) -> None:
        if state.state == "failed":
            self.summary.setText("")
            self.failed.emit(state.message)


def _finding(data: TargetData) -> Callable[[Control], Iterator[Any]]:
    def work(control: Control) -> Iterator[Any]:
        from genesis3d.data.targets import find_targets

        found = find_targets(data)
        names = ", ".join(case.name for case in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        skipped = f"; {len(found.skipped)} passed over: {found.skipped[0]}" if found.skipped else ""
        yield f"{len(found)} labelled scan{'s' * (len(found) != 1)}: {names}{more}{skipped}"
        yield Finished()

    return work
