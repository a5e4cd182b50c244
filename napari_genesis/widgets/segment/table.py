"""The table of structures: sorted by any column, selecting both ways, exported as CSV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTableWidgetItem

from napari_genesis.widgets.tables import MOST_ROWS, Number, ResultTable

if TYPE_CHECKING:
    from napari_genesis.widgets.segment.measuring import Measured, Structure

__all__ = ["StructureTable"]

ROWS_SEEN = 9


class StructureTable(ResultTable):
    """Structures, or their connected parts; ``chosen`` tells the :class:`Structure` of a row that a person chose."""

    def __init__(self) -> None:
        super().__init__(5, "structures")
        self.set_unit(None)

    def set_unit(self, unit: str | None) -> None:
        """Name the unit of the mean in the header."""
        titles = ("#", "Structure", "mL", "cm²", f"mean {unit}" if unit else "mean")
        tips = ("row", "name, and number of the connected part, 1 the largest", "volume in millilitres",
                "surface in square centimetres", f"mean of the scan inside, {unit or 'in its own values'}")  # fmt: skip
        self.set_titles(titles, tips)

    def fill(self, measured: Measured | None) -> None:
        """Show ``measured``, nothing for None; the row that was chosen is no longer."""
        structures = [] if measured is None else measured.structures
        if len(structures) > MOST_ROWS:
            least = sorted(each.volume_ml for each in structures)[-MOST_ROWS]
            structures = [each for each in structures if each.volume_ml >= least][:MOST_ROWS]
        self.fill_rows((each, _cells(each)) for each in structures)
        rows = min(max(len(structures), 2), ROWS_SEEN)
        self.setFixedHeight(
            self.horizontalHeader().sizeHint().height() + rows * self.verticalHeader().defaultSectionSize() + 4
        )


def _cells(each: Structure) -> tuple[QTableWidgetItem, ...]:
    name = f"{each.name} {each.part}" if each.part else each.name
    mean = "-" if math.isnan(each.mean) else f"{each.mean:.3g}" if abs(each.mean) < 10 else f"{each.mean:.0f}"
    return (
        Number(each.number, str(each.number)),
        QTableWidgetItem(name),
        Number(each.volume_ml, f"{each.volume_ml:.2f}"),
        Number(each.surface_cm2, f"{each.surface_cm2:.1f}"),
        Number(each.mean, mean),
    )
