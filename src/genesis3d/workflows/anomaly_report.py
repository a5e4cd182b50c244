"""The report of an anomaly map for people: figures, pictures, doubts, model and settings, as one HTML page or a PDF.

It names the scan by its file, and nothing else of it: no patient, no date, no path.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from genesis3d.networks.card import library_versions
from genesis3d.workflows.anomaly_map import lung_millilitres, rows
from genesis3d.workflows.anomaly_pictures import axial_picture, largest_picture
from genesis3d.workflows.anomaly_report_html import html_of
from genesis3d.workflows.anomaly_report_page import Facts, Page, Picture, Points, Section, Table, shown
from genesis3d.workflows.anomaly_report_pdf import pdf_of

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["REPORTS", "card_facts", "column_title", "report_files", "report_html", "report_page", "report_pdf"]

REPORTS = ("report.html", "report.pdf")

LISTED = 25  # regions in the report; all stand in regions.csv
UNITS = {"_ml": "mL", "_percent": "%", "_hu": "HU", "_mm": "mm"}
ALWAYS = (
    "A map shows where a scan differs from what the model expects of a lung. It does not say why: vessels, motion, "
    "dependent density, scars and nodules are flagged too.",
    "What lies outside the lung mask is not looked at.",
)
UNKNOWN = (
    "Nothing is known of how much of a healthy lung this model flags at this threshold: it carries no calibration for "
    "this recipe."
)


def report_html(result: AnomalyMap) -> str:
    """Return the report as one self-contained HTML page: no script, no network, pictures inside."""
    return html_of(report_page(result))


def report_pdf(result: AnomalyMap) -> bytes:
    """Return the report as the content of a PDF file on A4."""
    return pdf_of(report_page(result))


def report_files(result: AnomalyMap) -> dict[str, bytes]:
    """Return the content of each file of :data:`REPORTS` by its name; the pictures are drawn once."""
    page = report_page(result)
    return dict(zip(REPORTS, (html_of(page).encode(), pdf_of(page)), strict=True))


def report_page(result: AnomalyMap) -> Page:
    """Return what the report says, by sections; figures that were not computed are left out."""
    pictures = [
        Picture(largest_picture(result), _through(result) + "; green: the lung mask; cyan: regions at the threshold."),
        Picture(axial_picture(result), "Axial slices evenly through the lungs, from head to feet."),
    ]
    sections = (
        Section("", (Facts(tuple(_headline(result)), large=True),)),
        Section.of("Doubts", [Points(tuple(_doubts(result)), warning=True), Points(ALWAYS)]),
        Section.of("Where", pictures),
        Section.of("Regions", [_regions(result)]),
        Section.of("Model", [card_facts(result.card)]),
        Section.of("Settings", [_settings(result)]),
        Section.of("Made by", [_run(result)]),
    )
    scan = result.scan
    about = f"{scan.name}: {scan.as_source().geometry.describe()}, {scan.modality or 'modality unknown'}"
    return Page("Anomaly map", about, tuple(section for section in sections if section.items))


def column_title(name: str) -> str:
    """Return a column's title for people: ``share_of_lungs_percent`` becomes ``share of lungs (%)``."""
    for ending, unit in UNITS.items():
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def card_facts(card: ModelCard) -> Facts:
    """Return what a model says about itself."""
    spacing = card.working_spacing or card.spacing
    size = "" if spacing is None else f"{' x '.join(shown(mm) for mm in spacing)} mm (z, y, x)"
    said = {
        "model": card.title, "what it is for": card.description, "limits": card.limits, "purpose": card.purpose,
        "network": card.network.name, "intensities": _plain(card.intensity.to_dict()), "voxels": size,
        "training steps": "" if card.step is None else str(card.step), "trained by": card.trained_by,
        "trained on": "; ".join(source.text() for source in card.attribution), "terms": card.licence,
        "written": card.created,
    }  # fmt: skip
    return _said(said.items())


def _settings(result: AnomalyMap) -> Facts:
    """Return the settings of a map, threshold and lungs first."""
    values = result.settings.model_dump(mode="json", include=set(result.settings_fields))
    known = {"threshold": _threshold(result), "lungs": result.lungs_from}
    values = {column_title(name): _plain(value) for name, value in values.items() if name != "threshold"}
    return _said((known | values).items())


def _headline(result: AnomalyMap) -> Iterable[tuple[str, str]]:
    lungs = sum(lung_millilitres(result.lungs).values())
    flagged = sum(item.region.volume_ml for item in result.regions)
    yield "flagged share of the lungs", shown(100 * flagged / lungs, "%")
    yield "flagged volume", shown(flagged, "mL")
    yield "regions", str(len(result.regions))
    yield "lungs", shown(lungs, "mL")
    yield "threshold", _threshold(result)


def _threshold(result: AnomalyMap) -> str:
    return shown(result.threshold, result.scan.unit or "")


def _doubts(result: AnomalyMap) -> Iterable[str]:
    yield from dict.fromkeys(result.warnings)
    yield UNKNOWN


def _through(result: AnomalyMap) -> str:
    return "Slices through the largest region" if result.regions else "Slices through the middle: no region was found"


def _regions(result: AnomalyMap) -> Table:
    header, table = rows(result.regions, result.scan.unit)
    kept = [place for place, name in enumerate(header) if not name.startswith("centroid")]
    cells = tuple(tuple(_cell(row[place]) for place in kept) for row in table[:LISTED])
    more = f"The largest {LISTED} of {len(table)}; all stand in regions.csv." if len(table) > LISTED else ""
    return Table(tuple(column_title(header[place]) for place in kept), cells, more)


def _run(result: AnomalyMap) -> Facts:
    run = {"device": result.device, "precision": result.precision, "time": shown(result.seconds, "s")}
    return _said((run | library_versions()).items())


def _cell(value: Any) -> str:
    return shown(value) if isinstance(value, float) else str(value)


def _said(pairs: Iterable[tuple[str, str]]) -> Facts:
    return Facts(tuple((name, value) for name, value in pairs if value not in ("", "-")))


def _plain(value: Any) -> str:
    """Return a setting in few words: no brackets, no quotes."""
    if isinstance(value, Mapping):
        return ", ".join(_plain(part) if name == "name" else f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_plain(part) for part in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "usual" if value is None else str(value)
