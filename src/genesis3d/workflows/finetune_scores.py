"""What a classification says of the held-out cases: their scores as a table, and the figures that follow from them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.classification import classification_figures
from genesis3d.files import write_atomic
from genesis3d.networks.model_file import read_model
from genesis3d.training.whole_targets import FixedClasses

if TYPE_CHECKING:
    from genesis3d.training.loop import Training

__all__ = ["SCORES", "write_scores"]

SCORES = "scores.csv"


def write_scores(training: Training) -> dict[str, Any]:
    """Write ``RUN/scores.csv`` by the best model of a classification; return the figures on its held-out cases.

    A row is a case: its name, its class, and the probability of each class, the mean over its sub-volumes.  The figures
    are those of :func:`genesis3d.evaluation.classification.classification_figures`; none for another task.
    """
    import copy

    windows = training.windows[""]
    if not isinstance(windows, FixedClasses):
        return {}
    task, stepper = copy.deepcopy(training.kept), training.stepper
    best = read_model(training.run_dir.path).module.state_dict()
    task.network.load_state_dict(best)  # type: ignore[union-attr]  # a task's network
    cases, scores, targets = training.measuring.fit(
        lambda size: windows.scores(task, stepper.device, stepper.half, size)
    )
    held = np.unique(cases)
    mean = np.stack([scores[cases == case].mean(axis=0) for case in held])
    truth = np.array([targets[cases == case][0] for case in held])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["case", "class", *windows.names])
    for case, target, row in zip(held, truth, mean, strict=True):
        values = [f"{value:.6f}" for value in row]
        table.writerow([training.held_out.names[case], windows.names[target], *values])
    write_atomic(training.run_dir.path / SCORES, text.getvalue().encode())
    of_two = mean[:, 1] if mean.shape[1] == 2 else mean
    return {"classification": classification_figures(of_two, truth, windows.names)}
