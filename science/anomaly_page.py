"""The page docs/anomaly-table.md: figures of anomaly maps beside the targets that were set before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from anomaly_sets import PLAIN, REGIONS, REGIONS_ML

from genesis3d.evaluation.anomaly import FOUND, LEAST_ML
from genesis3d.evaluation.statistics import paired_bootstrap, wilcoxon
from genesis3d.workflows.evaluate_table import as_markdown

Row = dict[str, Any]
Tables = dict[str, list[Row]]

HEAD = """# Anomaly maps, measured

Made by `python science/anomaly_table.py DATA --model ... --held-out ...`; figures of every scan stand in
`science/results/anomaly/`. Recipes, thresholds and settings were fixed before scoring. Research software, not for
clinical use.
"""
COVID = """## COVID-19: four scans with lesions drawn by radiologists

The scans are no true HU (pictures of a lung window mapped back, +-50 HU) and 6 mm thick. **These four served in
choosing the method's prototype**: they say how well it was fitted, not how it does on other scans, and with n = 4 no
difference can have an exact p below .125. AUROC inside the lungs flatters every score; average precision (AP) and Dice
at the threshold set before decide. In brackets: 95 % of 10,000 draws of the four patients.
"""
WIDE = """## Lung-wide opacity, inserted

Opacities grown over 30 to 90 % of one lung of scans without them (by another generator than that of the training),
scored by a model that saw none of these scans. *Given*: in the lungs found before the opacity was put in; *own*: in
those found with it. A scan is called by the share in % and the contrast in HU.
"""
REGION = f"""## Regions, inserted

Up to {REGIONS} regions of together {REGIONS_ML:g} mL a scan; a region counts from {LEAST_ML:g} mL, and as found when at
least {FOUND:.0%} of it is flagged at the threshold set before.
"""
HEALTHY = """## Scans without lesions drawn: share of the lungs flagged

lidc-0001, lidc-0002 and popi-00 are scored by a model trained and calibrated without them, nodules and the mass left
out of the count (readers' contours for lidc-0001; by eye in the others). **popi-00 is not normal by eye**: a mass of
about 25 mm above the right hilum, and motion at the diaphragm; it is shown, and no target is set on it.
"""


def anomaly_page(tables: Tables, method: str, models: Sequence[str], held_out: Sequence[str]) -> str:
    """Return the page; ``method`` names the one whose figures are held against the targets."""
    parts = [HEAD, f"Models: {', '.join(models) or 'none'}; for healthy and inserted scans "
             f"{', '.join(held_out) or 'the same, which were trained on some of them'}."]  # fmt: skip
    parts.append("## Targets\n\n" + as_markdown(["target", "measured", "met"], list(targets(tables, method))))
    if "covid" in tables:
        parts.append(COVID + "\n" + _covid(tables["covid"]))
    if "wide" in tables:
        parts.append(WIDE + "\n" + _by_case(tables["wide"], ("dice", "ap", "sensitivity", "lesion_kept_percent")))
    if "regions" in tables:
        parts.append(REGION + "\n" + _regions(tables["regions"]))
    plain = [*tables.get("healthy", []), *tables.get("others", [])]
    if plain:
        parts.append(HEALTHY + "\n" + _by_case(plain, ("flagged_percent",)))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def targets(tables: Tables, method: str) -> list[list[str]]:
    """Return a line a target: what it is, what was measured, whether it is met."""
    flagged = {
        row["case"]: row["flagged_percent"]
        for name in ("healthy", "others")
        for row in _of(tables.get(name, []), method, "own")
    }
    return [*_patients(tables.get("covid", []), method), *_put_in(tables, method), *_shares(flagged)]


def _patients(rows: Sequence[Row], method: str) -> Iterator[list[str]]:
    covid, own = _of(rows, method, "given"), _of(rows, method, "own")
    plain = {row["case"]: row for row in _of(rows, PLAIN, "given")}
    for figure, least in (("ap", 0.82), ("dice", 0.72)) if covid else ():
        mean, name = _mean(covid, figure), _NAMES[figure]
        ahead = sum(row[figure] >= plain[row["case"]][figure] for row in covid)
        yield [f"COVID, given lungs: mean {name} at least {_dot(least)}", _dot(mean), _met(mean >= least)]
        yield [f"{name} on every scan at least that of {PLAIN}", f"{ahead} of {len(covid)}", _met(ahead == len(covid))]
    if covid and own:
        lost = _mean(covid, "dice") - _mean(own, "dice")
        kept = min(row["lesion_kept_percent"] for row in own)
        yield ["COVID, own lungs: mean Dice at most .04 lower", f"{lost:+.3f} lower", _met(lost <= 0.04)]
        yield ["the mask keeps at least 95 % of the lesion on every scan", f"least {kept:.1f} %", _met(kept >= 95)]


def _put_in(tables: Tables, method: str) -> Iterator[list[str]]:
    for source in ("given", "own"):
        if wide := _of(tables.get("wide", []), method, source):
            mean, low = _mean(wide, "dice"), min(row["dice"] for row in wide)
            measured = f"mean {_dot(mean)}, least {_dot(low)}"
            yield [f"lung-wide, {source} lungs: Dice at least .85", measured, _met(mean >= 0.85)]
        if regions := _of(tables.get("regions", []), method, source):
            found, total = (sum(row[name] for row in regions) for name in ("regions_found", "regions"))
            what = f"regions of {LEAST_ML:g} mL and 100 HU or more, {source} lungs: recall at least .9"
            yield [what, f"{found:.0f} of {total:.0f}", _met(found >= 0.9 * total)]


def _shares(flagged: dict[str, float]) -> Iterator[list[str]]:
    healthy = [flagged[case] for case in ("lidc-0001", "lidc-0002", "normal-001") if case in flagged]
    for case, share in flagged.items():
        if case in ("covid-001", "cap-001") and healthy:
            what = f"{case}: clearly above the healthy (twice the highest)"
            yield [what, f"{share:.2f} %", _met(share >= 2 * max(healthy))]
        elif case not in ("popi-00", "covid-001", "cap-001"):
            yield [f"{case}: at most .5 % flagged", f"{share:.2f} %", _met(share <= 0.5)]


_NAMES = {"ap": "AP", "dice": "Dice", "auroc": "AUROC", "sensitivity": "sensitivity",
          "lesion_kept_percent": "lesion in the mask, %", "flagged_percent": "flagged, %"}  # fmt: skip


def _covid(rows: Sequence[Row]) -> str:
    blocks = []
    cases = list(dict.fromkeys(row["case"] for row in rows))
    for source in ("given", "own"):
        methods = dict.fromkeys(row["method"] for row in rows if row["lungs"] == source)
        lines = []
        for method in sorted(methods, key=lambda name: name != PLAIN):
            of = {row["case"]: row for row in _of(rows, method, source)}
            cells = [_three(of[case]) if case in of else "-" for case in cases]
            means = [_interval([row[name] for row in of.values()]) for name in ("ap", "dice")]
            extra = [_dot(_mean(list(of.values()), name)) for name in ("auroc", "partial_auroc_body", "oracle_dice")]
            volume = np.mean(np.abs([row["volume_error_percent"] for row in of.values()]))
            lines.append([method, *cells, *means, *extra, f"{volume:.2f}"])
        header = [f"{source} lungs: AUROC / AP / Dice", *cases, "mean AP", "mean Dice", "AUROC", "body, FPR to .3",
                  "oracle Dice", "volume error, % of lungs"]  # fmt: skip
        if lines:
            blocks.append(as_markdown(header, lines))
    if kept := [row for row in rows if row["lungs"] == "own" and row["method"] == PLAIN]:
        said = ", ".join(f"{row['case']} {row['lesion_kept_percent']:.1f}" for row in kept)
        blocks.append(f"Share of the lesion inside our own lungs, %: {said}.")
    blocks.append("Against the plain score, given lungs: " + "; ".join(_gains(rows)) + ".")
    return "\n\n".join(blocks)


def _gains(rows: Sequence[Row]) -> list[str]:
    """Return a phrase a method and figure: mean gain over PLAIN, its interval, exact p."""
    found = []
    plain = {row["case"]: row for row in _of(rows, PLAIN, "given")}
    for method in dict.fromkeys(row["method"] for row in rows if row["method"] != PLAIN):
        for figure in ("ap", "dice"):
            gains = [row[figure] - plain[row["case"]][figure] for row in _of(rows, method, "given")]
            if gains:
                mean = paired_bootstrap(gains)
                found.append(f"{method}, {_NAMES[figure]} {mean.estimate:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}], "
                             f"p {_dot(wilcoxon(gains))}")  # fmt: skip
    return found or ["no other method"]


def _by_case(rows: Sequence[Row], figures: Sequence[str]) -> str:
    """Return a line a scan, a column a method, lungs and figure."""
    ways = list(dict.fromkeys((row["method"], row["lungs"]) for row in rows))
    cells = {(row["case"], row["method"], row["lungs"]): row for row in rows}
    header = ["scan", *(f"{method}, {lungs}: {_NAMES[name]}" for method, lungs in ways for name in figures)]
    lines = []
    for case in dict.fromkeys(row["case"] for row in rows):
        values = [_dot(cells[case, *way][name]) if (case, *way) in cells else "-" for way in ways for name in figures]
        lines.append([case.removesuffix("-scan"), *values])
    return as_markdown(header, lines)


def _regions(rows: Sequence[Row]) -> str:
    contrasts = list(dict.fromkeys(row["case"].removesuffix("-scan").rpartition("-")[2] for row in rows))
    lines = []
    for method, lungs in dict.fromkeys((row["method"], row["lungs"]) for row in rows):
        of = _of(rows, method, lungs)
        cells = []
        for contrast in contrasts:
            some = [row for row in of if row["case"].removesuffix("-scan").endswith(f"-{contrast}")]
            found, total = (sum(row[name] for row in some) for name in ("regions_found", "regions"))
            cells.append(f"{found:.0f} of {total:.0f}")
        lines.append([f"{method}, {lungs}", *cells, _dot(_mean(of, "dice")), _dot(_mean(of, "ap"))])
    return as_markdown(["method, lungs", *(f"{one} HU" for one in contrasts), "mean Dice", "mean AP"], lines)


def _of(rows: Sequence[Row], method: str, lungs: str) -> list[Row]:
    return [row for row in rows if (row["method"], row["lungs"]) == (method, lungs)]


def _mean(rows: Sequence[Row], figure: str) -> float:
    known = [row[figure] for row in rows if math.isfinite(row[figure])]
    return float(np.mean(known)) if known else math.nan


def _interval(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return _dot(known[0]) if known else "-"
    mean = paired_bootstrap(known)
    return f"{_dot(mean.estimate)} [{_dot(mean.low)}, {_dot(mean.high)}]"


def _three(row: Row) -> str:
    return " / ".join(_dot(row[name]) for name in ("auroc", "ap", "dice"))


def _dot(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.3f}".removeprefix("0") if abs(value) < 1 else f"{value:.2f}"


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
