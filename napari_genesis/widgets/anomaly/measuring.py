"""The further figures of a map, reckoned behind the window: of regions, lungs, thirds, and classes of density."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis3d.events import Control, Event, Finished
from napari_genesis.widgets.anomaly.kept import without

if TYPE_CHECKING:
    from genesis3d.anomaly.classes import ClassRow
    from genesis3d.anomaly.figures import RegionRow
    from genesis3d.anomaly.pleura import Pleura
    from genesis3d.anomaly.zones import ZoneRow
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap
    from napari_genesis.widgets.anomaly.work import Work

__all__ = ["Figures", "measuring"]


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures of one map: of each region, excluded or not, by number; of lungs and thirds without the excluded."""

    lungs: Volume
    labels: Volume
    pleura: Pleura
    regions: dict[int, RegionRow]
    zones: list[ZoneRow]
    classes: list[ClassRow]


def measuring(result: AnomalyMap, excluded: frozenset[int], before: Figures | None, out: list[Figures]) -> Work:
    """Return the work of reckoning the figures; what ``before`` had of the same lungs and regions is kept."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.anomaly.classes import class_rows
        from genesis3d.anomaly.figures import region_rows
        from genesis3d.anomaly.pleura import Pleura
        from genesis3d.anomaly.zones import zone_rows

        same = before is not None and before.lungs is result.lungs
        pleura = before.pleura if same and before is not None else Pleura.of(result.lungs)
        classes = before.classes if same and before is not None else class_rows(result.scan, result.lungs)
        if before is not None and before.labels is result.labels:
            regions = before.regions
        else:
            regions = {row.region: row for row in region_rows(result, pleura)}
        if control() == "run":
            zones = zone_rows(without(result, excluded))
            out.append(Figures(result.lungs, result.labels, pleura, regions, zones, classes))
        yield Finished(cancelled=not out)

    return work
