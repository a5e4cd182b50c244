"""The models that a run had reached before it was trained on: kept, with their figures, to be compared.

``versions.json`` lists them; the files are ``checkpoints/version-NNN.safetensors``.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from genesis3d.files import write_atomic
from genesis3d.networks.model_file import model_path, read_card

if TYPE_CHECKING:
    from pathlib import Path

    from genesis3d.training.rundir import RunDir

__all__ = ["keep_version", "note_figures", "read_versions"]


def read_versions(run: RunDir) -> list[dict[str, Any]]:
    """Return what ``versions.json`` lists, oldest first.

    Each has ``version`` (from 1), ``path`` in the run, ``step``, ``leg`` (the step its training began at), ``figures``
    when it was made, ``figures_now`` on the labels as they stand since, ``data`` (what it was given) and ``time``.
    """
    try:
        values = json.loads(_table(run).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def keep_version(run: RunDir, leg: int) -> dict[str, Any]:
    """Keep the run's best model as a version, that of the budget begun at step ``leg``; return its entry.

    One that is kept already, by a process that was killed afterwards, is not kept twice.  Raises ModelError without a
    model, OSError when the disk refuses.
    """
    versions = read_versions(run)
    for item in versions:
        if item.get("leg") == leg:
            return item
    source = model_path(run.path)
    number = 1 + max((int(item["version"]) for item in versions), default=0)
    target = run.checkpoints / f"version-{number:03d}.safetensors"
    write_atomic(target, source.read_bytes())
    card = read_card(target)
    entry = {
        "version": number,
        "path": target.relative_to(run.path).as_posix(),
        "step": card.step,
        "leg": leg,
        "figures": {name: value for name, value in card.metrics.items() if name != "measured_at_step"},
        "data": {name: value for name, value in card.data.items() if name not in ("training", "held_out")},
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    _write(run, [*versions, entry])
    return entry


def note_figures(run: RunDir, version: int, figures: dict[str, float]) -> None:
    """Write the figures of ``version`` on the labels as they now stand beside those it had."""
    versions = read_versions(run)
    _write(run, [item | {"figures_now": figures} if item["version"] == version else item for item in versions])


def _table(run: RunDir) -> Path:
    return run.path / "versions.json"


def _write(run: RunDir, versions: list[dict[str, Any]]) -> None:
    write_atomic(_table(run), json.dumps(versions, indent=1).encode() + os.linesep.encode())
