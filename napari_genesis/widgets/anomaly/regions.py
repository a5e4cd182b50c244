"""The table of regions: sorted by any column, selecting both ways, exported as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTableWidgetItem

from napari_genesis.widgets.tables import MOST_ROWS, Number, ResultTable

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly_map import FoundRegion

__all__ = ["MOST_ROWS", "RegionTable"]


class RegionTable(ResultTable):
    """Regions, the largest first; ``chosen`` tells the :class:`FoundRegion` of a row that a person chose."""

    def __init__(self) -> None:
        super().__init__(6, "regions")
        self.set_unit("HU")

    def set_unit(self, unit: str | None) -> None:
        """Name the unit of the means in the header."""
        unit = unit or "value"
        titles = ("#", "Lung", "mL", "% lungs", f"mean {unit}", "diff.")
        tips = ("number in the regions layer", "left or right, the patient's", "volume in millilitres",
                "share of both lungs", f"mean of the scan in the region, {unit}",
                f"mean of scan minus restored in the region, {unit}")  # fmt: skip
        self.set_titles(titles, tips)

    def fill(self, found: Sequence[FoundRegion]) -> None:
        """Show ``found``; the region that was chosen is no longer."""
        self.fill_rows((item, _cells(item)) for item in found[:MOST_ROWS])


def _cells(item: FoundRegion) -> tuple[QTableWidgetItem, ...]:
    r = item.region
    return (
        Number(r.label, str(r.label)),
        QTableWidgetItem(item.lung or "-"),
        Number(r.volume_ml, f"{r.volume_ml:.2f}"),
        Number(item.share, f"{item.share:.2f}"),
        Number(r.means["value"], f"{r.means['value']:.0f}"),
        Number(r.means["difference"], f"{r.means['difference']:+.0f}"),
    )
