"""The files of an evaluation of anomaly maps: CSV, JSON, a Markdown page and a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.anomaly import FIGURES, FOUND, LEAST_ML
from genesis3d.files import write_atomic
from genesis3d.networks.card import library_versions
from genesis3d.workflows.evaluate_anomaly_summary import difference_rows, summary_rows
from genesis3d.workflows.evaluate_table import as_csv, as_json, as_markdown

if TYPE_CHECKING:
    from genesis3d.workflows.evaluate_anomaly_config import EvaluateAnomalyConfig

__all__ = ["anomaly_plot", "cell", "page", "with_interval", "written"]

Row = dict[str, Any]
SHOWN = {
    "ap": "AP", "auroc": "AUROC", "partial_auroc_body": "body, FPR to .3", "dice": "Dice",
    "oracle_dice": "oracle Dice", "sensitivity": "sensitivity", "volume_error_percent": "volume error, % of lungs",
    "region_recall": "regions found", "flagged_percent": "flagged, %", "lesion_percent": "lesion, %",
    "lesion_kept_percent": "lesion in mask, %",
}  # fmt: skip
RULES = (
    f"AP and AUROC: over the voxels of the lungs. Dice, sensitivity and volume error: at the threshold set before. "
    f"Oracle Dice: at the threshold that the truth picks, no result of a method. Regions found: connected lesions of "
    f"{LEAST_ML:g} mL and more of which at least {FOUND:.0%} is flagged. Body, FPR to .3: area under the ROC curve of "
    f"all voxels of the body up to a false positive rate of .3, divided by .3 (chance: .15). Means are over patients, "
    f"in brackets 95 % of 10,000 draws of them."
)


def written(out: Path, rows: list[Row], failed: list[str], config: EvaluateAnomalyConfig) -> Iterator[Path]:
    """Write cases.csv, summary.csv, differences.csv, evaluation.json, evaluation.md and cases.png; yield each path."""
    summary, differences = summary_rows(rows), difference_rows(rows)
    known = config.to_dict()
    everything = {
        "settings": {name: known[name] for name in ("recipes", "settings", "own")},
        "rules": {"least_ml": LEAST_ML, "found": FOUND},
        "failed": failed,
        "summary": summary,
        "differences": differences,
        "cases": rows,
        "versions": library_versions(),
    }
    contents = {
        "cases.csv": as_csv(rows),
        "summary.csv": as_csv(summary),
        "differences.csv": as_csv(differences),
        "evaluation.json": as_json(everything),
        "evaluation.md": page(rows, failed).encode(),
        "cases.png": anomaly_plot(rows),
    }
    for name, content in contents.items():
        write_atomic(out / name, content)
        yield out / name


def page(rows: Sequence[Row], failed: Sequence[str] = ()) -> str:
    """Return means, differences and cases as a Markdown page."""
    parts = ["# Anomaly maps\n\n" + RULES]
    for lungs in dict.fromkeys(row["lungs"] for row in rows):
        of = [row for row in rows if row["lungs"] == lungs]
        parts.append(f"## With {lungs} lungs\n\n{_means(of)}")
        if differences := _differences(of):
            parts.append(f"Against the baseline, over the same patients:\n\n{differences}")
        parts.append(_cases(of))
    if failed:
        parts.append("Left out: " + "; ".join(failed) + ".")
    return "\n\n".join(parts) + "\n"


def anomaly_plot(rows: Sequence[Row], ending: str = ".png") -> bytes:
    """Return average precision, Dice and the share flagged as a picture: a point a case, a line the mean."""
    from genesis3d.workflows.plots import COLOURS, bare, new_figure, picture

    pairs = list(dict.fromkeys((row["lungs"], row["method"]) for row in rows))
    several = len({lungs for lungs, _ in pairs}) > 1
    figure = new_figure(max(2.6, 1.0 + 0.7 * len(pairs)) * 3, 3.8)
    for axes, name in zip(figure.subplots(1, 3), ("ap", "dice", "flagged_percent"), strict=True):
        for place, pair in enumerate(pairs):
            of = [row for row in rows if (row["lungs"], row["method"]) == pair and math.isfinite(row[name])]
            aside = place + np.linspace(-0.2, 0.2, max(2, len(of)))[: len(of)]
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(aside, [row[name] for row in of], "o", color=colour, markersize=4, alpha=0.8)
            if of:
                mean = float(np.mean([row[name] for row in of]))
                axes.plot([place - 0.3, place + 0.3], [mean, mean], color=colour, linewidth=1.5)
        names = [f"{method}\n{lungs} lungs" if several else method for lungs, method in pairs]
        axes.set_xticks(range(len(pairs)), names, rotation=40, ha="right", fontsize=7)
        bare(axes, ylabel=FIGURES[name], xlim=(-0.6, len(pairs) - 0.4))
        if name != "flagged_percent":
            axes.set_ylim(-0.02, 1.02)
    return picture(figure, ending)


def cell(value: Any, figure: str = "") -> str:
    """Return a number for a table, a dash for none."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "-"
    return f"{value:.2f}" if figure.endswith("percent") else f"{value:.3f}"


def with_interval(one: Row) -> str:
    """Return a mean, with the interval where there is more than one case."""
    mean = cell(one["mean"], one["figure"])
    return mean if one["n"] < 2 else f"{mean} [{cell(one['low'], one['figure'])}, {cell(one['high'], one['figure'])}]"


def _means(rows: Sequence[Row]) -> str:
    found = summary_rows(rows)
    blocks = []
    for group in dict.fromkeys(one["group"] for one in found):
        of = [one for one in found if one["group"] == group]
        figures = [name for name in SHOWN if any(one["figure"] == name for one in of)]
        methods = dict.fromkeys(one["method"] for one in of)
        by = {(one["method"], one["figure"]): one for one in of}
        lines = [
            [method, *(with_interval(by[method, name]) if (method, name) in by else "-" for name in figures)]
            for method in methods
        ]
        blocks.append(as_markdown([f"mean, {group}", *(SHOWN[name] for name in figures)], lines))
    return "\n\n".join(blocks)


def _differences(rows: Sequence[Row]) -> str:
    lines = [
        [one["method"], FIGURES[one["figure"]], f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]",
         cell(one["p"]), f"{one['ahead']} of {one['n']}"]
        for one in difference_rows(rows)
    ]  # fmt: skip
    return as_markdown(["method", "figure", "difference", "exact p", "ahead in"], lines) if lines else ""


def _cases(rows: Sequence[Row]) -> str:
    figures = [name for name in SHOWN if any(math.isfinite(row[name]) for row in rows)]
    lines = [[row["case"], row["method"], *(cell(row[name], name) for name in figures)] for row in rows]
    return as_markdown(["case", "method", *(SHOWN[name] for name in figures)], lines)
