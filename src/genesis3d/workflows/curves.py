"""The curves of trainings as a picture, from their ``metrics.csv``."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError, RunError
from genesis3d.files import write_atomic
from genesis3d.training.metrics import MetricsTable
from genesis3d.workflows.gallery import PICTURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves_picture", "running_mean", "write_curves"]

WINDOW = 25  # steps of the running mean that is drawn over the single ones
# Colours that stay apart for most eyes (Okabe and Ito 2008); line styles tell the chains apart as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
RATIOS = {"validation_ratio": ("own chain", "-"), "validation_official_ratio": ("official", "--"),
          "validation_gentle_ratio": ("gentle", ":")}  # fmt: skip


def write_curves(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write the curves of ``runs`` to ``out`` (.png, .pdf or .svg) and return its path.

    Raises
    ------
    RunError
        For a folder without ``metrics.csv``.
    ConfigError
        For another ending, or a folder that does not exist.
    """
    out = Path(out)
    if out.suffix.lower() not in PICTURES or not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: expected a name ending in {', '.join(PICTURES)} in a folder that exists")
    write_atomic(out, curves_picture([Path(run) for run in runs], out.suffix.lower()))
    return out


def curves_picture(runs: Sequence[Path], ending: str = ".png") -> bytes:
    """Return two plots as the content of a file: loss by step (log), and held-out error over the best constant's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 3.4), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for number, run in enumerate(runs):
        if not (run / "metrics.csv").is_file():
            raise RunError(f"{run}: expected a run directory with a metrics.csv")
        colour = COLOURS[number % len(COLOURS)]
        _losses(left, MetricsTable(run / "metrics.csv"), run.name if len(runs) > 1 else "", colour)
        _ratios(right, MetricsTable(run / "metrics.csv"), run.name if len(runs) > 1 else "", colour)
    right.axhline(1.0, color="0.5", linewidth=0.8, linestyle=(0, (1, 1)))
    right.annotate("best constant", (1.0, 1.0), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                   textcoords="offset points", fontsize=8, color="0.4", ha="right")  # fmt: skip
    left.set(yscale="log", xlabel="step", ylabel="mean squared error, in [0, 1]", title="loss")
    right.set(xlabel="step", ylabel="error / error of the best constant", title="held-out sub-volumes", ylim=(0, None))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
    content = io.BytesIO()
    metadata = {"CreationDate": None} if ending == ".pdf" else {"Date": None} if ending == ".svg" else {}
    figure.savefig(content, format=ending.removeprefix("."), metadata=metadata)
    return content.getvalue()


def running_mean(values: Sequence[float], window: int = WINDOW) -> list[float]:
    """Return the mean of each value and at most ``window - 1`` before it."""
    import numpy as np

    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return [float(v) for v in (sums[ends] - sums[starts]) / (ends - starts)]


def _losses(axes: Axes, table: MetricsTable, name: str, colour: str) -> None:
    steps, loss = table.curve("loss")
    axes.plot(steps, loss, color=colour, linewidth=0.5, alpha=0.25)
    axes.plot(steps, running_mean(loss), color=colour, linewidth=1.4, label=name or f"training, mean of {WINDOW} steps")
    held, validation = table.curve("validation_loss")
    axes.plot(held, validation, color=colour if name else COLOURS[1], linewidth=1.2, linestyle="--", marker=".",
              markersize=4, label=None if name else "held out")  # fmt: skip


def _ratios(axes: Axes, table: MetricsTable, name: str, colour: str) -> None:
    for number, (column, (label, style)) in enumerate(RATIOS.items()):
        if name and number:
            return
        steps, ratio = table.curve(column)
        axes.plot(steps, ratio, color=colour if name else COLOURS[number], linewidth=1.4, linestyle=style, marker=".",
                  markersize=4, label=name or label)  # fmt: skip
