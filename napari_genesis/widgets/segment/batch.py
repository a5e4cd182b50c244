"""A folder of scans into a folder of segmentations: what to fill in, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QPushButton, QWidget

from napari_genesis.widgets.folder_line import FolderLine
from napari_genesis.widgets.parts import form_layout

if TYPE_CHECKING:
    from napari_genesis.widgets.shared import Store

__all__ = ["BatchPanel"]

MOST_LINES = 20


class BatchPanel(QWidget):
    """Folder in, folder out, format and a button; the model and the settings are those of the dock.

    Signals
    -------
    started() : the button was pressed
    """

    started = Signal()

    def __init__(self, store: Store, formats: tuple[str, ...]) -> None:
        super().__init__()
        self._store = store
        self.scans = FolderLine("batch-in", "folder of scans")
        self.out = FolderLine("batch-out", "folder for the segmentations")
        self.format = QComboBox(objectName="batch-format")
        self.format.addItems(formats)
        self.overwrite = QCheckBox("segment again what is there", objectName="batch-overwrite")
        self.overwrite.setToolTip("off: scans whose segmentation is in the folder already are left out")
        self.button = QPushButton("Segment the folder", objectName="batch-start")
        self.told = QLabel(objectName="batch-told", wordWrap=True, visible=False)
        self.told.setTextFormat(Qt.TextFormat.RichText)
        self.told.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.channels = QLineEdit(objectName="batch-channels")
        self.channels.setToolTip("how the names of a case's files end, before the suffix, in the order of the channels")
        self._rows = rows = form_layout()
        self.setLayout(rows)
        for name, part in (
            ("From", self.scans),
            ("Into", self.out),
            ("Channels", self.channels),
            ("Format", self.format),
        ):
            rows.addRow(name, part)
        for part in (self.overwrite, self.button, self.told):
            rows.addRow(part)
        self.set_channels(1)
        self._recall()
        for signal in (self.scans.changed, self.out.changed, self.format.currentIndexChanged):
            signal.connect(self._remember)
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

    @property
    def ends(self) -> list[str]:
        """How the names of a case's files end, one for each channel; empty: one file is a case."""
        return [] if self.channels.isHidden() else [e.strip() for e in self.channels.text().split(",") if e.strip()]

    def set_channels(self, count: int) -> None:
        """Ask for the ends of names where the model takes several files for a case."""
        shown = count > 1
        self._rows.labelForField(self.channels).setVisible(shown)
        self.channels.setVisible(shown)
        if shown and not self.channels.text():
            self.channels.setText(", ".join(f"_{i:04d}" for i in range(count)))

    def tell(self, result: Mapping[str, Any], said: Sequence[str], cancelled: bool) -> None:
        """Say what became of it."""
        cases, done, failed = (result.get(name, 0) for name in ("cases", "complete", "failed"))
        head = f"<b>{done} of {cases} segmented</b> in {escape(self.out.path)}"
        head += ", stopped: start again to go on" if cancelled else ""
        names = failed if isinstance(failed, list) else []
        head += f"; {len(names)} failed, the others are not affected" if names else ""
        errors = [text for text in said if text.startswith(tuple(f"{name} was not" for name in names))]
        notes = [text for text in said if text not in errors]
        lines = [f"✖ {escape(text)}" for text in errors] + [f"⚠ {escape(text)}" for text in notes]
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
            self.format.setCurrentIndex(max(0, self.format.findText(str(kept.get("format", "")))))

    def _suggest(self) -> None:
        """A folder beside the scans, until the user says another."""
        path = Path(self.scans.path)
        if path.name and not self.out.path:
            self.out.line.setText(str(path.with_name(f"{path.name}-segmented")))

    def _remember(self, _: Any = None) -> None:
        values = {"from": self.scans.path, "into": self.out.path, "format": self.format.currentText()}
        self._store.put("batch", values)
        self.allow(True)
