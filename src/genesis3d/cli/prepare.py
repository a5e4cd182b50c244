"""``genesis3d prepare``: an archive of scans into a store to train from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Json, Set
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from genesis3d.events import Event
    from genesis3d.workflows.prepare import PrepareConfig

Scans = Annotated[list[str] | None, typer.Argument(help="scans, DICOM folders, zips, or folders of these")]
Out = Annotated[str | None, typer.Option(help="folder or URL (s3://bucket/store) of the store: new, or to go on with")]
Spacing = Annotated[str | None, typer.Option(help="spacing Z,Y,X in mm to resample to, or native (default)")]
IntensityOption = Annotated[
    str | None, typer.Option(help="auto, ct, percentile, minmax, ... (default: by the scan's modality)")
]
Crop = Annotated[str | None, typer.Option(help="body (default) or none: what is cut away around the patient")]
Channels = Annotated[
    str | None, typer.Option(help="ends of names of registered files that are channels of a case: _0000,_0001")
]
Jobs = Annotated[int | None, typer.Option(min=1, help="processes (default: one less than there are cores)")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""

    @app.command()
    def prepare(
        scans: Scans = None,
        out: Out = None,
        spacing: Spacing = None,
        intensity: IntensityOption = None,
        crop: Crop = None,
        channels: Channels = None,
        jobs: Jobs = None,
        config: ConfigFile = None,
        setting: Set = None,
        json: Json = False,
    ) -> None:
        """Resample, map to [0, 1] and store SCANS once, to train from; the same command goes on where it stopped."""
        given: dict[str, Any] = {"cases": scans, "out": out, "jobs": jobs, "intensity": intensity}
        given |= {"spacing": _spacing(spacing), "crop": _crop(crop), "channels": _list(channels)}
        raise typer.Exit(_run(_configured(config, given, setting or [], native=spacing == "native"), json))


def _configured(config: Path | None, given: dict[str, Any], settings: list[str], *, native: bool) -> PrepareConfig:
    from genesis3d.config import override
    from genesis3d.workflows.prepare import PrepareConfig

    values = (PrepareConfig.from_yaml(config) if config else PrepareConfig()).to_dict()
    values |= {name: value for name, value in given.items() if value is not None}
    if native:
        values["spacing"] = None
    return PrepareConfig.parse(override(values, settings), "prepare")


def _spacing(text: str | None) -> list[float] | None:
    if text is None or text == "native":
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--spacing: expected Z,Y,X in mm, such as 2.5,1.4,1.4, or native, got {text!r}") from None


def _crop(text: str | None) -> bool | None:
    if text not in (None, "body", "none"):
        raise ConfigError(f"--crop: expected body or none, got {text!r}")
    return None if text is None else text == "body"


def _list(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",")]


def _run(config: PrepareConfig, json: bool) -> int:
    """Prepare and show the events; 0 also when stopped."""
    from genesis3d.cli.signals import stopped_by_signals
    from genesis3d.workflows.prepare import prepare

    with stopped_by_signals() as control:
        events = prepare(config, control)
        if json:
            for event in events:
                print(event.to_json(), flush=True)
        else:
            _show(events)
    return 0


def _show(events: Iterator[Event]) -> None:
    """Print progress on stderr (a bar on a terminal, lines elsewhere) and the report on stdout."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not sys.stderr.isatty()) as bar:
        task, every = bar.add_task("prepare", total=None, text="looking for scans"), 1
        for event in events:
            if event.kind == "started":
                bar.update(task, total=event.total, completed=event.detail["already_there"])
                every = max(1, (event.total or 0) // 20)
            elif event.kind == "stepped":
                text = f"{event.rate or 0:.2f} cases/s, {_minutes(event.seconds_left or 0)} left"
                bar.update(task, completed=event.step, text=text)
                if bar.disable and (event.step % every == 0 or event.step == event.total):
                    console.print(f"{event.step} of {event.total} cases, {text}", highlight=False, soft_wrap=True)
            elif event.kind == "warned":
                console.print(f"warning: {event.message}", markup=False, highlight=False, soft_wrap=True)
            elif event.kind == "finished":
                _say_end(event.result, event.cancelled)


def _say_end(report: dict[str, Any], stopped: bool) -> None:
    from genesis3d.data.summary import summary_lines

    if stopped:
        print(f"stopped: {report['waiting']} cases still to do; the same command goes on")
    for line in summary_lines(report):
        print(line)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
