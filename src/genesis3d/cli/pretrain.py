"""Commands of the group pretrain."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genesis3d.cli.launching import launch, orphaned
from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Set
from genesis3d.errors import ConfigError
from genesis3d.training.ranks import own_place

if TYPE_CHECKING:
    from genesis3d.events import Event
    from genesis3d.workflows.pretrain import PretrainConfig

ScansArgument = Annotated[
    list[str] | None, typer.Argument(help="scans, DICOM folders, zips, folders of these, or stores")
]
RunDirOption = Annotated[Path, typer.Option(help="folder of the run: new, or with --resume that of a run")]
PresetOption = Annotated[str | None, typer.Option(help="default, quick, official-pytorch, official-keras or paper")]
ChainOption = Annotated[
    str | None, typer.Option(help="YAML file of a chain, or a preset: default, official, gentle, ...")
]
SchemeOption = Annotated[
    str | None,
    typer.Option(help="combined, identity, nonlinear, shuffling, inpainting or outpainting (paper, section 4.1)"),
]
StartOption = Annotated[str | None, typer.Option(help="model whose weights the run begins with: file, run or name")]
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
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on from the run's last saved state; needs no scans")]
NiceOption = Annotated[int | None, typer.Option(min=0, max=19, help="lower the priority by so much (POSIX)")]
PluginOption = Annotated[list[str] | None, typer.Option(help="Python file or module with transforms of your own")]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""

    @app.command()
    def pretrain(
        run_dir: RunDirOption,
        scans: ScansArgument = None,
        config: ConfigFile = None,
        preset: PresetOption = None,
        setting: Set = None,
        chain: ChainOption = None,
        scheme: SchemeOption = None,
        start: StartOption = None,
        steps: StepsOption = None,
        minutes: MinutesOption = None,
        device: Device = None,
        precision: Precision = None,
        seed: SeedOption = None,
        threads: ThreadsOption = None,
        strategy: StrategyOption = None,
        processes: ProcessesOption = 1,
        name: NameOption = None,
        resume: ResumeOption = False,
        json: Json = False,
        nice: NiceOption = None,
        plugin: PluginOption = None,
    ) -> None:
        """Pre-train a network on SCANS: it learns to restore transformed sub-volumes (Models Genesis)."""
        if processes > 1 and own_place().world == 1:
            raise typer.Exit(launch([sys.executable, "-m", "genesis3d", *sys.argv[1:]], processes))
        _prepare_process(nice)
        _load_plugins(plugin or [])
        options = {"device": device, "precision": precision, "seed": seed, "threads": threads, "start": start}
        options["strategy"] = strategy
        changes = {key: value for key, value in options.items() if value is not None}
        base = _base(run_dir, config, preset, resume)
        made = _configured(base, scans or [], setting or [], _chain(chain, scheme), steps, minutes, changes)
        _check_name(name)
        raise typer.Exit(_run(made, run_dir, resume, json, name))


def _prepare_process(nice: int | None) -> None:
    # Spinning OpenMP threads take the cores of whoever looks on; it can be told only before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if nice and hasattr(os, "nice"):
        os.nice(nice)


def _load_plugins(plugins: list[str]) -> None:
    from genesis3d.registry import load_entry_points, load_plugin

    load_entry_points()
    for plugin in plugins:
        load_plugin(plugin)


def _base(run_dir: Path, config: Path | None, preset: str | None, resume: bool) -> PretrainConfig:
    """Return the settings that the options change: a file's, a preset's, or on resuming the run's own."""
    from genesis3d.training.rundir import RunDir
    from genesis3d.workflows.pretrain import PretrainConfig, pretrain_preset

    if config is not None and preset is not None:
        raise ConfigError("--config and --preset: expected one of them, got both")
    if config is not None:
        return PretrainConfig.from_yaml(config)
    if resume:
        if preset is not None:
            raise ConfigError("--preset: expected none with --resume, which takes the settings of the run")
        run = RunDir(run_dir)
        return PretrainConfig.parse(run.config(), str(run.config_path))
    return pretrain_preset(preset or "default")


def _configured(
    base: PretrainConfig,
    scans: list[str],
    settings: list[str],
    chain: dict[str, Any] | None,
    steps: int | None,
    minutes: float | None,
    changes: dict[str, Any],
) -> PretrainConfig:
    from genesis3d.config import override
    from genesis3d.workflows.pretrain import PretrainConfig

    if steps is not None and minutes is not None:
        raise ConfigError(f"--steps and --minutes: expected one of them, got {steps} and {minutes:g}")
    values = base.to_dict()
    if scans:
        values["cases"] = [scan if "://" in scan else str(Path(scan).absolute()) for scan in scans]
    if steps is not None or minutes is not None:
        values |= {"steps": steps, "minutes": minutes}
    if chain is not None:
        values["chain"] = chain
    values = override(values | changes, settings)
    return PretrainConfig.parse(values, "pretrain")


def _chain(text: str | None, scheme: str | None) -> dict[str, Any] | None:
    """Return a chain as plain values: a scheme's, a preset's, or that of a YAML file as the Preview dock saves it."""
    from genesis3d.transforms import CHAIN_PRESETS, Chain, chain_preset
    from genesis3d.workflows.pretrain_config import scheme_chain

    if text is not None and scheme is not None:
        raise ConfigError(f"--chain and --scheme: expected one of them, got {text!r} and {scheme!r}")
    if scheme is not None:
        return scheme_chain(scheme).to_dict()
    if text is None or text in CHAIN_PRESETS:
        return None if text is None else chain_preset(text).to_dict()
    if not Path(text).is_file():
        raise ConfigError(f"--chain: expected a YAML file or one of {', '.join(CHAIN_PRESETS)}, got {text!r}")
    return Chain.from_yaml(text).to_dict()


def _check_name(name: str | None) -> None:
    """Refuse a name that the library cannot take: before the training, not after it."""
    if name is not None:
        from genesis3d.networks.library import Library

        Library().place(name)


def _run(config: PretrainConfig, run_dir: Path, resume: bool, json: bool, name: str | None) -> int:
    """Train, show the events, and return the exit status: 0 also when stopped, 1 for a defect, 2 for a refusal."""
    from genesis3d.cli.signals import stopped_by_signals
    from genesis3d.events import Failed, Finished
    from genesis3d.networks.library import Library
    from genesis3d.workflows.pretrain import pretrain

    last: Event | None = None
    with stopped_by_signals() as told:
        events = pretrain(config, run_dir, resume=resume, control=lambda: "stop" if orphaned() else told())
        for event in _shown(events, json):
            last = event
    if name is not None and isinstance(last, Finished) and not last.cancelled and own_place().main:
        print(f"in the library: {Library().add(run_dir, name).path}", file=sys.stderr)
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
