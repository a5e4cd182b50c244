"""What plots share: a white figure without a window, colours that stay apart, and a file without a date."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "bare", "new_figure", "picture"]

# Colours that stay apart for most eyes (Okabe and Ito 2008).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of ``width`` x ``height`` inches that no window shows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def bare(axes: Axes, **labels: Any) -> Axes:
    """Set ``labels`` (as of ``Axes.set``), and take away the lines at top and right."""
    axes.set(**labels)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def picture(figure: Figure, ending: str = ".png") -> bytes:
    """Return the figure as the content of a file: .png, .pdf or .svg."""
    content = io.BytesIO()
    metadata = {"CreationDate": None} if ending == ".pdf" else {"Date": None} if ending == ".svg" else {}
    figure.savefig(content, format=ending.removeprefix("."), metadata=metadata)
    return content.getvalue()
