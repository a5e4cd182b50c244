"""What the commands that train have in common: options, processes, plugins, events shown, the library at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genesis3d.cli.launching import launch, orphaned
from genesis3d.training.ranks import own_place

if TYPE_CHECKING:
    from genesis3d.events import Control, Event

__all__ = ["MinutesOption", "NameOption", "NiceOption", "PluginOption", "ProcessesOption", "RunDirOption", "SeedOption",
           "StepsOption", "StrategyOption", "ThreadsOption", "check_name", "launch_processes", "load_plugins",
           "prepare_process", "train"]  # fmt: skip

RunDirOption = Annotated[Path, typer.Option(help="folder of the run: new, or with --resume that of a run")]
StepsOption = Annotated[int | None, typer.Option(help="length in steps")]
MinutesOption = Annotated[float | None, typer.Option(help="length in minutes")]
SeedOption = Annotated[int | None, typer.Option(help="seed of everything random")]
ThreadsOption = Annotated[int | None, typer.Option(help="processor threads (default: all cores but one)")]
StrategyOption = Annotated[
    str | None, typer.Option(help="of several processes: ddp (each holds the network) or fsdp (each holds a part)")
]
ProcessesOption = Annotated[
    int, typer.Option(min=1, max=256, help="processes on this machine that train together (as torchrun and srun do)")
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="put the best model into the library under this name at the end")
]
NiceOption = Annotated[int | None, typer.Option(min=0, max=19, help="lower the priority by so much (POSIX)")]
PluginOption = Annotated[list[str] | None, typer.Option(help="Python file or module with transforms of your own")]


def prepare_process(nice: int | None) -> None:
    """Lower the priority by ``nice``, and let idle threads sleep; before torch is loaded."""
    # Spinning OpenMP threads take the cores of whoever looks on; it can be told only before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if nice and hasattr(os, "nice"):
        os.nice(nice)


def load_plugins(plugins: list[str]) -> None:
    """Import what is installed as a plugin, and these files or modules."""
    from genesis3d.registry import load_entry_points, load_plugin

    load_entry_points()
    for plugin in plugins:
        load_plugin(plugin)


def check_name(name: str | None, overwrite: bool = False) -> None:
    """Refuse a name that the library cannot take: before the training, not after it."""
    if name is not None:
        from genesis3d.networks.library import Library

        Library().place(name, overwrite)


def launch_processes(processes: int) -> None:
    """Where several ``processes`` are asked for, start them with this very command and exit as they did."""
    if processes > 1 and own_place().world == 1:
        raise typer.Exit(launch([sys.executable, "-m", "genesis3d", *sys.argv[1:]], processes))


def train(
    workflow: Callable[[Control], Iterator[Event]], run_dir: Path, json: bool, name: str | None, overwrite: bool = False
) -> int:
    """Train, show the events, and return the exit status: 0 also when stopped, 1 for a defect, 2 for a refusal.

    Finished, the best model enters the library as ``name``, if one is given.
    """
    from genesis3d.cli.signals import stopped_by_signals
    from genesis3d.events import Failed, Finished
    from genesis3d.networks.library import Library

    last: Event | None = None
    with stopped_by_signals() as told:
        for event in _shown(workflow(lambda: "stop" if orphaned() else told()), json):
            last = event
    if name is not None and isinstance(last, Finished) and not last.cancelled and own_place().main:
        print(f"in the library: {Library().add(run_dir, name, overwrite).path}", file=sys.stderr)
    if not isinstance(last, Failed):
        return 0
    print(f"genesis3d: {last.message}", file=sys.stderr)
    if not last.expected:
        print(last.trace, file=sys.stderr)
    return 2 if last.expected else 1


def _shown(events: Iterator[Event], json: bool) -> Iterator[Event]:
    """Yield ``events``, each printed (by the first process): JSON lines, a progress bar on a terminal, or lines."""
    from genesis3d.cli.progress import ProgressBar, plain_line

    if not own_place().main:
        yield from events
    elif json:
        for event in events:
            print(event.to_json(), flush=True)
            yield event
    elif sys.stdout.isatty():
        with ProgressBar() as bar:
            for event in events:
                bar.show(event)
                yield event
    else:
        for event in events:
            line = plain_line(event)
            if line:
                print(line, flush=True)
            yield event
