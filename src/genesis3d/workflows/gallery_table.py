"""The figures of a gallery as a table: plain records, text for a terminal, CSV, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from genesis3d.errors import ConfigError
from genesis3d.transforms.outcomes import outcome_label
from genesis3d.workflows.gallery_rows import Row, Scores, mean_scores

__all__ = ["MEAN", "MEASURES", "TABLES", "as_file", "as_markdown", "as_text", "records"]

MEAN = "mean"
MEASURES = {
    "mse": ("mean squared error", "{:.5f}"),
    "ratio": ("error over the best constant's", "{:.3f}"),
    "psnr": ("PSNR in dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
}
TABLES = (".csv", ".json", ".md")
Record = dict[str, Any]


def records(rows: list[Row]) -> list[Record]:
    """Return one record for each outcome and model, then the means over the outcomes: outcome, model, measures."""
    parts: list[tuple[str, dict[str, Scores]]] = [(row.name, row.scores) for row in rows]
    if len(rows) > 1:
        parts.append((MEAN, mean_scores(rows)))
    return [
        {"outcome": name, "model": label} | {measure: getattr(scores[label], measure) for measure in MEASURES}
        for name, scores in parts
        for label in scores
    ]


def as_file(table: Sequence[Record], ending: str) -> bytes:
    """Return the records as the content of a file ending in one of :data:`TABLES`; raises ConfigError."""
    if ending == ".json":
        return (json.dumps(list(table), indent=1) + "\n").encode()
    if ending == ".csv":
        names = ["outcome", "model", *MEASURES]
        lines = [",".join(f'"{record[n]}"' if n == "model" else str(record[n]) for n in names) for record in table]
        return "\n".join([",".join(names), *lines, ""]).encode()
    if ending == ".md":
        return "\n\n".join(f"**{MEASURES[m][0]}**\n\n{as_markdown(table, m)}" for m in MEASURES).encode() + b"\n"
    raise ConfigError(f"table: expected a name ending in {', '.join(TABLES)}, got {ending!r}")


def as_markdown(table: Sequence[Record], measure: str, first: str = "outcome") -> str:
    """Return one measure as a Markdown table: a line for each outcome, headed ``first``, a column for each model."""
    labels, lines = _cells(table, measure)
    head = [first, *labels]
    rule = ["---", *("---:" for _ in labels)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def as_text(table: Sequence[Record], measure: str) -> str:
    """Return one measure as text in columns."""
    labels, lines = _cells(table, measure)
    cells = [[MEASURES[measure][0], *labels], *lines]
    first = max(len(line[0]) for line in cells)
    return "\n".join(
        line[0].ljust(first)
        + "".join(text.rjust(max(8, len(label)) + 2) for label, text in zip(labels, line[1:], strict=True))
        for line in cells
    )


def _cells(table: Sequence[Record], measure: str) -> tuple[list[str], list[list[str]]]:
    labels = list(dict.fromkeys(record["model"] for record in table))
    outcomes = list(dict.fromkeys(record["outcome"] for record in table))
    values = {(record["outcome"], record["model"]): record[measure] for record in table}
    form = MEASURES[measure][1]
    return labels, [
        [outcome_label(outcome), *(form.format(values[outcome, label]) for label in labels)] for outcome in outcomes
    ]
