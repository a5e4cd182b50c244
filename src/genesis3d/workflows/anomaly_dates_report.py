"""The report of two dates: what became of each region, each lung at both, how well the scans lie on each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from genesis3d.anomaly.zones import zone_rows
from genesis3d.networks.card import library_versions
from genesis3d.workflows.anomaly_dates import GONE, NEW, STILL
from genesis3d.workflows.anomaly_dates_config import DatesSettings
from genesis3d.workflows.anomaly_pictures import LUNGS, frame_of, middle_of
from genesis3d.workflows.anomaly_report_html import html_of
from genesis3d.workflows.anomaly_report_page import Facts, Page, Picture, Points, Section, Table, shown
from genesis3d.workflows.anomaly_report_pdf import pdf_of
from genesis3d.workflows.anomaly_report_tables import column_title, plain, said
from genesis3d.workflows.anomaly_slices import Cut, Frame, Outline, Panel, slices_picture

if TYPE_CHECKING:
    from genesis3d.anomaly.zones import ZoneRow
    from genesis3d.workflows.anomaly_dates import DateComparison

__all__ = ["DATES_REPORTS", "dates_files", "dates_page", "totals", "zone_changes"]

DATES_REPORTS = ("dates.html", "dates.pdf")
COLOURS = {GONE: "#40c4ff", NEW: "#ff5252", STILL: "#ffd740"}
LISTED, SLICES = 25, 5


def dates_files(result: DateComparison) -> dict[str, bytes]:
    """Return the content of each file of :data:`DATES_REPORTS` by its name."""
    page = dates_page(result)
    return dict(zip(DATES_REPORTS, (html_of(page).encode(), pdf_of(page)), strict=True))


def dates_page(result: DateComparison) -> Page:
    """Return what the report says, by sections."""
    sections = (
        Section("", (Facts(tuple(_headline(result)), large=True),)),
        Section.of("Doubts", [Points(tuple(dict.fromkeys(result.warnings)), warning=True)]),
        Section.of("Where", [_picture(result)]),
        Section.of("Regions", [_regions(result)]),
        Section.of("Lungs and their thirds", [zone_changes(result)]),
        Section.of("How the scans lie on each other", [_registration(result)]),
        Section.of("Settings", [_settings(result)]),
        Section.of("Made by", [said(library_versions().items())]),
    )
    first, second = result.first.scan, result.second.scan
    about = f"First: {first.name}, {first.as_source().geometry.describe()}. "
    about += f"Second: {second.name}, {second.as_source().geometry.describe()}."
    return Page("Two anomaly maps compared", about, tuple(section for section in sections if section.items))


def totals(result: DateComparison) -> dict[str, float]:
    """Return the flagged volume and its share of the lungs at both dates, each on its own scan's grid."""
    found: dict[str, float] = {}
    for date, one in (("first", result.first), ("second", result.second)):
        whole = zone_rows(one)[0]
        found |= {f"{date}_flagged_ml": whole.flagged_ml, f"{date}_flagged_percent": whole.flagged_percent}
        found[f"{date}_lungs_ml"] = whole.volume_ml
    return found


def zone_changes(result: DateComparison) -> Table:
    """Return the flagged share of each lung and third at both dates; each date on its own grid."""
    before, after = ({_key(row): row for row in zone_rows(one)} for one in (result.first, result.second))
    rows = []
    for zone in dict.fromkeys((*before, *after)):
        shares = [None if zone not in of else of[zone].flagged_percent for of in (before, after)]
        change = None if shares[0] is None or shares[1] is None else shares[1] - shares[0]
        volumes = [None if zone not in of else of[zone].volume_ml for of in (before, after)]
        rows.append((zone, *(shown(v) for v in volumes), *(shown(v) for v in (*shares, change))))
    header = ("zone", "first (mL)", "second (mL)", "first flagged (%)", "second flagged (%)", "change (points)")
    return Table(header, tuple(rows), "Thirds of the height of both lungs as far as each scan shows them.")


def _headline(result: DateComparison) -> Iterable[tuple[str, str]]:
    found = totals(result)
    yield "flagged share, first", shown(found["first_flagged_percent"], "%")
    yield "flagged share, second", shown(found["second_flagged_percent"], "%")
    yield "difference", shown(found["second_flagged_ml"] - found["first_flagged_ml"], "mL")
    states = [one.state for one in result.regions]
    for state in ("gone", "shrunk", "same", "grown", "new"):
        yield state, f"{states.count(state)} of {len(states)}"


def _regions(result: DateComparison) -> Table:
    rows = tuple(
        (one.state, one.lung or "-", shown(one.first_ml), shown(one.second_ml), shown(one.difference_ml),
         _numbers(one.first), _numbers(one.second))
        for one in result.regions[:LISTED]
    )  # fmt: skip
    header = ("change", "lung", "first (mL)", "second (mL)", "difference (mL)", "first regions", "second regions")
    count = len(result.regions)
    more = f"The largest {LISTED} of {count}; all stand in changes.csv. " if count > LISTED else ""
    return Table(header, rows, f"{more}Volumes are those of each scan's own grid.")


def _registration(result: DateComparison) -> Facts:
    found = result.registration
    return Facts((
        ("motion", found.motion),
        ("overlap of the lungs", f"{found.dice:.3f} (Dice), before {found.dice_before:.3f}"),
        ("their surfaces apart", shown(found.surface_mm, "mm")),
        ("stretched to", shown(100 * found.volume_ratio, "%")),
    ))  # fmt: skip


def _settings(result: DateComparison) -> Facts:
    values = result.settings.model_dump(mode="json", include=set(DatesSettings.model_fields))
    return said((column_title(name), plain(value)) for name, value in values.items())


def _picture(result: DateComparison) -> Picture:
    frame = frame_of(result.first.scan, result.first.lungs)
    changes = tuple(Outline(result.change.data[0] == value, colour) for value, colour in COLOURS.items())
    lungs = (Outline(result.first.lungs.data[0], LUNGS, 0.5),)
    panels = [
        Panel("first", result.first.scan.data[0], outlines=lungs),
        Panel("second, laid over it", result.scan.data[0], outlines=lungs),
        Panel("change, on the second", result.scan.data[0], outlines=changes),
    ]
    text = ("Axial slices of the first scan. Green: its lungs. Blue: flagged at the first date alone; red: at the "
            "second alone; yellow: at both.")  # fmt: skip
    return Picture(slices_picture(panels, _cuts(result, frame), frame, panels_below=True), text)


def _cuts(result: DateComparison, frame: Frame) -> list[Cut]:
    """Return the slices of the largest changes, filled up by ones evenly through the lungs, head to feet."""
    told = sorted(result.regions, key=lambda one: -abs(one.difference_ml))
    low, high = frame.box[0].start, frame.box[0].stop
    even = [int(low + (high - low) * (i + 0.5) / SLICES) for i in range(SLICES)]
    wanted = [one.centre[0] for one in told[: SLICES - 1]] or [middle_of(result.first.lungs)[0]]
    apart = max(1, (high - low) // (4 * SLICES))
    chosen: list[int] = []
    for index in (*wanted, *even):
        if len(chosen) < SLICES and all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
    return [Cut(0, index) for index in sorted(chosen, reverse=True)]


def _numbers(labels: tuple[int, ...]) -> str:
    text = ", ".join(map(str, labels[:5]))
    return f"{text}, ..." if len(labels) > 5 else text or "-"


def _key(row: ZoneRow) -> str:
    return row.lung if row.third == "all" else f"{row.lung}, {row.third}"
