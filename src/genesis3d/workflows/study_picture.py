"""The curves of a study: Dice by number of labels, by step, by corruption of the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.evaluation.statistics import Interval, paired_bootstrap
from genesis3d.workflows.plots import COLOURS, bare, new_figure, picture
from genesis3d.workflows.study_results import Cell, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["convergence_plot", "corruption_plot", "labels_plot"]

_DRAWS = 2000  # of a bootstrap that is only looked at


def labels_plot(results: Results, ending: str = ".png") -> bytes:
    """Return Dice against the number of labels, with 95 % intervals over seeds and test cases, as a picture."""
    figure = new_figure(5.2, 3.6)
    axes = bare(figure.subplots(), xlabel="labelled scans", ylabel="Dice on test scans")
    clean = min(results.corruptions, key=abs)
    for place, arm in enumerate(results.arms):
        found = [(count, _interval(results, Cell(arm, count, clean))) for count in results.counts]
        _curve(axes, place, arm, [(float(count), one) for count, one in found if one is not None], band=False)
    axes.set_xscale("log")
    axes.set_xticks(results.counts, [str(count) for count in results.counts])
    axes.minorticks_off()
    _legend(axes)
    return picture(figure, ending)


def convergence_plot(results: Results, ending: str = ".png") -> bytes:
    """Return Dice against the step, a panel a number of labels, as a picture."""
    figure = new_figure(1.0 + 3.3 * len(results.counts), 3.4)
    clean = min(results.corruptions, key=abs)
    panels = np.atleast_1d(figure.subplots(1, len(results.counts), sharey=True))
    for axes, count in zip(panels, results.counts, strict=True):
        bare(axes, xlabel="step", title=f"{count} label{'' if count == 1 else 's'}")
        for place, arm in enumerate(results.arms):
            found = [(step, _interval(results, Cell(arm, count, clean), step)) for step in results.steps]
            _curve(axes, place, arm, [(float(step), one) for step, one in found if one is not None], band=True)
    panels[0].set_ylabel("Dice on test scans")
    _legend(panels[-1])
    return picture(figure, ending)


def corruption_plot(results: Results, ending: str = ".png") -> bytes:
    """Return Dice against the corruption of the training labels, a panel a number of labels, as a picture."""
    figure = new_figure(1.0 + 3.3 * len(results.counts), 3.4)
    panels = np.atleast_1d(figure.subplots(1, len(results.counts), sharey=True))
    for axes, count in zip(panels, results.counts, strict=True):
        bare(axes, xlabel="labels eroded (-) or dilated (+), mm", title=f"{count} label{'' if count == 1 else 's'}")
        for place, arm in enumerate(results.arms):
            found = [(mm, _interval(results, Cell(arm, count, mm))) for mm in sorted(results.corruptions)]
            _curve(axes, place, arm, [(mm, one) for mm, one in found if one is not None], band=False)
    panels[0].set_ylabel("Dice on test scans")
    _legend(panels[-1])
    return picture(figure, ending)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)


def _interval(results: Results, cell: Cell, step: int | None = None) -> Interval | None:
    values = results.values(cell, step)
    return None if np.isnan(values).all() else paired_bootstrap(values, resamples=_DRAWS)


def _curve(axes: Axes, place: int, arm: str, points: Sequence[tuple[float, Interval]], *, band: bool) -> None:
    if not points:
        return
    colour = COLOURS[place % len(COLOURS)]
    x = np.array([at for at, _ in points])
    y, low, high = (np.array([getattr(one, name) for _, one in points]) for name in ("estimate", "low", "high"))
    style: dict[str, Any] = {"color": colour, "linewidth": 1.5, "label": arm}
    if band:
        axes.plot(x, y, marker=".", markersize=4, **style)
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        axes.errorbar(x, y, yerr=np.maximum([y - low, high - y], 0), marker="o", markersize=4, capsize=3, **style)
