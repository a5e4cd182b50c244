"""What commands over many cases share: a bar of cases, files as they come, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis3d.events import Control

__all__ = ["run_cases"]


def run_cases(verb: str, work: Callable[[Control], Iterator[Any]], json: bool) -> int:
    """Run ``work`` until its end or a signal, and show its events; return 1 when a case failed, else 0."""
    from genesis3d.cli.signals import stopped_by_signals

    result: dict[str, Any] = {}
    with stopped_by_signals() as control:
        events = work(control)
        for event in _as_lines(events) if json else _with_bar(verb, events):
            if event.kind == "finished":
                result = event.result
    return 1 if result.get("failed") else 0


def _as_lines(events: Iterator[Any]) -> Iterator[Any]:
    for event in events:
        print(event.to_json(), flush=True)
        yield event


def _with_bar(verb: str, events: Iterator[Any]) -> Iterator[Any]:
    """Print files and the end on stdout, progress and warnings on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(verb, total=None, text="looking for scans")
        for event in events:
            if event.kind == "started":
                bar.update(task, description=f"{verb} on {event.device}", total=event.total)
            elif event.kind == "stepped":
                part, of = event.metrics.get("window", 0), event.metrics.get("windows", 0)
                text = f"case {min(event.step + 1, event.total)} of {event.total}, window {part:.0f} of {of:.0f}"
                bar.update(task, completed=event.step + (part / of if of else 0), text=text)
            elif event.kind == "warned":
                console.print(f"warning: {event.message}", markup=False, highlight=False, soft_wrap=True)
            elif event.kind == "saved":
                print(event.path)
            elif event.kind == "finished":
                print(_end(event))
            yield event


def _end(event: Any) -> str:
    result = event.result
    said = f"{result['complete']} of {result['cases']} cases complete"
    if result["failed"]:
        said += f"; failed: {', '.join(result['failed'])}"
    return f"stopped: {said}; the same command goes on" if event.cancelled else f"{said}; {result['table']}"
