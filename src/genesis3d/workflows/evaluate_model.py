"""Labelled scans that a model segments before the two are compared."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from genesis3d.data.splits import split
from genesis3d.errors import ConfigError
from genesis3d.evaluation.segmentation import foreground, segmentation_figures
from genesis3d.events import Control
from genesis3d.labels import BACKGROUND, IGNORE, LabelClass
from genesis3d.workflows.evaluate_cases import Evaluated, present_classes

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.workflows.evaluate_config import EvaluateSegmentationConfig
    from genesis3d.workflows.segment import Segmentation

__all__ = ["drained", "index_of", "labelled_items"]

R = TypeVar("R")
Item = tuple[str, Callable[[], Evaluated | None]]


def labelled_items(config: EvaluateSegmentationConfig, control: Control) -> tuple[list[Item], list[str]] | None:
    """Return the cases of ``config.data``, each to be segmented and compared when called, and sentences to be said.

    None when told to stop while reading.  Calling one gives None when told to stop on the way.

    Raises
    ------
    ModelError, ConfigError
        For what is no segmentation model, or knows none of the classes.
    """
    from genesis3d.data.targets import load_targets
    from genesis3d.networks.model_file import read_model

    assert config.model is not None
    assert config.data is not None
    model = read_model(config.model)
    declared = config.classes or config.data.classes or tuple(foreground(model.card.classes))
    _check_classes(declared, model)
    cases = load_targets(config.data.replaced(classes=declared), control=control)
    if cases is None:
        return None
    indices = split(cases, config.data.split).held_out if config.part == "held_out" else list(range(len(cases)))
    if not indices:
        raise ConfigError("part: expected cases that the split of data holds out, got none")

    def item(index: int) -> Item:
        return cases.cases[index].name, lambda: _evaluated(cases, index, model, config, control)

    return [item(index) for index in indices], list(cases.warnings)


def drained(work: Generator[Any, None, R]) -> R:
    """Return what a generator returns, its events passed over."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: R = end.value
            return result


def index_of(theirs: Sequence[LabelClass], ours: Sequence[LabelClass]) -> Any:
    """Return a table (65536,) uint8 from the class values of ``theirs`` to indices of ``ours``, background elsewhere.

    Classes go by name where all of ``ours`` are found so, else by value.
    """
    table = np.zeros(65536, dtype=np.uint8)
    by_name = {one.name.lower(): one.value for one in theirs}
    named = all(one.name.lower() in by_name for one in foreground(ours))
    for index, one in enumerate(ours):
        if one.value != BACKGROUND:
            table[by_name[one.name.lower()] if named else one.value] = index
    return table


def _evaluated(
    cases: LabelledCases, index: int, model: LoadedModel, config: EvaluateSegmentationConfig, control: Control
) -> Evaluated | None:
    from genesis3d.workflows.segment import segment_volume

    found: Segmentation = drained(segment_volume(cases.volumes[index], model, config.segment, control=control))
    if not found.complete:
        return None
    by_index = [LabelClass(value=number, name=one.name) for number, one in enumerate(cases.classes)]
    table = index_of(model.card.classes, cases.classes)
    probabilities = None
    if found.probabilities is not None:
        channel_of = {int(table[one.value]): k for k, one in enumerate(model.card.classes) if one.value != BACKGROUND}
        channels = [channel_of.get(number, 0) for number in range(len(by_index))]
        probabilities = found.probabilities.with_data(found.probabilities.data[channels])
    figures = segmentation_figures(
        found.labels.with_data(table[found.labels.data]),
        cases.labels[index],
        by_index,
        probabilities=probabilities,
        ignore=IGNORE,
        distances=config.distances,
    )
    name = cases.cases[index].name
    return Evaluated(
        name, figures, present_classes(cases.labels[index], by_index), [f"{name}: {w}" for w in found.warnings]
    )


def _check_classes(classes: Sequence[LabelClass], model: LoadedModel) -> None:
    wanted, known = foreground(classes), foreground(model.card.classes)
    names, values = {one.name.lower() for one in known}, {one.value for one in known}
    if not all(one.name.lower() in names for one in wanted) and not all(one.value in values for one in wanted):
        raise ConfigError(
            f"classes: expected those of the model ({', '.join(one.name for one in known) or 'none'}), "
            f"got {', '.join(one.name for one in wanted)}"
        )
