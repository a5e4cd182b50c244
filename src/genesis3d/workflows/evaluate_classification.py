"""Evaluation of a classification: AUC and its like with intervals over cases, a table of scores, ROC curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.classification import OVERALL, classification_figures, roc_curve
from genesis3d.evaluation.statistics import percentiles
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.networks.card import library_versions
from genesis3d.rng import Address
from genesis3d.workflows.evaluate import prepared_folder
from genesis3d.workflows.evaluate_config import EvaluateClassificationConfig
from genesis3d.workflows.evaluate_scores import Scored, model_scores, table_scores
from genesis3d.workflows.evaluate_table import as_csv, as_json, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EvaluateClassificationConfig", "evaluate_classification"]

DRAWS = 1000
Row = dict[str, Any]


def evaluate_classification(config: EvaluateClassificationConfig, control: Control = keep_running) -> Iterator[Event]:
    """Compare scores with classes; write tables and ROC curves to ``out_dir``, or nothing when stopped.

    The last event's result holds ``cases`` (number) and ``summary``: a record a class and figure, with its 95 %
    interval from a bootstrap over cases.

    Raises
    ------
    ConfigError, ScanError, ModelError
        When nothing can be compared: one sentence naming the file or the setting.
    """
    out = prepared_folder(config.out_dir)
    yield Started(what="evaluate", unit="case")
    scored = table_scores(config.scores) if config.scores is not None else model_scores(config, control)
    if scored is None:
        yield Finished(cancelled=True)
        return
    yield from (Warned(message=sentence) for sentence in scored.warnings)
    rows = _summary(scored, config.threshold)
    yield Stepped(step=len(scored.names), total=len(scored.names))
    if out is not None:
        for path in _written(out, scored, rows, config):
            yield Saved(path=str(path), what="evaluation")
    yield Finished(result={"cases": len(scored.names), "summary": plain(rows)})


def _summary(scored: Scored, threshold: float) -> list[Row]:
    """Return a record for each class and figure with its interval."""
    count = len(scored.names)
    found = _figures(scored, np.arange(count), threshold)
    generator = Address(0, path="bootstrap").generator()
    draws = [_figures(scored, generator.integers(0, count, count), threshold) for _ in range(DRAWS)]
    rows = []
    for label, figure in found:
        row: Row = {"class": label, "figure": figure, "value": found[label, figure]}
        if figure != "n":
            interval = percentiles(found[label, figure], np.array([draw[label, figure] for draw in draws]))
            row |= {"low": interval.low, "high": interval.high}
        rows.append(row)
    return rows


def _figures(scored: Scored, chosen: NDArray[np.intp], threshold: float) -> dict[tuple[str, str], float]:
    found = classification_figures(scored.scores[chosen], scored.targets[chosen], scored.classes, threshold)
    return {(label, figure): value for label, values in found.items() for figure, value in values.items()}


def _written(out: Path, scored: Scored, rows: list[Row], config: EvaluateClassificationConfig) -> Iterator[Path]:
    from genesis3d.workflows.evaluate_picture import roc_plot

    cases = [
        {"case": name, "target": scored.classes[target]} | dict(zip(_columns(scored), scores.tolist(), strict=True))
        for name, target, scores in zip(scored.names, scored.targets, scored.scores, strict=True)
    ]
    everything = {"threshold": config.threshold, "classes": scored.classes, "summary": rows, "cases": cases,
                  "versions": library_versions()}  # fmt: skip
    contents = {
        "scores.csv": as_csv(cases),
        "summary.csv": as_csv(rows),
        "evaluation.json": as_json(everything),
        "roc.png": roc_plot(_curves(scored, rows)),
    }
    for name, content in contents.items():
        write_atomic(out / name, content)
        yield out / name


def _columns(scored: Scored) -> tuple[str, ...]:
    return ("score",) if scored.scores.shape[1] == 1 else scored.classes


def _curves(scored: Scored, rows: list[Row]) -> dict[str, tuple[Any, Any, float]]:
    areas = {row["class"]: row["value"] for row in rows if row["figure"] == "auc" and row["class"] != OVERALL}
    found = {}
    for label, area in areas.items():
        index = scored.classes.index(label)
        scores = scored.scores[:, min(index, scored.scores.shape[1] - 1)]
        if not np.isnan(area):
            found[label] = (*roc_curve(scores, scored.targets == index), float(area))
    return found
