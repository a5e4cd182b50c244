"""From labelled scans to a training ready to run: split, samplers, what is measured, checkpoints, the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.hard import places_at
from genesis3d.data.targets import LabelledCases
from genesis3d.networks.model_file import ModelCard
from genesis3d.training.hardness import Hardness
from genesis3d.training.live import Live
from genesis3d.training.loop import Training
from genesis3d.training.processes import Processes
from genesis3d.training.progress import Progress
from genesis3d.training.stepping import Stepper
from genesis3d.training.target_pairs import TargetMaker
from genesis3d.workflows.building import kept_by, merged, portions_of
from genesis3d.workflows.finetune_learning import Learning, TargetCases, fingerprint, learning_of
from genesis3d.workflows.finetune_live import slice_predictor

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.data.labelled import LabelledSampler
    from genesis3d.networks.transfer import Transferred
    from genesis3d.training.checkpoint import Checkpoints
    from genesis3d.training.pairs import Maker
    from genesis3d.training.rundir import RunDir
    from genesis3d.workflows.finetune_config import FinetuneConfig

__all__ = ["build_finetuning"]


def build_finetuning(
    run: RunDir,
    config: FinetuneConfig,
    loaded: TargetCases,
    bare: nn.Module,
    hardware: dict[str, Any],
    state: dict[str, Any] | None,
    start: Transferred | None,
    processes: Processes,
    again: bool,
) -> tuple[Training, dict[str, Any], list[str]]:
    """Return the training, plain facts about its data for status and report, and sentences to be said.

    ``bare`` is the task with the weights it begins with, ``start`` what of them a model gave, ``state`` the content of
    a resume file, ``again`` whether a run whose budget is used is to be trained on.  Raises GenesisError when settings,
    scans and state do not fit.
    """
    from genesis3d.training.joining import fabric_of

    fabric = fabric_of(processes, hardware["device"])
    learning = learning_of(config, loaded)
    sampler = learning.sampler
    checkpoints, averaging, normalised = kept_by(run, bare, config, hardware, _card_maker(config, learning), processes)
    progress, continued = _progress(config, checkpoints, state, start, fingerprint(loaded), again)
    pairs = TargetMaker(
        sampler, config.augmentation, config.seed, config.batch, device=fabric.device,
        hard=lambda step: places_at(progress.hard, step),
    )  # fmt: skip
    own = pairs.of_process(processes.rank, processes.world)
    portions, measuring = portions_of(config, progress, processes)
    task, optimiser = fabric.setup(checkpoints.task, checkpoints.optimiser)
    statistics = pairs.of_stream("statistics")
    plan, clip = config.optimiser.plan, config.optimiser.clip
    stepper = Stepper(fabric, task, optimiser, clip, hardware, portions, processes, own.share, plan)
    made = Training(
        run_dir=run, stepper=stepper, averaging=averaging, pairs=own, statistics=statistics,
        windows={"": learning.measured}, measuring=measuring, held_out=learning.part, settings=config.optimiser,
        validation=config.validation, keep=config.keep, recovery=config.recovery, checkpoints=checkpoints,
        progress=progress, goal=learning.goal,
        hardness=Hardness(sampler, config.seed) if config.sampling.hard and not config.classifies else None,
        live=_live(run, loaded, sampler, statistics, lambda: stepper.frozen),
    )  # fmt: skip
    said = [*merged(loaded.warnings), *merged(sampler.warnings), *normalised, learning.split.warning]
    said += [start.sentence] if start is not None else []
    if continued:
        said.append(_kept_version(made))
    return made, _facts(config, learning), list(dict.fromkeys(sentence for sentence in said if sentence))


def _live(
    run: RunDir, loaded: TargetCases, sampler: LabelledSampler, statistics: Maker, frozen: Callable[[], tuple[str, ...]]
) -> Live | None:
    if not isinstance(loaded, LabelledCases):
        return None
    shapes = [volume.geometry.shape for volume in loaded.volumes]
    return Live(run.path, shapes, sampler.patch, slice_predictor(loaded, sampler.patch, statistics, frozen))


def _progress(
    config: FinetuneConfig,
    checkpoints: Checkpoints,
    state: dict[str, Any] | None,
    start: Transferred | None,
    labels: str,
    again: bool,
) -> tuple[Progress, bool]:
    """Return where to begin, and whether a run is trained on with a new budget."""
    progress = Progress() if state is None else checkpoints.load(state)
    budget = f"{config.steps} steps" if config.steps is not None else f"{config.minutes} minutes"
    spent = progress.over or _patient_no_more(config, progress)
    continued = state is not None and ((progress.labels, progress.budget) != (labels, budget) or (again and spent))
    if state is None or continued:
        progress.begin_leg(config.steps, config.minutes)
    progress.labels, progress.budget = labels, budget
    if start is not None:
        progress.parent = start.parent
    return progress, continued


def _patient_no_more(config: FinetuneConfig, progress: Progress) -> bool:
    return config.validation.patience is not None and progress.stale >= config.validation.patience


def _kept_version(training: Training) -> str:
    """Keep the best model so far as a version and measure it on the labels as they are now; return a sentence."""
    import copy

    from genesis3d.networks.model_file import read_model
    from genesis3d.training.versions import keep_version, note_figures

    run, progress = training.run_dir, training.progress
    # Every process measures; the first one alone has kept the file by then.
    entry = training.processes.first(lambda: keep_version(run, _leg_before(run, progress)))
    task = copy.deepcopy(training.kept)
    task.network.load_state_dict(read_model(run.path / entry["path"]).module.state_dict())  # type: ignore[union-attr]
    stepper = training.stepper
    figures = training.measuring.fit(
        lambda size: training.windows[""].measure(task, stepper.device, stepper.half, size)
    )
    if training.processes.main:
        note_figures(run, entry["version"], figures)
    # The round has a best of its own: a few held-out slices shall not decide that corrections changed nothing.
    progress.best, progress.best_step = None, None
    return (
        f"version {entry['version']} of step {entry['step']} is kept: {_figure(figures)} on the labels as they are "
        "now; the training goes on from where it stood"
    )


def _figure(figures: Mapping[str, float]) -> str:
    name = next((name for name in ("dice", "auc", "accuracy") if name in figures), "loss")
    return f"{name} {figures[name]:.3f}"


def _leg_before(run: RunDir, progress: Progress) -> int:
    """Return the step that the budget before this one began at, which names its version."""
    from genesis3d.training.checkpoint import read_state

    return int(read_state(run.resume_path)["progress"].get("leg", 0))


def _facts(config: FinetuneConfig, learning: Learning) -> dict[str, Any]:
    return {
        "cases": len(learning.loaded),
        "training_cases": len(learning.training),
        "held_out": learning.split.how,
        "classes": [one.to_dict() for one in learning.loaded.classes],
        _counted(config): learning.counts,
        "parameters": config.network.parameters(),
    }


def _counted(config: FinetuneConfig) -> str:
    return "cases_of_class" if config.classifies else "labelled_voxels"


def _card_maker(config: FinetuneConfig, learning: Learning) -> Callable[[Progress], ModelCard]:
    loaded, training = learning.loaded, learning.training
    spacing = np.median([volume.geometry.spacing for volume in training.volumes], axis=0)
    modality = ", ".join(sorted({volume.modality for volume in training.volumes if volume.modality}))
    names = ", ".join(one.name for one in loaded.classes[0 if config.classifies else 1 :])
    data = {
        "cases": len(loaded),
        "training": [case.key for case in training.cases],
        "held_out": [case.key for case in learning.held_out.cases],
        "voxels": int(sum(volume.data.size for volume in training.volumes)),
        _counted(config): learning.counts,
    }

    def card(progress: Progress) -> ModelCard:
        return ModelCard(
            title=f"{config.network.name} for {names}"[:150] + f", trained on {len(training)} scan(s)",
            parents=(progress.parent,) if progress.parent else (),
            network=config.network,
            task=config.task.to_dict(),
            activation="softmax",
            classes=loaded.classes,
            intensity=loaded.intensity,
            modality=modality,
            patch=config.sampling.patch,
            spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            working_spacing=loaded.working_spacing,
            training=config.public(),
            data=data,
            step=progress.step,
            metrics=progress.figures | {"measured_at_step": float(progress.figures_step)},
            licence=config.licence,
        )

    return card
