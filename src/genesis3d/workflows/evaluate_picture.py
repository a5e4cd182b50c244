"""Evaluations as pictures: every case as a point beside a box, and ROC curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.segmentation import FIGURES
from genesis3d.rng import Address
from genesis3d.workflows.plots import COLOURS, bare, new_figure, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["case_plot", "roc_plot"]

PANELS = ("dice", "hd95_mm", "volume_error_percent")
# Between 0 and 1, so that pictures can be compared by eye.
_UNIT = ("dice",)


def case_plot(rows: Sequence[Mapping[str, Any]], ending: str = ".png") -> bytes:
    """Return Dice, HD95 and volume error by class as a picture: a box of the quartiles, a point a case."""
    labels = list(dict.fromkeys(row["class"] for row in rows))
    shown = [name for name in PANELS if any(_known(row.get(name)) for row in rows)] or ["dice"]
    figure = new_figure(max(3.0, 1.2 + 0.7 * len(labels)) * len(shown), 3.4)
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
        groups = [[row[name] for row in rows if row["class"] == label and _known(row.get(name))] for label in labels]
        _strips(axes, groups, labels)
        bare(axes, ylabel=FIGURES[name])
        if name in _UNIT:
            axes.set_ylim(-0.02, 1.02)
    return picture(figure, ending)


def roc_plot(curves: Mapping[str, tuple[NDArray[Any], NDArray[Any], float]], ending: str = ".png") -> bytes:
    """Return ROC curves (false positive rate, sensitivity, AUC) by name as a picture."""
    figure = new_figure(4.2, 4.0)
    axes = bare(
        figure.subplots(), xlabel="1 - specificity", ylabel="sensitivity", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02)
    )
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    for number, (name, (false, true, area)) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(false, true, color=colour, linewidth=1.6, label=f"{name}: AUC {area:.3f}")
    axes.set_aspect("equal")
    axes.legend(fontsize=8, frameon=False, loc="lower right")
    return picture(figure, ending)


def _strips(axes: Axes, groups: Sequence[Sequence[float]], labels: Sequence[str]) -> None:
    full = [(place, group) for place, group in enumerate(groups) if group]
    if full:
        axes.boxplot(
            [group for _, group in full], positions=[place for place, _ in full], widths=0.5, showfliers=False,
            medianprops={"color": "black"}, boxprops={"color": "0.5"}, whiskerprops={"color": "0.5"},
            capprops={"color": "0.5"},
        )  # fmt: skip
    for place, group in full:
        aside = (Address(place, path="strip").generator().random(len(group)) - 0.5) * 0.3
        axes.plot(place + aside, group, ".", color=COLOURS[place % len(COLOURS)], markersize=5, alpha=0.7)
    axes.set_xticks(range(len(labels)), labels, rotation=30 if len(labels) > 2 else 0, fontsize=8)
    axes.set_xlim(-0.6, len(labels) - 0.4)


def _known(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)
