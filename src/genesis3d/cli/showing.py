"""What commands that end in files share: settings from file, options and ``--set``; events as lines or a bar."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["settings", "show"]


def settings(config: Path | None, given: dict[str, Any], set_: list[str] | None) -> dict[str, Any]:
    """Return the settings of the file, overridden by the options given, overridden by ``--set``."""
    from genesis3d.config import override

    values = _read(config) if config is not None else {}
    return override(values | {key: value for key, value in given.items() if value is not None}, set_ or [])


def show(events: Iterator[Any], json: bool) -> dict[str, Any]:
    """Print the events, as JSON lines or for people, and return the result of the last one ({} when stopped)."""
    if not json:
        return _with_progress(events)
    result: dict[str, Any] = {}
    for event in events:
        print(event.to_json(), flush=True)
        result = event.result if event.kind == "finished" else {}
    return result


def _read(path: Path) -> dict[str, Any]:
    import yaml

    from genesis3d.errors import ConfigError

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a YAML file, got {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a YAML mapping of settings, got {type(values).__name__}")
    return values


def _with_progress(events: Iterator[Any]) -> dict[str, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    result: dict[str, Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading", total=None)
        for event in events:
            if event.kind == "started":
                label = f"{event.what} on {event.device}, precision {event.precision}"
                progress.update(task, description=label, total=event.total)
            elif event.kind == "stepped":
                progress.update(task, completed=event.step)
            elif event.kind == "warned":
                console.print(f"warning: {event.message}", markup=False, highlight=False)
            elif event.kind == "saved":
                print(event.path)
            elif event.kind == "finished":
                result = _said(event, console)
    return result


def _said(event: Any, console: Any) -> dict[str, Any]:
    if event.cancelled:
        console.print("stopped: nothing was written", markup=False)
    for name, value in event.result.items():
        if not isinstance(value, list):  # a table is for whoever asked for it
            console.print(f"{name.replace('_', ' ')}: {value}", markup=False, highlight=False)
    return dict(event.result)
