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
        "classification a folder for each class in one, or a table of paths and classes"
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
PresetOption = Annotated[str | None, typer.Option(help="default, quick, classification or linear_probe")]
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
        base = _base(run_dir, config, preset, resume, task)
        if base.replaced(**changes).classifies:
            given = _classified(data or [], labels, classes, unlabelled)
        else:
            given = _targets(data or [], labels or [], classes, unlabelled)
        same = resume and not (config or changes or given or setting)
        made = None if same else _configured(base, changes, given, setting or [])
        check_name(name, overwrite=resume)
        from genesis3d.workflows.finetune import finetune as workflow

        raise typer.Exit(
            train(lambda told: workflow(made, run_dir, resume=resume, control=told), run_dir, json, name, resume)
        )


def _configured(
    base: FinetuneConfig, changes: dict[str, Any], given: dict[str, Any], settings: list[str]
) -> FinetuneConfig:
    """Return ``base`` with the options: ``given`` says what is learnt from, ``settings`` come last."""
    from genesis3d.config import override

    values = base.to_dict() | changes
    part = "classified" if base.replaced(**changes).classifies else "data"
    values[part] |= given
    return type(base).parse(override(values, settings), "finetune")


def _base(run_dir: Path, config: Path | None, preset: str | None, resume: bool, task: str | None) -> FinetuneConfig:
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
    return finetune_preset(preset or ("classification" if task == "classification" else "default"))


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


def _classified(data: list[str], *others: object) -> dict[str, Any]:
    """Return what a classification learns from as plain settings; raises ConfigError for options of a segmentation."""
    if any(other is not None for other in others):
        raise ConfigError("--labels, --classes and --unlabelled: expected none for a classification, whose table or "
                          "folders name the classes")  # fmt: skip
    if not data:
        return {}
    if len(data) > 1:
        raise ConfigError(f"DATA: expected one table or folder of classes, got {len(data)}")
    path = Path(data[0]).absolute()
    return {"table": str(path), "folder": None} if path.is_file() else {"folder": str(path), "table": None}


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
