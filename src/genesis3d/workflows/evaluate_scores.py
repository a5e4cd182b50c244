"""The scores of a classification: read from a table, or given by a model to whole scans or boxes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.splits import split
from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Control

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.classified import ClassifiedCases
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.workflows.evaluate_config import EvaluateClassificationConfig

__all__ = ["Scored", "model_scores", "table_scores"]


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores (N, K) in the order of ``classes``, class indices (N,) and names of N cases; sentences to be said."""

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    targets: NDArray[np.int64]
    classes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def table_scores(path: str | Path) -> Scored:
    """Read a CSV file with the columns ``target`` and either ``score`` or one for each class (and ``case``).

    Targets are names of the classes' columns, or with ``score`` two names, of which the second in order (1 after 0,
    otherwise alphabetical) is that which the score is of.

    Raises
    ------
    ConfigError
        For a file that is no such table, naming the column or the line.
    """
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: expected a CSV file of scores, got {' '.join(str(error).split())}") from error
    if not rows or "target" not in rows[0]:
        raise ConfigError(f"{path}: expected a CSV file with the column target and scores")
    others = [name for name in rows[0] if name not in ("case", "target") and name is not None]
    found = sorted({str(row["target"]) for row in rows}, key=_order)
    if others == ["score"]:
        if len(found) != 2:
            raise ConfigError(f"{path}: expected two different targets beside one score, got {', '.join(found[:5])}")
        classes = found
    else:
        classes = others
    unknown = [name for name in found if name not in classes]
    if unknown or len(classes) < 2:
        raise ConfigError(
            f"{path}: expected a column score, or one for each target ({', '.join(found[:5])}), got {', '.join(others)}"
        )
    scores = np.array([[_number(row, name, path, line) for name in others] for line, row in enumerate(rows, start=2)])
    names = tuple(str(row.get("case") or number) for number, row in enumerate(rows, start=1))
    targets = np.array([classes.index(str(row["target"])) for row in rows])
    return Scored(names, scores, targets, tuple(classes))


def model_scores(config: EvaluateClassificationConfig, control: Control) -> Scored | None:
    """Classify the scans of ``config.data`` by ``config.model``; None when told to stop.

    Each scan (or box) is judged by the sub-volume in its middle, of the size that the model was trained on.

    Raises
    ------
    ModelError
        For a model that is no classification model, or of other classes.
    """
    from genesis3d.data.classified import load_classified
    from genesis3d.networks.model_file import read_model

    assert config.model is not None
    assert config.data is not None
    model = read_model(config.model)
    if model.card.purpose != "classification":
        raise ModelError(f"{config.model}: expected a classification model, got one for {model.card.purpose}")
    data = config.data.replaced(intensity=config.data.intensity or model.card.intensity)
    if data.spacing is None and data.box is None:
        data = data.replaced(spacing=model.card.working_spacing)
    cases = load_classified(data, control=control)
    if cases is None:
        return None
    names = tuple(one.name for one in model.card.classes)
    unknown = [one.name for one in cases.classes if one.name not in names]
    if unknown:
        raise ModelError(f"{config.model}: expected a model of {unknown[0]}, too, got one of {', '.join(names)}")
    chosen = split(cases, data.split).held_out if config.part == "held_out" else list(range(len(cases)))
    if not chosen:
        raise ConfigError("part: expected cases that the split of data holds out, got none")
    scores = _probabilities(model, cases.subset(chosen), config.device, control)
    if scores is None:
        return None
    targets = np.array([names.index(cases.classes[cases.targets[index]].name) for index in chosen])
    return Scored(tuple(cases.cases[i].name for i in chosen), scores, targets, names, tuple(cases.warnings))


def _probabilities(
    model: LoadedModel, cases: ClassifiedCases, device: str, control: Control
) -> NDArray[np.float64] | None:
    """Return the probability of each class (N, K) of each case; None when told to stop."""
    import torch

    from genesis3d.data.classified_sampling import ClassifiedSampler
    from genesis3d.data.labelled import TargetSampling
    from genesis3d.inference.predictor import pick_device

    patch = model.card.patch or cases.volumes[0].geometry.shape
    sampler = ClassifiedSampler(TargetSampling(patch=patch), cases.volumes, cases.scales, cases.targets)
    place = pick_device(device)
    module = model.module.eval().to(place)
    answers = []
    with torch.inference_mode():
        for index in range(len(cases)):
            if control() == "stop":
                return None
            window = torch.from_numpy(sampler.cut(sampler.middle(index))[0][None])
            answers.append(module(window.to(place)).float().softmax(1)[0].cpu().numpy())
    return np.stack(answers).astype(np.float64)


def _order(name: str) -> tuple[bool, int, str]:
    return not name.isdigit(), int(name) if name.isdigit() else 0, name


def _number(row: dict[str, Any], name: str, path: str | Path, line: int) -> float:
    try:
        return float(row[name])
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{path}, line {line}: expected a number in {name}, got {row[name]!r}") from error
