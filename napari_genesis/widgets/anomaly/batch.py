"""A folder of scans into a folder of maps: what to fill in, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QLabel, QPushButton, QWidget

from genesis3d.events import Control, Event, Warned
from napari_genesis.widgets.folder_line import FolderLine
from napari_genesis.widgets.parts import form_layout

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly_batch import AnomalyBatchConfig
    from napari_genesis.widgets.anomaly.work import Work
    from napari_genesis.widgets.shared import Store

__all__ = ["BatchPanel", "mapping_folder"]

MOST_LINES = 20


class BatchPanel(QWidget):
    """Folder in, folder out and a button; recipe, model, lungs and settings are those of the dock.

    Signals
    -------
    started() : the button was pressed
    """

    started = Signal()

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.scans = FolderLine("batch-in", "folder of scans")
        self.out = FolderLine("batch-out", "folder for the maps")
        self.overwrite = QCheckBox("replace maps made with other settings", objectName="batch-overwrite")
        self.overwrite.setToolTip("off: a folder whose maps another model or other settings made is refused")
        self.button = QPushButton("Map the folder", objectName="batch-start")
        self.told = QLabel(objectName="batch-told", wordWrap=True, visible=False)
        self.told.setTextFormat(Qt.TextFormat.RichText)
        self.told.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        rows = form_layout()
        self.setLayout(rows)
        rows.addRow("From", self.scans)
        rows.addRow("Into", self.out)
        for part in (self.overwrite, self.button, self.told):
            rows.addRow(part)
        self._recall()
        for line in (self.scans, self.out):
            line.changed.connect(self._remember)
        self.scans.line.editingFinished.connect(self._suggest)
        self.scans.chosen.connect(self._suggest)
        self.button.clicked.connect(self._on_button)
        self.allow(True)

    def allow(self, possible: bool, why: str = "") -> None:
        """Say whether it can begin now, and ``why`` not."""
        if possible and not (self.scans.path and self.out.path):
            possible, why = False, "choose both folders first"
        self.button.setEnabled(possible)
        self.button.setToolTip(why)

    def tell(self, result: Mapping[str, Any], said: Sequence[str], cancelled: bool) -> None:
        """Say what became of it."""
        failed = list(result.get("failed", ()))
        there = result.get("already_there", 0)
        head = f"<b>{result.get('complete', 0)} of {result.get('cases', 0)} mapped</b> in {escape(self.out.path)}"
        head += f", {there} of them were there already" if there else ""
        head += ", stopped: start again to go on" if cancelled else ""
        head += f"; {len(failed)} failed, the others are not affected" if failed else ""
        errors = tuple(f"{name} was not" for name in failed)
        lines = [f"{'✖' if text.startswith(errors) else '⚠'} {escape(text)}" for text in said]
        lines, rest = lines[:MOST_LINES], len(lines) - MOST_LINES
        self.told.setText("<br>".join([head, *lines, *([f"and {rest} more"] if rest > 0 else [])]))
        self.told.show()

    def _on_button(self) -> None:
        self.told.hide()
        self.started.emit()

    def _recall(self) -> None:
        kept = self._store.get("batch", {})
        if isinstance(kept, dict):
            self.scans.line.setText(str(kept.get("from", "")))
            self.out.line.setText(str(kept.get("into", "")))

    def _suggest(self) -> None:
        """A folder beside the scans, until the user says another."""
        path = Path(self.scans.path)
        if path.name and not self.out.path:
            self.out.line.setText(str(path.with_name(f"{path.name}-maps")))

    def _remember(self) -> None:
        self._store.put("batch", {"from": self.scans.path, "into": self.out.path})
        self.allow(True)


def mapping_folder(config: AnomalyBatchConfig, said: list[str]) -> Work:
    """Return the work of mapping every scan of a folder; what is told of single ones goes to ``said``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.anomaly_batch import anomaly_batch

        for event in anomaly_batch(config, control):
            if isinstance(event, Warned):
                said.append(event.message)
            yield event

    return work
