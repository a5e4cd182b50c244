"""Commands of the group anomaly."""

from __future__ import annotations

import typer


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
