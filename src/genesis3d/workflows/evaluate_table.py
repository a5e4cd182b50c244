"""The figures of an evaluation as tables: a row a case and class, a summary a class; CSV, JSON, Markdown, text."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from genesis3d.evaluation.segmentation import FIGURES
from genesis3d.evaluation.statistics import summary

__all__ = ["ALL", "as_csv", "as_json", "as_markdown", "as_text", "case_rows", "plain", "summary_rows"]

ALL = "all classes"
SUMMARY = ("dice", "iou", "mean_iou", "hd95_mm", "assd_mm", "sensitivity", "precision", "volume_error_ml",
           "volume_error_percent")  # fmt: skip
# Volumes of several classes do not average to anything.
_NOT_AVERAGED = ("volume_ml", "reference_ml")
Row = dict[str, Any]


def case_rows(name: str, figures: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return a row a class of one case, and with several classes one of their means (nan left out)."""
    rows: list[Row] = [{"case": name, "class": label} | dict(values) for label, values in figures.items()]
    if len(rows) > 1:
        means = {one: _mean([row[one] for row in rows]) for one in FIGURES if one not in _NOT_AVERAGED}
        rows.append({"case": name, "class": ALL} | means)
    return rows


def summary_rows(rows: Sequence[Row]) -> list[Row]:
    """Return for each class and figure the :class:`Summary` over cases, as one record."""
    labels = list(dict.fromkeys(row["class"] for row in rows))
    labels.sort(key=lambda label: label == ALL)
    return [
        {"class": label, "figure": figure} | summary([row[figure] for row in rows if row["class"] == label]).to_dict()
        for label in labels
        for figure in FIGURES
        if label != ALL or figure not in _NOT_AVERAGED
    ]


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, its columns those of all rows in order; what is no number is empty."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if _absent(row.get(name)) else row[name] for name in columns])
    return text.getvalue().encode()


def as_json(values: Any) -> bytes:
    """Return ``values`` as JSON, what is no number as null."""
    return (json.dumps(plain(values), indent=1, allow_nan=False) + "\n").encode()


def plain(values: Any) -> Any:
    """Return ``values`` with every nan and infinity as None."""
    if isinstance(values, Mapping):
        return {str(key): plain(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def as_markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; every column but the first is aligned right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *lines))


def as_text(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the records of :func:`summary_rows` as text: a block a class, a line a figure."""
    blocks = []
    for label in dict.fromkeys(one["class"] for one in found):
        lines = [f"{label}  (mean, sd, median, 95 % interval of the mean, cases)"]
        for one in found:
            if one["class"] == label and one["figure"] in SUMMARY and one["n"]:
                left = f", {one['left_out']} without a value" if one["left_out"] else ""
                lines.append(f"  {FIGURES[one['figure']]:<40} {_numbers(one)}  {one['n']}{left}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _numbers(one: Mapping[str, Any]) -> str:
    cells = ["       -" if _absent(one[name]) else f"{one[name]:8.3f}" for name in ("mean", "sd", "median")]
    interval = "-" if _absent(one["low"]) else f"[{one['low']:.3f}, {one['high']:.3f}]"
    return " ".join([*cells, f"{interval:>20}"])


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return sum(known) / len(known) if known else math.nan


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
