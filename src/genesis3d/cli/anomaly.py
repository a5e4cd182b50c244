"""Commands of the group anomaly: restore a scan, map what a model could not explain."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

SCAN = Annotated[str, typer.Argument(help="DICOM folder, zip, NIfTI, NRRD or MetaImage file.")]
MODEL = Annotated[
    str, typer.Option("--model", help="Run directory, .safetensors model file or name of a model of the library.")
]
OVERLAP = Annotated[float | None, typer.Option(help="Share of a window that the next covers again, 0 to 0.9.")]
DEVICE = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PRECISION = Annotated[str | None, typer.Option(help="auto, 32, bf16 or 16.")]
CONFIG = Annotated[Path | None, typer.Option("--config", help="YAML file of settings; options given here win.")]
SET = Annotated[list[str] | None, typer.Option("--set", help="One setting as KEY=VALUE; may be repeated.")]
JSON = Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""
    app.command("restore")(restore_command)
    app.command("anomaly")(anomaly_command)


def restore_command(
    scan: SCAN,
    model: MODEL,
    out: Annotated[str, typer.Option("--out", help="File to write: .nii.gz, .nii, .nrrd, .mha or .mhd.")],
    overlap: OVERLAP = None,
    device: DEVICE = None,
    precision: PRECISION = None,
    config: CONFIG = None,
    set_: SET = None,
    json: JSON = False,
) -> None:
    """Restore SCAN with a model and write the result on the scan's own grid."""
    from genesis3d.workflows.restore import RestoreConfig, restore

    given = {"scan": scan, "model": model, "out": out, "overlap": overlap, "device": device, "precision": precision}
    _show(restore(RestoreConfig.parse(_settings(config, given, set_), "restore")), json)


def anomaly_command(
    scan: SCAN,
    model: MODEL,
    out_dir: Annotated[str, typer.Option("--out-dir", help="Folder for the results.")],
    lungs: Annotated[
        str | None, typer.Option(help="auto, none (whole scan), or a mask file on the scan's grid.")
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Smallest score of a region, in HU for CT.")] = None,
    overlap: OVERLAP = None,
    device: DEVICE = None,
    precision: PRECISION = None,
    config: CONFIG = None,
    set_: SET = None,
    json: JSON = False,
) -> None:
    """Map what a model could not explain in SCAN: difference, score, regions and a report. Not for clinical use."""
    from genesis3d.workflows.anomaly import AnomalyConfig, anomaly

    given = {"scan": scan, "model": model, "out_dir": out_dir, "lungs": lungs, "threshold": threshold}
    given |= {"overlap": overlap, "device": device, "precision": precision}
    _show(anomaly(AnomalyConfig.parse(_settings(config, given, set_), "anomaly")), json)


def _settings(config: Path | None, given: dict[str, Any], set_: list[str] | None) -> dict[str, Any]:
    """Return the settings of the file, overridden by the options given, overridden by ``--set``."""
    from genesis3d.config import override

    values = _read(config) if config is not None else {}
    return override(values | {key: value for key, value in given.items() if value is not None}, set_ or [])


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


def _show(events: Iterator[Any], json: bool) -> None:
    if json:
        for event in events:
            print(event.to_json(), flush=True)
        return
    _with_progress(events)


def _with_progress(events: Iterator[Any]) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
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
                _say_result(event, console)


def _say_result(event: Any, console: Any) -> None:
    if event.cancelled:
        console.print("stopped: nothing was written", markup=False)
    for name, value in event.result.items():
        console.print(f"{name.replace('_', ' ')}: {value}", markup=False, highlight=False)
