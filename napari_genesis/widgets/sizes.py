"""The size of the network: S, M, L, or the one of a preset or run that none of them stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QRadioButton, QWidget

from genesis3d.networks import Network
from genesis3d.workflows.pretrain_config import NETWORK_SIZES

__all__ = ["NetworkSizes"]

OWN = "own"


class NetworkSizes(QWidget):
    """Radio buttons in a row, one for each of ``sizes``; the last is seen while a network of its own is shown.

    Signals
    -------
    picked() : another network
    """

    picked = Signal()

    def __init__(self, sizes: Mapping[str, Any] = NETWORK_SIZES) -> None:
        super().__init__()
        self._sizes = sizes
        self._own: Network = sizes["S"]
        self._group = QButtonGroup(self)
        self.buttons = {size: QRadioButton(size, objectName=f"size-{size}") for size in (*sizes, OWN)}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for size, button in self.buttons.items():
            if size != OWN:
                button.setToolTip(f"3D U-Net of width {sizes[size].width}")
            self._group.addButton(button)
            row.addWidget(button)
            button.toggled.connect(self._tell)
        row.addStretch(1)
        self.buttons[OWN].hide()
        self.buttons["S"].setChecked(True)

    def value(self) -> Network:
        """Return the network chosen."""
        return self._sizes.get(self.size(), self._own)

    def set_value(self, network: Network) -> None:
        """Choose ``network``; emits nothing."""
        size = next((s for s, v in self._sizes.items() if v == network), OWN)
        if size == OWN:
            self._own = network
            said = ", ".join(f"{name} {value}" for name, value in network.to_dict().items())
            self.buttons[OWN].setToolTip(f"the network of the preset or run: {said}")
            self.buttons[OWN].setText(f"{OWN} (width {network.width})" if hasattr(network, "width") else OWN)
        self.blockSignals(True)
        self.buttons[OWN].setVisible(size == OWN)
        self.buttons[size].setChecked(True)
        self.blockSignals(False)

    def size(self) -> str:
        """Return the name of the size, or ``own``."""
        return next(size for size, button in self.buttons.items() if button.isChecked())

    def _tell(self, on: bool) -> None:
        if on:
            self.picked.emit()
