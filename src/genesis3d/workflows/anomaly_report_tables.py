"""The tables of an anomaly map's report: regions, zones, classes of density, model and settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from genesis3d.anomaly.classes import CLASSES, class_rows
from genesis3d.anomaly.figures import region_table
from genesis3d.anomaly.zones import zone_rows
from genesis3d.workflows.anomaly_report_page import Facts, Table, shown

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["card_facts", "class_table", "column_title", "regions_table", "said", "settings_facts", "threshold_text",
           "zone_table"]  # fmt: skip

LISTED = 25  # regions in the report; all stand in regions.csv
UNITS = {"_ml": "mL", "_percent": "%", "_hu": "HU", "_mm": "mm"}
SHORT = {"share_of_lungs_percent": "lungs (%)", "volume_ml": "mL", "mean_difference_hu": "diff. (HU)",
         "mean_score_hu": "score (HU)", "peak_score_hu": "peak (HU)", "mean_score_probability": "score",
         "peak_score_probability": "peak", "pleura_mm": "to pleura (mm)"}  # fmt: skip
LEFT_OUT = ("centroid_s_mm", "centroid_p_mm", "centroid_l_mm", "depth_mm")  # they stand in regions.csv
NO_MODEL = Facts((("model", "none: the density of the lungs alone"),))


def regions_table(result: AnomalyMap) -> Table:
    """Return the largest regions with their figures."""
    header, table = region_table(result, "probability" if result.recipe.unit == "probability" else None)
    kept = [place for place, name in enumerate(header) if name not in LEFT_OUT]
    cells = tuple(tuple(_cell(row[place]) for place in kept) for row in table[:LISTED])
    more = f"The largest {LISTED} of {len(table)}; all stand in regions.csv." if len(table) > LISTED else ""
    return Table(tuple(SHORT.get(header[place], column_title(header[place])) for place in kept), cells, more)


def zone_table(result: AnomalyMap) -> Table:
    """Return how much of each lung and of each third of it is flagged."""
    score = "probability" if result.recipe.unit == "probability" else result.scan.unit or "value"
    header = ("zone", "mL", "flagged (mL)", "flagged (%)", f"mean ({result.scan.unit or 'value'})", f"score ({score})")
    rows = tuple(
        (_zone(row.lung, row.third), shown(row.volume_ml), shown(row.flagged_ml), shown(row.flagged_percent),
         shown(row.mean_value), shown(row.mean_score))
        for row in zone_rows(result)
    )  # fmt: skip
    return Table(header, rows, "Thirds of the height of both lungs as far as the scan shows them.")


def class_table(result: AnomalyMap) -> Table:
    """Return how much of each lung lies in each class of density; no row for a scan without HU."""
    found = class_rows(result.scan, result.lungs)
    lungs = list(dict.fromkeys(row.lung for row in found))
    share = {(row.lung, row.name): row.share_percent for row in found}
    limits = {row.name: _limits(row.low, row.high) for row in found}
    rows = tuple(
        (name, limits[name], *(shown(share[lung, name], "%") for lung in lungs)) for name in CLASSES if name in limits
    )
    note = "Shares of all voxels in classes of HU; noise moves some of a healthy lung into the neighbouring class."
    return Table(("class", "HU", *lungs), rows, note)


def card_facts(card: ModelCard | None) -> Facts:
    """Return what a model says about itself."""
    if card is None:
        return NO_MODEL
    spacing = card.working_spacing or card.spacing
    size = "" if spacing is None else f"{' x '.join(shown(mm) for mm in spacing)} mm (z, y, x)"
    known = {
        "model": card.title, "what it is for": card.description, "limits": card.limits, "purpose": card.purpose,
        "network": card.network.name, "intensities": plain(card.intensity.to_dict()), "voxels": size,
        "training steps": "" if card.step is None else str(card.step), "trained by": card.trained_by,
        "trained on": "; ".join(source.text() for source in card.attribution), "terms": card.licence,
        "written": card.created,
    }  # fmt: skip
    return said(known.items())


def settings_facts(result: AnomalyMap) -> Facts:
    """Return the settings of a map: recipe, threshold and lungs first."""
    values = result.settings.model_dump(mode="json", include=set(result.settings_fields))
    known = {"recipe": plain(result.recipe.to_dict()), "threshold": threshold_text(result), "lungs": result.lungs_from}
    values = {column_title(name): plain(value) for name, value in values.items() if name not in known}
    return said((known | values).items())


def threshold_text(result: AnomalyMap) -> str:
    """Return the threshold with its unit."""
    return shown(result.threshold, "" if result.recipe.unit == "probability" else result.scan.unit or "")


def column_title(name: str) -> str:
    """Return a column's title for people: ``share_of_lungs_percent`` becomes ``share of lungs (%)``."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def said(pairs: Iterable[tuple[str, str]]) -> Facts:
    """Return facts without those that say nothing."""
    return Facts(tuple((name, value) for name, value in pairs if value not in ("", "-")))


def plain(value: Any) -> str:
    """Return a setting in few words: no brackets, no quotes."""
    if isinstance(value, Mapping):
        return ", ".join(plain(part) if name == "name" else f"{name} {plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "usual" if value is None else str(value)


def _zone(lung: str, third: str) -> str:
    whole = {"both": "both lungs", "other": "no side"}.get(lung, f"{lung} lung")
    return whole if third == "all" else f"{lung}, {third}"


def _limits(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return f"below {shown(high, digits=1)}" if low is None else f"from {shown(low, digits=1)}"
    return f"{shown(low, digits=1)} to {shown(high, digits=1)}"


def _cell(value: Any) -> str:
    return shown(value) if isinstance(value, float) or value is None else str(value)
