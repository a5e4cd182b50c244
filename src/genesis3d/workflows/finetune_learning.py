"""What a fine-tuning learns from and is measured on: labelled scans for a segmentation, classified ones for classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from genesis3d.data.classified import ClassifiedCases, load_classified
from genesis3d.data.classified_sampling import ClassifiedSampler
from genesis3d.data.labelled import LabelledSampler
from genesis3d.data.splits import Split, split
from genesis3d.data.targets import LabelledCases, load_targets
from genesis3d.training.class_windows import FixedClasses
from genesis3d.training.holdout import Part
from genesis3d.training.target_windows import FixedTargets
from genesis3d.workflows.building import MEASURED_AT_ONCE

if TYPE_CHECKING:
    from genesis3d.events import Control
    from genesis3d.training.validation import HeldOut
    from genesis3d.workflows.finetune_config import FinetuneConfig

__all__ = ["Learning", "TargetCases", "fingerprint", "learning_of", "load_cases"]

TargetCases: TypeAlias = LabelledCases | ClassifiedCases


@dataclass(frozen=True, eq=False)
class Learning:
    """The two sides of a split, made ready.

    Attributes
    ----------
    loaded, training, held_out : all cases, and those of each side (of training, where nothing is held out)
    split : how they were parted
    sampler : of sub-volumes to learn from
    measured : what is held out
    goal : of its figures, what is to fall
    """

    loaded: TargetCases
    training: TargetCases
    held_out: TargetCases
    split: Split
    sampler: LabelledSampler
    measured: HeldOut
    goal: Callable[[Mapping[str, float]], float]

    @property
    def part(self) -> Part:
        """What is held out, as samples name it."""
        cases = self.held_out
        return Part(
            [case.name for case in cases.cases], [case.key for case in cases.cases], cases.volumes, cases.scales
        )

    @property
    def counts(self) -> dict[str, int]:
        """Labelled voxels (or cases) that are learnt from, by the name of the class."""
        found = self.sampler.counts()
        return {one.name: found.get(k, 0) for k, one in enumerate(self.loaded.classes)}


def load_cases(config: FinetuneConfig, control: Control) -> TargetCases | None:
    """Read what ``config`` names; None when told to stop.  Raises GenesisError."""
    if config.classifies:
        return load_classified(config.classified, control=control)
    return load_targets(config.data, control=control)


def learning_of(config: FinetuneConfig, loaded: TargetCases) -> Learning:
    """Return ``loaded`` parted and made ready as ``config`` says; raises GenesisError when they do not fit."""
    parted = split(loaded, config.targets.split)
    if isinstance(loaded, LabelledCases):
        return _of_labels(config, loaded, parted)
    return _of_classes(config, loaded, parted)


def fingerprint(cases: TargetCases) -> str:
    """Return a short text that is the same for the same cases and labels."""
    digest = blake2b(digest_size=8)
    for case in cases.cases:
        digest.update(case.key.encode())
    if isinstance(cases, ClassifiedCases):
        digest.update(" ".join(f"{case.name}={k}" for case, k in zip(cases.cases, cases.targets, strict=True)).encode())
    else:
        for labels in cases.labels:
            digest.update(np.ascontiguousarray(labels.data).data)
    return digest.hexdigest()


def _of_labels(config: FinetuneConfig, loaded: LabelledCases, parted: Split) -> Learning:
    names = [one.name for one in loaded.classes]
    training, held_out = parted.parts(loaded)
    held_out = held_out if len(held_out) else training
    sampler, other = (
        LabelledSampler(config.sampling, side.volumes, side.scales, side.labels, said)
        for side, said in ((training, names), (held_out, ()))
    )
    measured = FixedTargets(other, names, config.validation.windows, MEASURED_AT_ONCE)
    return Learning(loaded, training, held_out, parted, sampler, measured, _without_dice)


def _of_classes(config: FinetuneConfig, loaded: ClassifiedCases, parted: Split) -> Learning:
    from genesis3d.evaluation.classification import OVERALL, classification_figures

    names = [one.name for one in loaded.classes]
    training, held_out = parted.parts(loaded)
    held_out = held_out if len(held_out) else training

    def judge(scores: Any, targets: Any) -> dict[str, float]:
        found = classification_figures(scores, targets, names)
        figures = found[OVERALL] if len(names) > 2 else found[names[1]] | found[OVERALL]
        return {name: value for name, value in figures.items() if name != "n" and np.isfinite(value)}

    sampler, other = (
        ClassifiedSampler(config.sampling, side.volumes, side.scales, side.targets) for side in (training, held_out)
    )
    measured = FixedClasses(other, names, config.validation.windows, MEASURED_AT_ONCE, judge)
    return Learning(loaded, training, held_out, parted, sampler, measured, _loss)


def _without_dice(figures: Mapping[str, float]) -> float:
    return 1.0 - figures["dice"]


def _loss(figures: Mapping[str, float]) -> float:
    return figures["loss"]
