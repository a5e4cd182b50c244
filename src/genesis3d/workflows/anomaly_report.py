"""The report of an anomaly map for people: figures, pictures, doubts, model and settings, as one HTML page or a PDF.

It names the scan by its file, and nothing else of it: no patient, no date, no path.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from genesis3d.networks.card import library_versions
from genesis3d.workflows.anomaly_map import lung_millilitres
from genesis3d.workflows.anomaly_pictures import axial_picture, largest_picture
from genesis3d.workflows.anomaly_report_html import html_of
from genesis3d.workflows.anomaly_report_page import Facts, Page, Picture, Points, Section, shown
from genesis3d.workflows.anomaly_report_pdf import pdf_of
from genesis3d.workflows.anomaly_report_tables import (
    card_facts,
    class_table,
    regions_table,
    said,
    settings_facts,
    threshold_text,
    zone_table,
)

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["REPORTS", "report_files", "report_html", "report_page", "report_pdf"]

REPORTS = ("report.html", "report.pdf")
ALWAYS = (
    "A map shows where a scan differs from what is usual in a lung. It does not say why: vessels, motion, dependent "
    "density, scars and nodules are flagged too.",
    "What lies outside the lung mask is not looked at.",
)
UNKNOWN = (
    "Nothing is known of how much of a healthy lung is flagged at this threshold: there is no calibration for this "
    "recipe and model."
)
COLOURS = "Green: the lung mask. Cyan: regions at the threshold."


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
    slices = "Axial slices evenly through the lungs, from head to feet."
    pictures = [
        Picture(largest_picture(result), f"{_through(result)} {COLOURS}"),
        Picture(axial_picture(result), f"{slices} {COLOURS}{_beside(result)}"),
    ]
    sections = (
        Section("", (Facts(tuple(_headline(result)), large=True),)),
        Section.of("Doubts", [Points(tuple(_doubts(result)), warning=True), Points(ALWAYS)]),
        Section.of("Where", pictures),
        Section.of("Regions", [regions_table(result)]),
        Section.of("Lungs and their thirds", [zone_table(result)]),
        Section.of("Density of the lungs", [class_table(result)]),
        Section.of("Model", [card_facts(result.card)]),
        Section.of("Settings", [settings_facts(result)]),
        Section.of("Made by", [_run(result)]),
    )
    scan = result.scan
    about = f"{scan.name}: {scan.as_source().geometry.describe()}, {scan.modality or 'modality unknown'}"
    return Page("Anomaly map", about, tuple(section for section in sections if section.items))


def _headline(result: AnomalyMap) -> Iterable[tuple[str, str]]:
    lungs = sum(lung_millilitres(result.lungs).values())
    flagged = sum(item.region.volume_ml for item in result.regions)
    yield "flagged share of the lungs", shown(100 * flagged / lungs, "%")
    yield "flagged volume", shown(flagged, "mL")
    yield "regions", str(len(result.regions))
    yield "lungs", shown(lungs, "mL")
    yield "threshold of the score", threshold_text(result)
    if result.calibration is not None:
        cut = replace(result.scored, score=result.score)
        p = result.calibration.scan_p(result.scene, cut, result.threshold)
        rate = result.calibration.flag_rate(result.threshold, result.scene)
        yield "of healthy lung flagged there", shown(100 * rate, "%")
        yield "p, among healthy scans", shown(p)
        yield "healthy scans behind it", str(result.calibration.scans)


def _doubts(result: AnomalyMap) -> Iterable[str]:
    known = result.calibration
    doubts = () if known is None else known.doubts(result.scene)
    yield from dict.fromkeys((*result.warnings, *doubts))
    if known is None:
        yield UNKNOWN


def _through(result: AnomalyMap) -> str:
    return "Slices through the largest region." if result.regions else "Slices through the middle: no region was found."


def _beside(result: AnomalyMap) -> str:
    if result.baseline is None:
        return ""
    return " Orange: what density alone would flag, after a median filter and without vessels."


def _run(result: AnomalyMap) -> Facts:
    run = {"device": result.device, "precision": result.precision, "time": shown(result.seconds, "s")}
    return said((run | library_versions()).items())
