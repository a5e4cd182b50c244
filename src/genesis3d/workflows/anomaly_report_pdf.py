"""A report as a PDF on A4: the same parts one below the other, a new page where one does not fit."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

from genesis3d.workflows.anomaly_report_page import NOTICE, Facts, Item, Page, Picture, Points, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["pdf_of"]

WIDTH, HEIGHT = 8.27, 11.69  # inches of A4
SIDE, TOP, FOOT = 0.7, 0.75, 0.75  # inches of the margins
TEXT, SMALL, HEAD, TITLE = 9.0, 8.0, 12.0, 17.0  # points
LEADING = 1.4  # line to line, in heights of the letters
LETTER = 0.52  # mean width of a letter, in heights
RED, AMBER, GREY = "#b00020", "#8a5200", "0.4"
SMALLEST = 0.7  # a picture is shrunk to this share of its size before it goes to the next page
DPI = 150


def pdf_of(page: Page) -> bytes:
    """Return ``page`` as the content of a PDF file, without a date."""
    from matplotlib.backends.backend_pdf import PdfPages

    sheets = _Sheets()
    sheets.text(page.title, TITLE, weight="bold")
    sheets.text(page.about, TEXT)
    sheets.gap(0.08)
    for section in page.sections:
        first = sheets.height_of(section.items[0]) if section.items else 0.0
        sheets.heading(section.title, first)
        for item in section.items:
            sheets.put(item)
            sheets.gap(0.1)
    content = io.BytesIO()
    about = {"Title": page.title, "Subject": NOTICE, "Creator": "napari-genesis", "CreationDate": None}
    with PdfPages(content, metadata=about) as file:
        for number, figure in enumerate(sheets.figures, start=1):
            _frame(figure, number, len(sheets.figures))
            file.savefig(figure, dpi=DPI)
    return content.getvalue()


def _frame(figure: Figure, number: int, count: int) -> None:
    """Put the notice at top and bottom, and the number of the page."""
    side = SIDE / WIDTH
    figure.text(side, 1 - 0.42 / HEIGHT, NOTICE, fontsize=TEXT, color=RED, weight="bold", va="center")
    figure.text(side, 0.42 / HEIGHT, NOTICE, fontsize=TEXT, color=RED, weight="bold", va="center")
    figure.text(1 - side, 0.42 / HEIGHT, f"{number} / {count}", fontsize=TEXT, color=GREY, ha="right", va="center")


class _Sheets:
    """Sheets of paper that are filled from the top; places in inches."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []
        self._turn()

    def _turn(self) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH, HEIGHT), facecolor="white")
        FigureCanvasAgg(figure)
        self.figures.append(figure)
        self._y = HEIGHT - TOP

    def need(self, height: float) -> None:
        """Begin a new sheet unless ``height`` is left on this one."""
        if self._y - height < FOOT:
            self._turn()

    def gap(self, height: float) -> None:
        """Leave ``height`` blank."""
        self._y -= height

    def heading(self, text: str, following: float) -> None:
        """Put a heading, on the sheet where what follows it begins."""
        if not text:
            return
        self.gap(0.12)
        self.need(_line(HEAD) + min(following, HEIGHT - TOP - FOOT - 1) + 0.1)
        self.text(text, HEAD, weight="bold")
        self.gap(0.04)

    def text(self, text: str, size: float = TEXT, indent: float = 0.0, **style: Any) -> None:
        """Put ``text``, broken into lines."""
        for line in _lines(text, size, WIDTH - 2 * SIDE - indent):
            self.need(_line(size))
            self._write(SIDE + indent, line, size, **style)
            self._y -= _line(size)

    def _write(self, x: float, text: str, size: float, **style: Any) -> None:
        y = (self._y - 0.2 * size / 72) / HEIGHT
        self.figures[-1].text(x / WIDTH, y, text, fontsize=size, va="top", parse_math=False, **style)

    def height_of(self, item: Item) -> float:
        """Return the height in inches of what of ``item`` must stand together."""
        if isinstance(item, Picture):
            return SMALLEST * _picture_size(item)[1] + 2 * _line(SMALL)
        return 3 * _line(TEXT)

    @singledispatchmethod
    def put(self, item: object) -> None:
        """Put one part of a report."""
        raise TypeError(f"expected a part of a report, got {type(item).__name__}")

    @put.register
    def _picture(self, item: Picture) -> None:
        from matplotlib.image import imread

        self.need(self.height_of(item))
        width, height = _picture_size(item)
        fit = min(1.0, (self._y - FOOT - 2 * _line(SMALL)) / height)
        width, height = fit * width, fit * height
        self._y -= height
        place = ((WIDTH - width) / 2 / WIDTH, self._y / HEIGHT, width / WIDTH, height / HEIGHT)
        axes = self.figures[-1].add_axes(place)
        axes.imshow(imread(io.BytesIO(item.png)), aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        self.gap(0.04)
        self.text(item.caption, SMALL, color=GREY)

    @put.register
    def _points(self, item: Points) -> None:
        colour = AMBER if item.warning else "black"
        for sentence in item.sentences:
            lines = _lines(sentence, TEXT, WIDTH - 2 * SIDE - 0.15)
            self.need(len(lines) * _line(TEXT))
            self._write(SIDE, "\N{EN DASH}", TEXT, color=colour)
            self.text(sentence, TEXT, 0.15, color=colour)

    @put.register
    def _facts(self, item: Facts) -> None:
        if item.large:
            self._tiles(item.pairs)
            return
        wide = 1.7
        for name, value in item.pairs:
            lines = _lines(value, TEXT, WIDTH - 2 * SIDE - wide)
            self.need(min(len(lines), 4) * _line(TEXT))
            self._write(SIDE, name, TEXT, color=GREY)
            self.text(value or "-", TEXT, wide)

    def _tiles(self, pairs: Sequence[tuple[str, str]]) -> None:
        across = min(4, len(pairs))
        wide = (WIDTH - 2 * SIDE) / across
        for start in range(0, len(pairs), across):
            self.need(0.5)
            for column, (name, value) in enumerate(pairs[start : start + across]):
                self._write(SIDE + column * wide, name, SMALL, color=GREY)
                self._y -= _line(SMALL)
                self._write(SIDE + column * wide, value, HEAD, weight="bold")
                self._y += _line(SMALL)
            self._y -= 0.5

    @put.register
    def _table(self, item: Table) -> None:
        size, edges = _columns(item)
        self._row(item.header, edges, size, weight="bold")
        for row in item.rows:
            if self._y - _line(size) < FOOT:
                self._turn()
                self._row(item.header, edges, size, weight="bold")
            self._row(row, edges, size)
        if item.note:
            self.gap(0.03)
            self.text(item.note, SMALL, color=GREY)

    def _row(self, cells: Sequence[str], edges: Sequence[float], size: float, **style: Any) -> None:
        self.need(_line(size))
        for column, cell in enumerate(cells):
            # the first column from its left edge, numbers from their right one
            x, side = (SIDE, "left") if column == 0 else (SIDE + edges[column], "right")
            self._write(x, cell, size, ha=side, **style)
        self._y -= _line(size)


def _picture_size(item: Picture) -> tuple[float, float]:
    """Return width and height in inches of a picture, at most as wide as the text."""
    wide, tall = (int.from_bytes(item.png[at : at + 4], "big") for at in (16, 20))  # where a .png says its size
    width = min(WIDTH - 2 * SIDE, wide / DPI)
    return width, width * tall / wide


def _columns(table: Table) -> tuple[float, list[float]]:
    """Return the size of the letters in points and the right edge of each column in inches."""
    letters = [max(len(row[c]) for row in (table.header, *table.rows)) + 2 for c in range(len(table.header))]
    size = min(TEXT, (WIDTH - 2 * SIDE) * 72 / (LETTER * 1.12 * sum(letters)))
    edges = [sum(letters[: c + 1]) * LETTER * 1.12 * size / 72 for c in range(len(letters))]
    return size, edges


def _line(size: float) -> float:
    return LEADING * size / 72


def _lines(text: str, size: float, width: float) -> list[str]:
    return textwrap.wrap(text, max(10, int(width * 72 / (LETTER * size)))) or [""]
