"""Choosing a model: the one picker of all docks.

It lists the models that ship, the user's library, the runs of the Pre-train dock and files opened by hand, shows the
picked one's card, and says what of the chosen scan the model was not trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QMessageBox, QToolButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from genesis3d.networks.library import Library
from genesis3d.networks.model_file import read_card
from napari_genesis.widgets.model_card import CardPanel, differences
from napari_genesis.widgets.model_combo import OPEN, ModelCombo
from napari_genesis.widgets.model_dialogs import ExportDialog, ImportDialog
from napari_genesis.widgets.model_entries import Entry, describe_card, list_entries, model_name, purpose_of
from napari_genesis.widgets.parts import show_page, theme_kind
from napari_genesis.widgets.shared import Store, runs_folder

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.networks.card import ModelCard

__all__ = ["ModelPicker", "describe_card", "model_name"]

EMPTY = "No model yet: pre-train one in the Pre-train dock, or open a model file."
NONE_YET = {
    "segmentation": "No segmentation model yet: fine-tune one on labels of yours, or open a model file. Models that "
    "restore scans, such as those that ship, name no structures; fine-tuning begins with one of them.",
    "opacity": "No opacity model yet: train one, or open a model file.",
}
DOES = {"restoration": "restores scans", "opacity": "finds opacity", "segmentation": "segments scans",
        "classification": "classifies scans"}  # fmt: skip
OPENABLE = "Models (*.safetensors)"
MOST_FILES = 12
REFRESH_MS = 3000


class ModelPicker(QWidget):
    """A combo of models with the picked one's card below.

    Parameters
    ----------
    store : what the dock remembers: the model picked last
    viewer : napari's viewer, for its theme
    purpose : offer only models for this (restoration, segmentation, ...), or any of several; None: all

    Signals
    -------
    changed(object) : the path picked, or None; also when the model behind it was replaced
    """

    changed = Signal(object)

    def __init__(
        self, store: Store, viewer: ViewerModel | None = None, purpose: str | tuple[str, ...] | None = None
    ) -> None:
        super().__init__()
        self._store, self._viewer = store, viewer
        self._purpose = (purpose,) if isinstance(purpose, str) else purpose
        self._channels = 1
        self._files = Store("ModelPicker")
        self._entries: list[Entry] = []
        self._picked: Entry | None = None
        self._layer: ref[Layer] | None = None
        self._filled = False
        self.card: ModelCard | None = None
        self.error = ""
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)
        self.refresh()

    @property
    def path(self) -> Path | None:
        """The run or file picked, or None."""
        return None if self._picked is None else self._picked.path

    def entries(self) -> list[Entry]:
        """Return what is offered, in order."""
        return list(self._entries)

    def set_path(self, path: str | Path) -> None:
        """Pick a run, a file or a library name; a file is remembered."""
        if self._find(path) is None and Path(path).exists():
            kept = [str(path), *(name for name in self._files.get("files", []) if name != str(path))]
            self._files.put("files", kept[:MOST_FILES])
            self.refresh()
        entry = self._find(path)
        if entry is None:
            self._explain(Path(path))
        else:
            self._store.put("model", entry.key)
            self.combo.setCurrentIndex(self.combo.findData(entry.key))

    def set_layer(self, layer: Layer | None, channels: int = 1) -> None:
        """Say what of ``layer`` the model was not trained on, now and when another model is picked.

        ``channels``: how many such layers the scan is made of.
        """
        self._layer, self._channels = (None if layer is None else ref(layer)), channels
        self._say_mismatch()

    def set_purpose(self, purpose: tuple[str, ...]) -> None:
        """Offer only models for one of these purposes."""
        if purpose != self._purpose:
            self._purpose = purpose
            if self._picked is not None and purpose_of(self._picked.path) not in (*purpose, None):
                self._picked = None
            self.refresh()

    def refresh(self) -> None:
        """Look for models anew; the picked one stays picked while it exists."""
        if self.combo.view().isVisible():
            return
        entries = list_entries(runs_folder(), self._files.get("files", []), self._purpose)
        if entries != self._entries or not self._filled:
            self._entries, self._filled = entries, True
            self.combo.fill(entries)
        key = self._picked.key if self._picked is not None else self._store.get("model")
        wanted = self._find(key) if key is not None else None
        self._show(wanted or next(iter(entries), None))

    def showEvent(self, event: Any) -> None:  # Qt's name
        """A training, or another dock, may have made a model since it was last seen."""
        super().showEvent(event)
        self.refresh()
        self._timer.start()

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Nobody looks."""
        self._timer.stop()
        super().hideEvent(event)

    # what the menu does

    def open_file(self) -> None:
        """Ask for a model file and pick it."""
        name, _kind = QFileDialog.getOpenFileName(self, "Open a model", "", OPENABLE)
        if name:
            self.set_path(name)

    def import_weights(self) -> ImportDialog:
        """Open the dialog that puts a model or another project's weights into the library."""
        layer = None if self._layer is None else self._layer()
        source = None if layer is None else layer.metadata.get("genesis", {}).get("source")
        return self._opened(ImportDialog(self, source if source and Path(source).exists() else None))

    def add_to_library(self) -> ImportDialog:
        """Open the same dialog with the picked run or file filled in."""
        dialog = self.import_weights()
        dialog.set_file(str(self.path))
        return dialog

    def export(self) -> ExportDialog | None:
        """Open the dialog that writes the picked model into a file of its own."""
        return None if self._picked is None else self._opened(ExportDialog(self._picked.path, self))

    def remove(self) -> None:
        """Delete the picked model from the user's library, after asking."""
        entry = self._picked
        if (
            entry is None
            or not entry.removable
            or not self.confirm(f"Delete the model '{entry.key}' from your library?")
        ):
            return
        try:
            Library().remove(entry.key)
        except GenesisError as error:
            self.info.setText(str(error))
        else:
            self._picked = None
            self.refresh()

    def confirm(self, question: str) -> bool:
        """Ask before something is deleted."""
        buttons = QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No
        answer = QMessageBox.question(self, "Remove model", question, buttons, QMessageBox.StandardButton.No)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def show_help(self) -> None:
        """Open the page on models."""
        show_page(self, "Models", "models")

    # inside

    def _build(self) -> None:
        self.combo = ModelCombo()
        self.panel = CardPanel()
        self.info = self.panel.info
        self.menu_button = QToolButton(objectName="model-menu", text="⋯", toolTip="open, import, export, remove")
        self.menu_button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu_button.setStyleSheet("QToolButton::menu-indicator { image: none }")
        self.help_button = QToolButton(objectName="model-help", text="?", toolTip="what models are, and where from")
        row = QHBoxLayout()
        row.addWidget(self.combo, 1)
        row.addWidget(self.menu_button)
        row.addWidget(self.help_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(row)
        column.addWidget(self.panel)
        self.setFocusProxy(self.combo)
        self._build_menu()
        self.combo.opening.connect(self.refresh)
        self.combo.currentIndexChanged.connect(self._on_index)
        self.combo.activated.connect(self._on_activated)
        self.help_button.clicked.connect(self.show_help)

    def _build_menu(self) -> None:
        menu = QMenu(self.menu_button)
        self.menu_actions: dict[str, Any] = {}
        for name, label, slot in (
            ("open", OPEN, self.open_file),
            ("import", "Import weights…", self.import_weights),
            ("add", "Add to library…", self.add_to_library),
            ("export", "Export…", self.export),
            ("remove", "Remove from library…", self.remove),
        ):
            self.menu_actions[name] = menu.addAction(label, slot)
        self.menu_button.setMenu(menu)

    def _find(self, wanted: str | Path) -> Entry | None:
        return next((e for e in self._entries if str(wanted) in (e.key, str(e.path))), None)

    def _on_index(self, index: int) -> None:
        key = self.combo.itemData(index) if index >= 0 else None
        entry = self._find(key) if key not in (None, OPEN) else None
        self._show(self._picked if entry is None else entry)

    def _on_activated(self, index: int) -> None:
        chosen, self.combo.opened = self.combo.opened, False
        if self.combo.itemData(index) == OPEN:
            if chosen:  # not by the wheel or an arrow key
                self.open_file()
        elif self._picked is not None:
            self._store.put("model", self._picked.key)

    def _show(self, entry: Entry | None) -> None:
        """Make ``entry`` the picked one and show what it says of itself."""
        before = (self._picked, self.card)
        self._picked = entry
        self.combo.blockSignals(True)
        self.combo.setCurrentIndex(-1 if entry is None else self.combo.findData(entry.key))
        self.combo.blockSignals(False)
        self.card, self.error = None, ""
        if entry is not None:
            try:
                self.card = read_card(entry.path)  # the header alone: a run in progress gets better while we look
            except GenesisError as error:
                self.error = str(error)
        self.panel.show_card(self.card, self.path, self.error or NONE_YET.get((self._purpose or ("",))[0], EMPTY))
        self._update()
        if before != (self._picked, self.card):
            self.changed.emit(self.path)

    def _update(self) -> None:
        entry, usable = self._picked, self.card is not None
        self.menu_actions["add"].setVisible(usable and entry is not None and entry.key == str(entry.path))
        self.menu_actions["export"].setEnabled(usable)
        self.menu_actions["remove"].setEnabled(entry is not None and entry.removable)
        self._say_mismatch()

    def _explain(self, path: Path) -> None:
        """Say why a model that is there is not offered."""
        does = DOES.get(purpose_of(path) or "", "")
        if does and self._purpose is not None:
            self.panel.show_mismatch([f"{model_name(path)} {does}: it cannot be used here."], self._theme())

    def _say_mismatch(self) -> None:
        layer = None if self._layer is None else self._layer()
        said = [] if layer is None or self.card is None else differences(self.card, layer, self._channels)
        self.panel.show_mismatch(said, self._theme())

    def _theme(self) -> str:
        return "dark" if self._viewer is None else theme_kind(self._viewer)

    def _opened(self, dialog: Any) -> Any:
        dialog.made.connect(self._on_made)
        dialog.status.set_theme(self._theme())
        dialog.show()
        return dialog

    def _on_made(self, name: str) -> None:
        if isalive(self):
            self.refresh()
            self.set_path(name)
