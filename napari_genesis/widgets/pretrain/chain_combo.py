"""The chain of transformations as one choice: the training schemes, other presets, the Preview dock's, or a file."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from genesis3d.transforms import CHAIN_PRESETS, Chain
from genesis3d.workflows.pretrain_config import SCHEMES
from napari_genesis.fields import wheel_needs_focus
from napari_genesis.widgets.parts import add_heading

__all__ = ["FROM_FILE", "FROM_PREVIEW", "ChainCombo"]

FROM_PREVIEW, FROM_FILE = "from the Preview dock", "from a YAML file ..."
SCHEME_HEADING, OTHER_HEADING = "Training schemes", "Other chains"


class ChainCombo(QComboBox):
    """Entries under headings; the data of each is the name of a preset, or one of the two sources."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("chain")
        self.setToolTip("the transformations that the network learns to undo")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        wheel_needs_focus(self)
        add_heading(self, SCHEME_HEADING)
        for scheme, chain in SCHEMES.items():
            self._entry(scheme, chain, "each with its probability" if scheme == "combined" else "alone")
        add_heading(self, OTHER_HEADING)
        for chain in CHAIN_PRESETS:
            if chain not in SCHEMES.values():
                self._entry(chain, chain, "a chain by name")
        self.insertSeparator(self.count())
        self.addItem(FROM_PREVIEW, FROM_PREVIEW)
        self.addItem(FROM_FILE, FROM_FILE)

    def choice(self) -> str:
        """Return the name of the preset, or the source, chosen."""
        return str(self.currentData())

    def choose(self, name: str) -> None:
        """Show the preset or source called ``name``; any other name becomes an entry of its own, first."""
        index = self.findData(name)
        if index < 0:
            self.insertItem(0, name, name)
            index = 0
        self.setCurrentIndex(index)

    @staticmethod
    def name_of(chain: Chain) -> str:
        """Return the preset that ``chain`` is, or ``own chain``."""
        return next((name for name, preset in CHAIN_PRESETS.items() if preset == chain), "own chain")

    def _entry(self, text: str, name: str, tip: str) -> None:
        self.addItem(text, name)
        self.setItemData(self.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
