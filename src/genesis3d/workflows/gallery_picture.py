"""The picture of a gallery: a line for each outcome; original, transformed, then restored and error by each model."""

from __future__ import annotations

import io
import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.transforms.outcomes import outcome_label
from genesis3d.workflows.gallery_rows import INPUT, Frame, Row, Scores, mean_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale

__all__ = ["error_limit", "gallery_picture", "middle", "score_text"]

CELL = 1.05  # inches: width of a picture
GAP, TEXT, HEAD, BAR, LABEL = 0.06, 0.19, 0.68, 0.56, 1.2
LEADING = 0.145  # inches a line of the note
NAME, SMALL = 9, 8  # points: names, and what stands beneath a picture
DPI = 120
LONG = 6  # outcomes from which on those of a single model stand in two blocks side by side


@dataclass(frozen=True)
class _Grid:
    """Places in inches from the lower left corner."""

    blocks: int
    lines: int
    columns: int
    height: float
    foot: float = 0.0

    @property
    def block(self) -> float:
        return LABEL + self.columns * (CELL + GAP) + 2 * GAP

    @property
    def size(self) -> tuple[float, float]:
        return self.blocks * self.block, HEAD + self.lines * (self.height + TEXT + GAP) + self.foot

    def corner(self, number: int, column: int) -> tuple[float, float]:
        block, line = divmod(number, self.lines)
        x = block * self.block + LABEL + column * (CELL + GAP)
        return x, self.size[1] - HEAD - (line + 1) * (self.height + TEXT + GAP) + TEXT + GAP


def gallery_picture(frame: Frame, rows: list[Row], ending: str = ".png") -> bytes:
    """Return the picture as the content of a .png, .pdf or .svg file; it shows middle slices and names no scan."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(rows[0].restored)
    spacing = frame.geometry.spacing
    h, w = rows[0].target.shape[2:]
    height = CELL * (h * spacing[1]) / (w * spacing[2])
    blocks = 2 if len(labels) == 1 and len(rows) > LONG else 1
    unit = frame.unit or ""
    grid = _Grid(blocks, -(-len(rows) // blocks), 2 + 2 * len(labels), height)
    note = _note(rows[0], frame.scale, unit, grid.size[0])
    grid = replace(grid, foot=BAR + LEADING * len(note))
    figure = Figure(figsize=grid.size, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    limit = error_limit(rows)
    for number, row in enumerate(rows):
        _line(figure, grid, number, row, limit)
    for block in range(blocks):
        _heads(figure, grid, block, mean_scores(rows), labels)
    _foot(figure, grid, limit, frame.width, unit)
    figure.text(0.08 / grid.size[0], 0.06 / grid.size[1], "\n".join(note), fontsize=SMALL, color="0.35", va="bottom")
    content = io.BytesIO()
    metadata = {"CreationDate": None} if ending == ".pdf" else {"Date": None} if ending == ".svg" else {}
    figure.savefig(content, format=ending.removeprefix("."), metadata=metadata)
    return content.getvalue()


def middle(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the middle slice (H, W) of the first channel of ``volume`` (C, D, H, W)."""
    return np.asarray(volume[0, volume.shape[1] // 2], np.float32)


def error_limit(rows: list[Row]) -> float:
    """Return the end of the scale of errors, in [0, 1]: the 99.5th percentile of what is shown, 0.1 at least."""
    errors = [np.abs(middle(array) - middle(row.target)).ravel() for row in rows for array in row.restored.values()]
    return float(np.clip(np.ceil(20 * np.percentile(np.concatenate(errors), 99.5)) / 20, 0.1, 1.0))


def score_text(scores: Scores) -> str:
    """Return PSNR and SSIM in few letters: ``24.1 dB  0.81``; ``unchanged`` for equal sub-volumes."""
    from genesis3d.tasks.similarity import MAX_PSNR

    return "unchanged" if scores.psnr >= MAX_PSNR else f"{scores.psnr:.1f} dB  {scores.ssim:.2f}"


def _note(row: Row, scale: Scale, unit: str, width: float) -> list[str]:
    """Return what the picture says below, in lines that fit ``width`` inches."""
    d, h, w = row.target.shape[1:]
    text = (
        f"Middle slices of a sub-volume of {w} x {h} x {d} voxels; under each: PSNR and SSIM of the whole sub-volume. "
        f"Grey from {scale.low:g} to {scale.high:g} {unit}"
    )
    return textwrap.wrap(f"{text.rstrip()}.", max(40, int(width * 72 / (0.54 * SMALL))))


def _line(figure: Figure, grid: _Grid, number: int, row: Row, limit: float) -> None:
    x, y = grid.corner(number, 0)
    text = outcome_label(row.name).replace(" + ", "\n+ ")
    width, tall = grid.size
    figure.text((x - 0.06) / width, (y + grid.height / 2) / tall, text, fontsize=NAME, ha="right", va="center")
    _picture(figure, grid, number, 0, row.target)
    _picture(figure, grid, number, 1, row.input, score_text(row.shown[INPUT]))
    for k, (label, restored) in enumerate(row.restored.items()):
        _picture(figure, grid, number, 2 + 2 * k, restored, score_text(row.shown[label]))
        _picture(figure, grid, number, 3 + 2 * k, np.abs(restored - row.target), limit=limit)


def _picture(
    figure: Figure,
    grid: _Grid,
    number: int,
    column: int,
    volume: NDArray[np.float32],
    text: str = "",
    limit: float | None = None,
) -> None:
    x, y = grid.corner(number, column)
    axes = _axes(figure, grid, x, y, CELL, grid.height)
    colours: dict[str, Any] = {"cmap": "gray", "vmax": 1.0} if limit is None else {"cmap": "inferno", "vmax": limit}
    axes.imshow(middle(volume), vmin=0.0, aspect="auto", interpolation="nearest", **colours)
    axes.set_axis_off()
    axes.text(0.5, -0.03, text, transform=axes.transAxes, fontsize=SMALL, ha="center", va="top", color="0.2")


def _heads(figure: Figure, grid: _Grid, block: int, means: dict[str, Scores], labels: list[str]) -> None:
    width, tall = grid.size
    top = tall - HEAD + 0.05

    def head(column: float, text: str) -> None:
        figure.text(centre(column) / width, top / tall, text, ha="center", va="bottom", fontsize=NAME)

    def centre(column: float) -> float:
        return grid.corner(block * grid.lines, 0)[0] + column * (CELL + GAP) + CELL / 2

    head(0, "original")
    head(1, "transformed")
    for k, label in enumerate(labels):
        head(2 + 2 * k, "restored")
        head(3 + 2 * k, "error")
        if block == 0:
            short = label if len(label) <= 26 else f"{label[:25]}…"
            text = f"{short}\nmean {score_text(means[label])}"
            x = width / 2 if grid.blocks > 1 else centre(2.5 + 2 * k)
            figure.text(
                x / width, (top + 0.18) / tall, text, ha="center", va="bottom", fontsize=NAME, fontweight="bold"
            )


def _foot(figure: Figure, grid: _Grid, limit: float, width: float, unit: str) -> None:
    """One colour bar for all errors, in the scan's own unit where it has one."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    x = LABEL + 2 * (CELL + GAP)
    axes = _axes(figure, grid, x, grid.foot - 0.14, 2 * CELL + GAP, 0.09)
    bar = figure.colorbar(ScalarMappable(Normalize(0, limit * width), "inferno"), cax=axes, orientation="horizontal")
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1)
    bar.outline.set_linewidth(0.4)
    bar.set_label(f"|restored - original|{f' in {unit}' if unit else ''}", fontsize=SMALL, labelpad=1)


def _axes(figure: Figure, grid: _Grid, x: float, y: float, width: float, height: float) -> Axes:
    w, h = grid.size
    return figure.add_axes((x / w, y / h, width / w, height / h))
