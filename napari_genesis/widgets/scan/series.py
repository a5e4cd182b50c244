"""Choosing among the series and channels that one path offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QSpinBox,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from genesis3d.io import SeriesInfo

__all__ = ["SeriesDialog", "ask_series", "can_ask"]

COLUMNS = ("Series", "Modality", "Slices", "Size (x by y)", "Spacing, mm (x by y by z)", "Channel")
CHANNEL = len(COLUMNS) - 1


def can_ask() -> bool:
    """Whether a user sits before a visible window: not in scripts, tests and headless sessions."""
    app = QApplication.instance()
    if not isinstance(app, QApplication) or app.platformName() in ("offscreen", "minimal"):
        return False
    return any(window.isVisible() for window in app.topLevelWidgets())


def ask_series(series: list[SeriesInfo], name: str) -> list[tuple[str | None, int | None]]:
    """Ask which series of ``name`` to open; return (series UID, channel) pairs, none if the user cancels."""
    dialog = SeriesDialog(series, name, QApplication.activeWindow())
    try:
        return dialog.chosen() if dialog.exec() else []
    finally:
        dialog.deleteLater()


class SeriesDialog(QDialog):
    """A table of series, the largest selected; several may be opened at once.

    A series that cannot be opened is listed, greyed, with the reason as its tooltip.
    """

    def __init__(self, series: list[SeriesInfo], name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Open series")
        self._series = series
        self._channels: dict[int, QSpinBox] = {}
        self.table = self._make_table()
        for row, info in enumerate(series):
            self._add(row, info)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        self.open_button = buttons.button(QDialogButtonBox.StandardButton.Open)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self.table.itemDoubleClicked.connect(self.accept)
        self.table.itemSelectionChanged.connect(self._follow_selection)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel(f"{name} holds {len(series)} series. Choose one or several:"))
        layout.addWidget(self.table)
        layout.addWidget(buttons)
        self.resize(760, 320)
        self._select_first()

    def chosen(self) -> list[tuple[str | None, int | None]]:
        """Return (series UID, channel) of the selected rows, in the table's order."""
        rows = sorted(self.table.indexOfTopLevelItem(item) for item in self.table.selectedItems())
        return [(self._series[r].uid or None, self._channels[r].value() if r in self._channels else None) for r in rows]

    def _make_table(self) -> QTreeWidget:
        table = QTreeWidget()
        table.setHeaderLabels(COLUMNS)
        table.setRootIsDecorated(False)
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        header = table.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        table.setColumnHidden(CHANNEL, all(info.channels == 1 for info in self._series))
        return table

    def _add(self, row: int, info: SeriesInfo) -> None:
        _, height, width = info.shape
        spacing = " x ".join(f"{s:.2f}" for s in reversed(info.spacing)) if info.spacing else "uneven"
        texts = [info.description or "without description", info.modality or "unknown", str(info.slices),
                 f"{width} x {height}", spacing]  # fmt: skip
        item = QTreeWidgetItem(texts)
        item.setTextAlignment(2, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        item.setToolTip(0, info.problem or info.label())
        item.setDisabled(info.problem is not None)
        self.table.addTopLevelItem(item)
        if info.channels > 1:
            spin = QSpinBox()
            spin.setRange(0, info.channels - 1)
            spin.setToolTip(f"0 to {info.channels - 1}: time point, component or colour")
            self._channels[row] = spin
            self.table.setItemWidget(item, CHANNEL, spin)

    def _select_first(self) -> None:
        for row, info in enumerate(self._series):
            if info.problem is None:
                item = self.table.topLevelItem(row)
                item.setSelected(True)
                self.table.setCurrentItem(item)
                break
        self._follow_selection()

    def _follow_selection(self) -> None:
        self.open_button.setEnabled(bool(self.table.selectedItems()))
