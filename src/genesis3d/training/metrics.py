"""The curves of a run as a plain table, ``metrics.csv``: one row a step or validation, readable by any spreadsheet."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from genesis3d.files import write_atomic

__all__ = ["MetricsTable"]

_FIRST_COLUMNS = ["step", "loss", "lr", "gradient_norm", "steps_per_second"]


class MetricsTable:
    """Rows of named numbers by ``step``; a new name becomes a new column, empty in the rows before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Append one row; on an OSError the table stays as it was."""
        columns = self._known()
        fresh = [name for name in values if name not in columns]
        if fresh or not self.path.exists():
            rows = self.rows()
            self._columns = columns + fresh
            write_atomic(self.path, self._text(rows, header=True), durable=False)
        row = {"step": str(step)} | {name: repr(float(value)) for name, value in values.items()}
        with open(self.path, "ab") as file:
            start = file.tell()
            try:
                file.write(self._text([row]))
                file.flush()
            except OSError:
                os.truncate(self.path, start)
                raise

    def rows(self) -> list[dict[str, str]]:
        """Return the whole rows as text by column; a torn last row is left out."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(io.StringIO(whole))]

    def curve(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps at which ``name`` has a value, and the values."""
        rows = [row for row in self.rows() if name in row]
        return [int(row["step"]) for row in rows], [float(row[name]) for row in rows]

    def rewind(self, step: int) -> None:
        """Forget the rows after ``step``."""
        if self.path.exists():
            rows = [row for row in self.rows() if int(row["step"]) <= step]
            self._columns = None
            self._known()
            write_atomic(self.path, self._text(rows, header=True))

    def _known(self) -> list[str]:
        if self._columns is None:
            head = self.path.read_text(encoding="utf-8").partition("\n")[0] if self.path.exists() else ""
            self._columns = next(csv.reader([head])) if head else _FIRST_COLUMNS
        return self._columns

    def _text(self, rows: list[dict[str, str]], header: bool = False) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, self._known(), restval="", lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()
