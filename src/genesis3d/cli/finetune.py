"""Commands of the group finetune."""

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
    from genesis3d.workflows.finetune import FinetuneConfig

DataArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="a folder with images/ and labels/, a dataset.json (MSD, nnU-Net) or its folder, or scans; of a "
        "classification a table (.csv) or a folder with a folder of scans for each class"
    ),
]
LabelsOption = Annotated[list[str] | None, typer.Option(help="label files of the scans in their order, or a folder")]
ModelOption = Annotated[str | None, typer.Option(help="model to begin with: file, run or name; without: from scratch")]
TaskOption = Annotated[str | None, typer.Option(help="segmentation or classification")]
ClassesOption = Annotated[
    str | None, typer.Option(help='what label values mean, such as "1=liver:#aa0000,2=tumour"; without: those found')
]
UnlabelledOption = Annotated[
    str | None, typer.Option(help="what label 0 means: background, slices (background where painted) or ignore")
]
PresetOption = Annotated[str | None, typer.Option(help="default, quick or linear_probe")]
AugmentationOption = Annotated[str | None, typer.Option(help="none, paper or default")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="go on; with a budget, settings or other labels: train on from what there is")
]


def add_to(app: typer.Typer) -> None:
    """Register this group's commands on ``app``."""

    @app.command()
    def finetune(
        run_dir: RunDirOption,
        data: DataArgument = None,
        labels: LabelsOption = None,
        model: ModelOption = None,
        task: TaskOption = None,
        classes: ClassesOption = None,
        unlabelled: UnlabelledOption = None,
        config: ConfigFile = None,
        preset: PresetOption = None,
        setting: Set = None,
        augmentation: AugmentationOption = None,
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
        """Fine-tune a network on labelled scans (DATA): it learns to mark what the labels mark."""
        launch_processes(processes)
        prepare_process(nice)
        load_plugins(plugin or [])
        options = {"device": device, "precision": precision, "seed": seed, "threads": threads, "strategy": strategy}
        options |= {"model": model, "augmentation": augmentation, "task": task}
        changes = {key: value for key, value in options.items() if value is not None}
        changes |= _budget(steps, minutes)
        sources = (data or [], labels or [], classes, unlabelled)
        made = _configured(run_dir, config, preset, resume, changes, sources, setting or [])
        check_name(name, overwrite=resume)
        from genesis3d.workflows.finetune import finetune as workflow

        raise typer.Exit(
            train(lambda told: workflow(made, run_dir, resume=resume, control=told), run_dir, json, name, resume)
        )


def _configured(
    run_dir: Path,
    config: Path | None,
    preset: str | None,
    resume: bool,
    changes: dict[str, Any],
    sources: tuple[list[str], list[str], str | None, str | None],
    settings: list[str],
) -> FinetuneConfig | None:
    """Return the settings of the run; None on resuming one as it is."""
    from genesis3d.config import override
    from genesis3d.workflows.finetune import FinetuneConfig

    if resume and not (config or preset or changes or any(sources) or settings):
        return None
    values = _base(run_dir, config, preset, resume).to_dict()
    if (changes.get("task") or values["task"]["name"]) == "classification":
        values["classified"] |= _classified(*sources)
    else:
        values["data"] |= _targets(*sources)
    return FinetuneConfig.parse(override(values | changes, settings), "finetune")


def _base(run_dir: Path, config: Path | None, preset: str | None, resume: bool) -> FinetuneConfig:
    """Return the settings that the options change: a file's, a preset's, or on resuming the run's own."""
    from genesis3d.training.rundir import RunDir
    from genesis3d.workflows.finetune import FinetuneConfig, finetune_preset

    if config is not None and preset is not None:
        raise ConfigError("--config and --preset: expected one of them, got both")
    if config is not None:
        return FinetuneConfig.from_yaml(config)
    if resume:
        if preset is not None:
            raise ConfigError("--preset: expected none with --resume, which takes the settings of the run")
        run = RunDir(run_dir)
        return FinetuneConfig.parse(run.config(), str(run.config_path))
    return finetune_preset(preset or "default")


def _budget(steps: int | None, minutes: float | None) -> dict[str, Any]:
    if steps is not None and minutes is not None:
        raise ConfigError(f"--steps and --minutes: expected one of them, got {steps} and {minutes:g}")
    return {} if steps is None and minutes is None else {"steps": steps, "minutes": minutes}


def _targets(data: list[str], labels: list[str], classes: str | None, unlabelled: str | None) -> dict[str, Any]:
    """Return the options that say what is learnt from, as plain settings of the data; only those that are given."""
    found: dict[str, Any] = {}
    paths = [str(Path(path).absolute()) for path in data]
    if len(paths) == 1 and not labels and (paths[0].endswith(".json") or (Path(paths[0]) / "dataset.json").is_file()):
        found |= {"dataset": paths[0], "images": (), "labels": ()}
    elif paths:
        found |= {"dataset": None, "images": paths, "labels": ()}
    if labels:
        found["labels"] = [str(Path(path).absolute()) for path in labels]
    if classes is not None:
        found["classes"] = _classes(classes)
    if unlabelled is not None:
        found["unlabelled"] = unlabelled
    return found


def _classified(data: list[str], labels: list[str], classes: str | None, unlabelled: str | None) -> dict[str, Any]:
    """Return the options that say what a classification learns from; raises ConfigError for those of a segmentation."""
    if labels or classes is not None or unlabelled is not None or len(data) > 1:
        raise ConfigError(
            "task classification: expected a table (.csv) or a folder of classes, got labels, classes or several paths"
        )
    if not data:
        return {}
    path = Path(data[0]).absolute()
    return {"table": str(path), "folder": None} if path.suffix == ".csv" else {"table": None, "folder": str(path)}


def _classes(text: str) -> list[dict[str, Any]]:
    """Return ``1=liver:#aa0000,2=tumour`` as plain classes; raises ConfigError."""
    found = []
    for part in text.split(","):
        value, equals, rest = part.strip().partition("=")
        name, _, colour = rest.partition(":")
        if not (value.strip().isdigit() and equals and name.strip()):
            raise ConfigError(f"--classes: expected VALUE=NAME or VALUE=NAME:#rrggbb with commas, got {part!r}")
        found.append({"value": int(value), "name": name.strip(), "colour": colour.strip().lower() or None})
    return found
