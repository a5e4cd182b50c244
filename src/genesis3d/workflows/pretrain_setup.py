"""From a configuration to a training ready to run: scans, split, samplers, network, optimiser, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.cases import Case, LoadedCases, find_cases, load_cases
from genesis3d.data.loading import joined
from genesis3d.data.sampling import Sampler
from genesis3d.data.store import is_store, open_store
from genesis3d.errors import ConfigError
from genesis3d.events import Control
from genesis3d.networks.model_file import ModelCard
from genesis3d.training.holdout import Split, hold_out
from genesis3d.training.loop import Training
from genesis3d.training.pairs import PairMaker
from genesis3d.training.processes import ALONE, Processes
from genesis3d.training.progress import Progress
from genesis3d.training.rundir import RunDir
from genesis3d.training.stepping import Stepper
from genesis3d.training.validation import FixedWindows
from genesis3d.transforms import chain_preset
from genesis3d.workflows.building import MEASURED_AT_ONCE, kept_by, merged, portions_of, progress_of
from genesis3d.workflows.pretrain_opacity import LungCases, opacity_pairs, opacity_windows, settings_of, with_lungs

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.training.opacity_pairs import OpacityMaker
    from genesis3d.training.opacity_windows import OpacityWindows
    from genesis3d.workflows.pretrain_config import PretrainConfig
    from genesis3d.workflows.pretrain_start import Parent

__all__ = ["YARDSTICKS", "build_training", "measured_patch", "read_cases", "training_pairs"]

# Chains that every run is measured under, so that runs under different ones compare.
YARDSTICKS = ("official", "gentle")


def read_cases(config: PretrainConfig, cases: Sequence[Case] | None, control: Control) -> LoadedCases | None:
    """Return the scans in memory and those of stores, which stay there; None when told to stop meanwhile.

    Raises
    ------
    ScanError
        When no scan can be read (one that cannot is left out and named in the result's warnings), or a store cannot.
    ConfigError
        When scans and stores, or the configuration's intensity and a store's, do not go together.
    """
    skipped: list[str] = []
    stored: list[LoadedCases] = []
    if cases is None:
        if not config.cases:
            raise ConfigError("cases: expected at least one scan, got none")
        stored = [_stored(path, config) for path in config.cases if is_store(path)]
        files = [path for path in config.cases if not is_store(path)]
        if stored and config.task.name == "opacity":
            raise ConfigError("cases: expected scans for task opacity, whose lungs are looked for, got a store")
        if not files:
            return joined(stored)
        found = find_cases(files)
        cases, skipped = found, found.skipped
    loaded = _in_memory(config, cases, control)
    if loaded is None:
        return None
    whole = joined([*stored, replace(loaded, warnings=(*skipped, *loaded.warnings))])
    return with_lungs(config, whole, control) if config.task.name == "opacity" else whole


def _stored(path: str, config: PretrainConfig) -> LoadedCases:
    loaded = open_store(path).loaded()
    if config.intensity not in (None, loaded.intensity):
        raise ConfigError(
            f"intensity: expected {loaded.intensity.to_dict()}, by which {path} was prepared, got "
            f"{config.intensity.to_dict() if config.intensity else None}"
        )
    return loaded


def _in_memory(config: PretrainConfig, cases: Sequence[Case], control: Control) -> LoadedCases | None:
    stopped = False

    def until_stopped() -> Iterator[Case]:
        nonlocal stopped
        for case in cases:
            if control() == "stop":
                stopped = True
                return
            yield case

    try:
        loaded = load_cases(until_stopped(), config.intensity)
    except Exception:
        if stopped:
            return None
        raise
    return None if stopped else loaded


def training_pairs(
    config: PretrainConfig, loaded: LoadedCases, device: Any = None
) -> tuple[PairMaker | OpacityMaker, Split]:
    """Return what makes the training's pairs, and the split behind it: the trainer and the preview share it."""
    if isinstance(loaded, LungCases):
        return opacity_pairs(config, loaded, device)
    split = hold_out(loaded, config.validation, config.seed, measured_patch(config))
    sampler = Sampler(config.sampling, split.training.volumes, split.training.scales)
    return PairMaker(sampler, config.chain, config.seed, config.batch, device=device), split


def measured_patch(config: PretrainConfig) -> tuple[int, int, int]:
    """Return the size (D, H, W) of the sub-volumes that a run is measured on."""
    return config.validation.patch or config.sampling.patch


def build_training(
    run: RunDir,
    config: PretrainConfig,
    loaded: LoadedCases,
    bare: nn.Module,
    hardware: dict[str, Any],
    state: dict[str, Any] | None,
    parent: Parent | None = None,
    processes: Processes = ALONE,
) -> tuple[Training, dict[str, Any], list[str]]:
    """Return the training, plain facts about its data for status and report, and sentences to be said.

    ``bare`` is the task as built from the configuration, ``state`` the content of a resume file, ``parent`` the
    model whose weights ``bare`` holds; each of several ``processes`` makes the pairs of its own slots.  Raises
    GenesisError when settings, scans and state do not fit.
    """
    from genesis3d.training.joining import fabric_of

    for patch in (config.sampling.patch, measured_patch(config)):
        config.network.check((loaded.volumes[0].channels, *patch))
    fabric = fabric_of(processes, hardware["device"])
    on_device = fabric.device if fabric.device.type == "cuda" else None
    pairs, split = training_pairs(config, loaded, on_device)
    own = pairs.of_process(processes.rank, processes.world)
    windows, warnings = _windows(config, loaded, split)
    card = _card_maker(config, loaded, split)
    checkpoints, averaging, normalised = kept_by(run, bare, config, hardware, card, processes)
    progress = progress_of(config, checkpoints, state, "" if parent is None else parent.text)
    portions, measuring = portions_of(config, progress, processes)
    task, optimiser = fabric.setup(checkpoints.task, checkpoints.optimiser)
    settings = config.optimiser
    stepper = Stepper(fabric, task, optimiser, settings.clip, hardware, portions, processes, own.share, settings.plan)
    training = Training(
        run_dir=run, stepper=stepper, averaging=averaging, pairs=own, statistics=pairs.of_stream("statistics"),
        windows=windows, measuring=measuring, held_out=split.held_out, settings=settings,
        validation=config.validation, keep=config.keep, recovery=config.recovery, checkpoints=checkpoints,
        progress=progress,
    )  # fmt: skip
    other = parent.differences(loaded.intensity) if parent is not None else []
    said = [*merged(loaded.warnings), *pairs.sampler.warnings, *warnings, *normalised, *other, split.warning]
    return training, _facts(config, loaded, split), list(dict.fromkeys(sentence for sentence in said if sentence))


def _facts(config: PretrainConfig, loaded: LoadedCases, split: Split) -> dict[str, Any]:
    return {
        "cases": len(loaded),
        "training_cases": len(split.training.names),
        "held_out": split.how,
        "parameters": config.network.parameters(),
    }


def _windows(
    config: PretrainConfig, loaded: LoadedCases, split: Split
) -> tuple[Mapping[str, FixedWindows | OpacityWindows], list[str]]:
    """Return the fixed sub-volumes under the run's chain and those of all runs, by the prefix of their figures."""
    if isinstance(loaded, LungCases):
        return opacity_windows(config, loaded, split), []
    part, count = split.held_out, config.validation.windows
    sampler = Sampler(config.sampling.replaced(patch=measured_patch(config)), part.volumes, part.scales)
    chains = {"": config.chain} | {f"{name}_": chain_preset(name) for name in YARDSTICKS}
    windows = {
        prefix: FixedWindows(sampler, chain, config.seed, count, MEASURED_AT_ONCE, f"validation {prefix}".strip())
        for prefix, chain in chains.items()
    }
    return windows, sampler.warnings


def _card_maker(config: PretrainConfig, loaded: LoadedCases, split: Split) -> Any:
    spacing = np.median([volume.geometry.spacing for volume in split.training.volumes], axis=0)
    modality = ", ".join(sorted({volume.modality for volume in split.training.volumes if volume.modality}))
    data = {
        "cases": len(loaded),
        "training": split.training.keys,
        "held_out": split.held_out.keys,
        "voxels": int(sum(volume.data.size for volume in split.training.volumes)),
    } | ({"fingerprint": loaded.fingerprint} if loaded.fingerprint else {})

    opacity, trained = config.task.name == "opacity", f"pre-trained on {len(split.training.names)} scan(s)"

    def card(progress: Progress) -> ModelCard:
        return ModelCard(
            title=f"{'opacity of the lungs' if opacity else config.network.name}, {trained}",
            parents=(progress.parent,) if progress.parent else (),
            network=config.network,
            task=config.task.to_dict(),
            activation=getattr(config.task, "activation", "linear"),
            intensity=loaded.intensity,
            modality=modality,
            patch=config.sampling.patch,
            spacing=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            working_spacing=settings_of(config).sampling.spacing if opacity else None,
            chain={} if opacity else config.chain.to_dict(),
            training=config.public(),
            data=data,
            step=progress.step,
            metrics=progress.figures | {"measured_at_step": float(progress.figures_step)},
            licence=config.licence,
        )

    return card
