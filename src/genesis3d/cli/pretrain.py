"""Commands of the group pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genesis3d.cli.options import ConfigFile, Device, Json, Precision, Set
from genesis3d.cli.training import (
    MinutesOption,
    NameOption,
    NiceOption,
    PluginOption,
    ProcessesOption,
    RunDirOption,
    SeedOption,
    StepsOption,
    StrategyOption,
    ThreadsOption,
    check_name,
    launch_processes,
    load_plugins,
    prepare_process,
    train,
)
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from genesis3d.workflows.pretrain import PretrainConfig

ScansArgument = Annotated[
    list[str] | None, typer.Argument(help="scans, DICOM folders, zips, folders of these, or stores")
]
PresetOption = Annotated[
    str | None, typer.Option(help="default, quick, opacity, official-pytorch, official-keras or paper")
]
ChainOption = Annotated[
    str | None, typer.Option(help="YAML file of a chain, or a preset: default, official, gentle, ...")
]
SchemeOption = Annotated[
    str | None,
    typer.Option(help="combined, identity, nonlinear, shuffling, inpainting or outpainting (paper, section 4.1)"),
]
StartOption = Annotated[str | None, typer.Option(help="model whose weights the run begins with: file, run or name")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="go on from the run's last saved state; needs no scans")]


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
        launch_processes(processes)
        prepare_process(nice)
        load_plugins(plugin or [])
        options = {"device": device, "precision": precision, "seed": seed, "threads": threads, "start": start}
        options["strategy"] = strategy
        changes = {key: value for key, value in options.items() if value is not None}
        base = _base(run_dir, config, preset, resume)
        made = _configured(base, scans or [], setting or [], _chain(chain, scheme), steps, minutes, changes)
        check_name(name)
        from genesis3d.workflows.pretrain import pretrain as workflow

        raise typer.Exit(train(lambda told: workflow(made, run_dir, resume=resume, control=told), run_dir, json, name))


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
