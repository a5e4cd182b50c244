"""The table of classes: value, colour, name and painted voxels of a labels layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from weakref import ref

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from genesis3d.labels import LARGEST, LabelClass
from napari_genesis.structures import colour_of, name_structures, structures_of
from napari_genesis.widgets.finetune.counting import Painted

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["ClassTable"]

COLUMNS = ("value", "name", "painted voxels")
VALUE, NAME, COUNT = range(3)
ROWS_SEEN = 4
READ_ONLY = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable


class ClassTable(QTableWidget):
    """One row a painted value; names are edited in place and kept with the layer; a click makes it the brush's.

    Signals
    -------
    renamed() : a person gave a class another name
    """

    renamed = Signal()

    def __init__(self) -> None:
        super().__init__(0, len(COLUMNS), objectName="class-table")
        self._layer: ref[Labels] | None = None
        self._painted = Painted()
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setToolTip("what is learnt: double-click a name to change it; a click makes the value the brush's")
        self.setFixedHeight(
            int(header.sizeHint().height() + 4 + ROWS_SEEN * self.verticalHeader().defaultSectionSize())
        )
        self.itemChanged.connect(self._on_edited)
        self.itemClicked.connect(self._on_clicked)

    @property
    def layer(self) -> Labels | None:
        """The layer whose classes are shown."""
        return None if self._layer is None else self._layer()

    def show_layer(self, layer: Labels | None) -> None:
        """Show the classes of ``layer``, which are counted later."""
        self._layer = None if layer is None else ref(layer)
        self.show_painted(Painted())

    def show_painted(self, painted: Painted) -> None:
        """Show the values found, with those that have a name but no voxel (any more)."""
        self._painted = painted
        self.blockSignals(True)
        classes = self.all_classes()
        self.setRowCount(len(classes))
        for row, one in enumerate(classes):
            self._fill(row, one)
        self.blockSignals(False)

    def all_classes(self) -> tuple[LabelClass, ...]:
        """Return every class shown, by value, with its colour and name (``label 3`` where none was given)."""
        layer = self.layer
        named = () if layer is None else structures_of(layer)
        return self.classes_of([*self._painted.voxels, *named])

    def classes_of(self, values: Iterable[int]) -> tuple[LabelClass, ...]:
        """Return the classes of ``values``, as far as they can be classes."""
        layer = self.layer
        if layer is None:
            return ()
        named = structures_of(layer)
        return tuple(
            LabelClass(
                value=value,
                name=named[value].name if value in named else f"label {value}",
                colour=colour_of(layer, value),
            )
            for value in sorted({value for value in values if 0 < value <= LARGEST})
        )

    def classes(self) -> tuple[LabelClass, ...]:
        """Return the classes of which at least one voxel is painted."""
        return tuple(one for one in self.all_classes() if self._painted.voxels.get(one.value))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Enter edits the name of the row; it does not start a training."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            item = self.item(self.currentRow(), NAME)
            if item is not None and self.state() != QAbstractItemView.State.EditingState:
                self.editItem(item)
        else:
            super().keyPressEvent(event)

    def _fill(self, row: int, one: LabelClass) -> None:
        swatch = QPixmap(14, 14)
        swatch.fill(QColor(one.colour))
        value = QTableWidgetItem(QIcon(swatch), str(one.value))
        name = QTableWidgetItem(one.name)
        count = QTableWidgetItem(f"{self._painted.voxels.get(one.value, 0):,}")
        count.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for column, item in ((VALUE, value), (NAME, name), (COUNT, count)):
            item.setData(Qt.ItemDataRole.UserRole, one.value)
            if column != NAME:
                item.setFlags(READ_ONLY)
            self.setItem(row, column, item)

    def _on_edited(self, item: QTableWidgetItem) -> None:
        layer, value = self.layer, item.data(Qt.ItemDataRole.UserRole)
        if layer is None or item.column() != NAME:
            return
        wanted = " ".join(item.text().split())[:64]
        others = {one.name.lower() for one in self.all_classes() if one.value != value}
        if wanted and wanted.lower() not in others:
            known = structures_of(layer)
            known[value] = LabelClass(value=value, name=wanted, colour=colour_of(layer, value))
            name_structures(layer, known.values())
        self.show_painted(self._painted)
        self.renamed.emit()

    def _on_clicked(self, item: QTableWidgetItem) -> None:
        layer = self.layer
        if layer is not None:
            layer.selected_label = item.data(Qt.ItemDataRole.UserRole)
