"""The chain of transformations as an editor: presets, one row a step, load and save as YAML, a user's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from genesis3d.errors import GenesisError
from genesis3d.registry import load_plugin
from genesis3d.transforms import CHAIN_PRESETS, TRANSFORMS, Chain, Choice, Step, Transform
from napari_genesis.widgets.preview.model import drawn_curves, read_chain
from napari_genesis.widgets.preview.step import StepRow

if TYPE_CHECKING:
    from genesis3d.intensity import Scale
    from genesis3d.transforms import Params

__all__ = ["ChainEditor", "alone", "entries"]

EDITED = "as edited"
YAML = "Chain (*.yaml *.yml)"


def entries() -> dict[str, Chain]:
    """Return what the combo offers, by text: the chains by name, then each transformation alone, a user's included."""
    known = {cls.name: cls for cls in TRANSFORMS if cls is not Chain}
    chains = {name: chain for name, chain in CHAIN_PRESETS.items() if name not in known or name == "identity"}
    for name, cls in known.items():
        made = CHAIN_PRESETS.get(name) or _default_of(cls)
        if made is not None and name != "identity":
            chains[f"only {cls.label or name}"] = made
    return chains


def _default_of(cls: type[Transform]) -> Chain | None:
    try:
        return Chain(steps=(Step(transform=cls()),))
    except ValidationError:  # a user's class without defaults has no form to begin with
        return None


def alone(chain: Chain, index: int) -> Chain:
    """Return ``chain`` with step ``index`` always applied and the others off: what is drawn for it stays the same."""
    steps = [step.replaced(enabled=k == index, p=1.0 if k == index else step.p) for k, step in enumerate(chain.steps)]
    return Chain(steps=tuple(steps))


class ChainEditor(QWidget):
    """Edits a :class:`Chain`."""

    changed = Signal()  # the chain became another one, by a person
    failed = Signal(str)  # a sentence on a file that could not be read or written; empty: all is well again

    def __init__(self, chain: Chain, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[StepRow] = []
        self._solo: int | None = None
        self._scale: tuple[Scale, str] | None = None
        self._theme = "dark"
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(self._head())
        self._body = QVBoxLayout()
        self._body.setSpacing(6)
        layout.addLayout(self._body)
        layout.addLayout(self._foot())
        self.set_value(chain)

    @property
    def value(self) -> Chain:
        """The chain shown, with ``only`` taken into account."""
        whole = Chain(steps=tuple(row.value for row in self.rows))
        return whole if self._solo is None else alone(whole, self._solo)

    def set_value(self, chain: Chain) -> None:
        """Show ``chain``; emits nothing."""
        self._solo = None
        for row in self.rows:
            self._body.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = []
        for step in chain.steps:
            self._add_row(step)
        self._name()

    def set_drawn(self, params: Params) -> None:
        """Show the curves that :attr:`value` drew, and whether they were applied."""
        for index, (curve, applied) in drawn_curves(self.value, params).items():
            if index < len(self.rows):
                self.rows[index].set_drawn(curve, applied)

    def set_scale(self, scale: Scale, unit: str) -> None:
        """Let curves speak the scan's own values."""
        if self._scale != (scale, unit):
            self._scale = (scale, unit)
            for row in self.rows:
                row.set_scale(scale, unit)

    def set_theme(self, kind: str) -> None:
        """Take the colours of a ``dark`` or ``light`` theme."""
        self._theme = kind
        for row in self.rows:
            row.set_theme(kind)

    def load(self, path: str) -> None:
        """Read a chain from a YAML file, or from a pre-training configuration that has one."""
        try:
            self.set_value(read_chain(path))
        except GenesisError as error:
            self.failed.emit(str(error))
            return
        self.failed.emit("")
        self.changed.emit()

    def save(self, path: str) -> None:
        """Write the chain shown as YAML that ``genesis3d pretrain --chain`` reads, in one piece."""
        from genesis3d.files import write_atomic

        try:
            write_atomic(Path(path), self.value.to_yaml().encode())
        except OSError as error:
            self.failed.emit(f"{path}: the chain could not be saved: {error.strerror or error}")
        else:
            self.failed.emit("")

    def load_python(self, path: str) -> None:
        """Register the transformations of a user's Python file and offer them."""
        before = set(TRANSFORMS.names())
        try:
            load_plugin(path)
        except GenesisError as error:
            self.failed.emit(str(error))
            return
        self._offer()
        new = [name for name in TRANSFORMS.names() if name not in before]
        if not new:
            self.failed.emit(f"{path}: expected a class registered with @TRANSFORMS.register, found no new one")
        else:
            self.failed.emit("")

    def _head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        self.presets = QComboBox()
        self.presets.setObjectName("chain-presets")
        self.presets.setToolTip("a chain of the paper or of its published code, or one transformation alone")
        self.presets.setMinimumContentsLength(10)
        self.presets.activated.connect(self._on_preset)
        head.addWidget(self.presets, 1)
        for name, text, tip, slot in (
            ("chain-load", "Load", "read a chain from a YAML file", self._on_load),
            ("chain-save", "Save", "write the chain as YAML for genesis3d pretrain --chain FILE", self._on_save),
        ):
            button = QPushButton(text)
            button.setObjectName(name)
            button.setToolTip(tip)
            button.clicked.connect(slot)
            head.addWidget(button)
        return head

    def _foot(self) -> QHBoxLayout:
        foot = QHBoxLayout()
        self.adder = QComboBox()
        self.adder.setObjectName("chain-add")
        self.adder.setToolTip("append a transformation to the chain")
        self.adder.activated.connect(self._on_add)
        foot.addWidget(self.adder, 1)
        plugin = QPushButton("Load Python file")
        plugin.setObjectName("chain-plugin")
        plugin.setToolTip("offer transformations of your own, from a file that registers them")
        plugin.clicked.connect(self._on_plugin)
        foot.addWidget(plugin)
        self._offer()
        return foot

    def _offer(self) -> None:
        self._entries = entries()
        self.presets.clear()
        self.presets.addItems([*self._entries, EDITED])
        self.adder.clear()
        self.adder.addItem("add a step ...")
        self._addable = [cls for cls in TRANSFORMS if cls is not Chain and _default_of(cls) is not None]
        self.adder.addItems([cls.label or cls.name for cls in self._addable])
        self._name()

    def _add_row(self, step: Step | Choice) -> None:
        row = StepRow(step)
        row.changed.connect(self._on_row_changed)
        row.alone.connect(self._on_alone)
        row.removed.connect(self._on_removed)
        row.raised.connect(self._on_raised)
        row.set_theme(self._theme)
        if self._scale is not None:
            row.set_scale(*self._scale)
        self.rows.append(row)
        self._body.addWidget(row)

    def _name(self) -> None:
        """Show in the combo which of its chains this is."""
        steps = tuple(row.value for row in self.rows)
        names = [text for text, chain in self._entries.items() if chain.steps == steps]
        self.presets.setCurrentText(names[0] if names else EDITED)

    def _tell(self) -> None:
        self._name()
        self.changed.emit()

    def _on_preset(self) -> None:
        chain = self._entries.get(self.presets.currentText())
        if chain is not None:
            self.set_value(chain)
            self.changed.emit()

    def _on_row_changed(self) -> None:
        self._tell()

    def _on_alone(self, on: bool) -> None:
        chosen = self.rows.index(self.sender())
        self._solo = chosen if on else None
        for index, row in enumerate(self.rows):
            row.only.blockSignals(True)
            row.only.setChecked(on and index == chosen)
            row.only.blockSignals(False)
        self.changed.emit()

    def _on_removed(self) -> None:
        row = self.sender()
        if len(self.rows) > 1:
            self._drop_solo()
            self.rows.remove(row)
            self._body.removeWidget(row)
            row.hide()
            row.deleteLater()
            self._tell()

    def _on_raised(self) -> None:
        row = self.sender()
        index = self.rows.index(row)
        if index > 0:
            self._drop_solo()
            self.rows.insert(index - 1, self.rows.pop(index))
            self._body.insertWidget(index - 1, row)
            self._tell()

    def _drop_solo(self) -> None:
        self._solo = None
        for row in self.rows:
            row.only.blockSignals(True)
            row.only.setChecked(False)
            row.only.blockSignals(False)

    def _on_add(self, index: int) -> None:
        self.adder.setCurrentIndex(0)
        if index > 0:
            self._drop_solo()
            self._add_row(Step(transform=self._addable[index - 1]()))
            self._tell()

    def _on_load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load a chain", "", f"{YAML};;Pre-training (config.json);;All (*)")
        if path:
            self.load(path)

    def _on_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the chain", "chain.yaml", YAML)
        if path:
            self.save(path)

    def _on_plugin(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Load transformations", "", "Python (*.py)")
        if path:
            self.load_python(path)
