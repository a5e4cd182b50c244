"""Slices through volumes on one grid, side by side at one scale in mm: grey, coloured, outlined, with a colour bar."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Box = tuple[slice, slice, slice]
    Vector = tuple[float, float, float]

__all__ = ["Bar", "Cut", "Frame", "Outline", "Panel", "slices_picture"]

WIDTH = 7.2  # inches
GAP, NAME, BAR = 0.05, 0.22, 0.5  # inches: between pictures, of a line of names, of the colour bar
FEWEST = 3  # columns: fewer are not made wider
SMALL = 7.5  # points
DPI = 150
MAP, YELLOW = "inferno", "#ffd54f"
RULER = 50.0  # mm
# what stands at the left, right, top and bottom of a slice along each axis of a canonical volume (S, P, L)
SIDES = (("R", "L", "A", "P"), ("R", "L", "S", "I"), ("A", "P", "S", "I"))


@dataclass(frozen=True)
class Cut:
    """A slice: ``index`` along ``axis`` of (D, H, W); ``label`` stands in its corner, None: the index."""

    axis: int
    index: int
    label: str | None = None


@dataclass(frozen=True)
class Frame:
    """What is shown of a grid: its ``box``, ``spacing`` in mm, and the grey values from black to white."""

    box: Box
    spacing: Vector
    low: float
    high: float


@dataclass(frozen=True)
class Bar:
    """The scale of a coloured volume: 0 to ``top``, a mark at ``threshold``, and what it measures."""

    top: float
    threshold: float
    label: str


@dataclass(frozen=True, eq=False)
class Outline:
    """The border of ``mask`` (D, H, W) in a ``colour``."""

    mask: NDArray[Any]
    colour: str
    width: float = 0.9


@dataclass(frozen=True, eq=False)
class Panel:
    """One volume (D, H, W) in grey, with another over it in the colours of a :class:`Bar`, and outlines."""

    name: str
    grey: NDArray[Any]
    coloured: NDArray[Any] | None = None
    outlines: tuple[Outline, ...] = ()


@dataclass(frozen=True)
class _Layout:
    """Sizes in inches: of a column, of each row, and of all."""

    columns: int
    column: float
    heights: tuple[float, ...]
    scale: float
    foot: float
    below: bool  # each row has its name above it; otherwise each column has

    @property
    def size(self) -> tuple[float, float]:
        wide = self.columns * (self.column + GAP) - GAP
        return wide, sum(self.heights) + sum(self._above(row) for row in range(len(self.heights))) + self.foot

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return left and top of a place."""
        top = self.size[1] - sum(self.heights[:row]) - sum(self._above(i) for i in range(row + 1))
        return column * (self.column + GAP), top

    def _above(self, row: int) -> float:
        return NAME if row == 0 or self.below else GAP


def slices_picture(
    panels: Sequence[Panel], cuts: Sequence[Cut], frame: Frame, bar: Bar | None = None, panels_below: bool = False
) -> bytes:
    """Return a .png of ``panels`` side by side, a row a cut; ``panels_below``: cuts side by side, a row a panel.

    All volumes lie on one canonical grid; every slice is drawn as a radiologist looks at it, at one scale in mm.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows: list[list[tuple[Panel, Cut]]] = (
        [[(panel, cut) for cut in cuts] for panel in panels]
        if panels_below
        else [[(panel, cut) for panel in panels] for cut in cuts]
    )
    layout = _layout(rows, frame, bar, panels_below)
    figure = Figure(figsize=layout.size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for i, row in enumerate(rows):
        for j, (panel, cut) in enumerate(row):
            axes = _axes(figure, layout, i, j, _size_mm(cut, frame))
            _slice(axes, panel, cut, frame, bar)
            if j == 0 and (i == 0 or not panels_below):
                _sides(axes, cut)
            if (i if panels_below else j) == 0:
                _ruler(axes, cut, frame)
    _names(figure, layout, [panel.name for panel in panels])
    if bar is not None:
        _bar(figure, layout, bar)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return content.getvalue()


def _layout(rows: Sequence[Sequence[tuple[Panel, Cut]]], frame: Frame, bar: Bar | None, below: bool) -> _Layout:
    count = len(rows[0])
    column = (WIDTH - GAP * (FEWEST - 1)) / FEWEST if count < FEWEST else (WIDTH - GAP * (count - 1)) / count
    sizes = [[_size_mm(cut, frame) for _, cut in row] for row in rows]
    scale = column / max(wide for row in sizes for _, wide in row)
    heights = tuple(scale * max(tall for tall, _ in row) for row in sizes)
    return _Layout(count, column, heights, scale, GAP if bar is None else BAR, below)


def _size_mm(cut: Cut, frame: Frame) -> tuple[float, float]:
    """Return height and width of a slice in mm."""
    sizes = [(part.stop - part.start) * step for part, step in zip(frame.box, frame.spacing, strict=True)]
    tall, wide = (size for axis, size in enumerate(sizes) if axis != cut.axis)
    return tall, wide


def _axes(figure: Figure, layout: _Layout, row: int, column: int, size: tuple[float, float]) -> Axes:
    left, top = layout.corner(row, column)
    tall, wide = size[0] * layout.scale, size[1] * layout.scale
    x, y = left + (layout.column - wide) / 2, top - (layout.heights[row] + tall) / 2
    width, height = layout.size
    axes = figure.add_axes((x / width, y / height, wide / width, tall / height))
    axes.set_axis_off()
    return axes


def _slice(axes: Axes, panel: Panel, cut: Cut, frame: Frame, bar: Bar | None) -> None:
    tall, wide = _size_mm(cut, frame)
    place: dict[str, Any] = {"extent": (0, wide, tall, 0), "aspect": "auto", "interpolation": "nearest"}
    grey = _plane(panel.grey, cut, frame).astype(np.float32)
    axes.imshow(grey, cmap="gray", vmin=frame.low, vmax=frame.high, **place)
    if panel.coloured is not None and bar is not None:
        axes.imshow(_colours(_plane(panel.coloured, cut, frame), bar), **place)
    for outline in panel.outlines:
        mask = _plane(outline.mask, cut, frame) > 0
        if mask.any() and not mask.all():
            y, x = ((np.arange(n) + 0.5) * size / n for n, size in zip(mask.shape, (tall, wide), strict=True))
            axes.contour(x, y, mask.astype(np.float32), [0.5], colors=outline.colour, linewidths=outline.width)
    axes.set_xlim(0, wide)
    axes.set_ylim(tall, 0)


def _plane(volume: NDArray[Any], cut: Cut, frame: Frame) -> NDArray[Any]:
    """Return a slice as it is looked at: head up, the patient's left at the right."""
    box: list[Any] = list(frame.box)
    box[cut.axis] = cut.index
    plane: NDArray[Any] = volume[tuple(box)]
    return plane if cut.axis == 0 else plane[::-1]


def _colours(values: NDArray[Any], bar: Bar) -> NDArray[np.float32]:
    """Return ``values`` as colours that fade out below the threshold."""
    from matplotlib import colormaps

    rgba = np.asarray(colormaps[MAP](np.clip(values / max(bar.top, 1e-6), 0, 1)), np.float32)
    rgba[..., 3] = 0.85 * np.clip(values / max(bar.threshold, 1e-6), 0, 1)
    return rgba


def _sides(axes: Axes, cut: Cut) -> None:
    left, right, top, bottom = SIDES[cut.axis]
    style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": SMALL, **_readable()}
    axes.text(0.01, 0.5, left, va="center", **style)
    axes.text(0.99, 0.5, right, va="center", ha="right", **style)
    axes.text(0.5, 0.99, top, va="top", ha="center", **style)
    axes.text(0.5, 0.01, bottom, ha="center", **style)


def _ruler(axes: Axes, cut: Cut, frame: Frame) -> None:
    """Put the number of the slice, and a line of 5 cm, into a lower corner each."""
    tall, wide = _size_mm(cut, frame)
    label = str(cut.index) if cut.label is None else cut.label
    axes.text(0.02, 0.02, label, fontsize=SMALL, transform=axes.transAxes, **_readable())
    if wide > 2 * RULER:
        axes.plot([0.98 * wide - RULER, 0.98 * wide], [0.97 * tall] * 2, linewidth=1.5, **_readable())


def _readable() -> dict[str, Any]:
    """Return a style that stands out from black and white alike."""
    from matplotlib.patheffects import withStroke

    return {"color": YELLOW, "path_effects": [withStroke(linewidth=2.2, foreground="black")]}


def _names(figure: Figure, layout: _Layout, names: Sequence[str]) -> None:
    width, height = layout.size
    for place, name in enumerate(names):
        left, top = layout.corner(place, 0) if layout.below else layout.corner(0, place)
        x, side = (left, "left") if layout.below else (left + layout.column / 2, "center")
        figure.text(x / width, (top + 0.05) / height, name, fontsize=9, ha=side, va="bottom")


def _bar(figure: Figure, layout: _Layout, bar: Bar) -> None:
    height = layout.size[1]
    axes = figure.add_axes((0.25, (BAR - 0.17) / height, 0.5, 0.11 / height))
    ramp = np.linspace(0, bar.top, 256, dtype=np.float32)[None]
    axes.set_facecolor("0.35")
    axes.imshow(_colours(ramp, bar), extent=(0, bar.top, 0, 1), aspect="auto")
    axes.set_yticks([])
    axes.tick_params(labelsize=SMALL, length=2, pad=1)
    axes.axvline(bar.threshold, color="#00e5ff", linewidth=2)
    axes.set_xlabel(f"{bar.label}; line: threshold {bar.threshold:.4g}", fontsize=SMALL, labelpad=1)
