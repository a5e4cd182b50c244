"""What a report consists of, whatever it is printed as: sections of sentences, figures, tables and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NOTICE", "Facts", "Item", "Page", "Picture", "Points", "Section", "Table", "shown"]

NOTICE = "Not for clinical use. Research software: nobody has checked these figures."


@dataclass(frozen=True)
class Table:
    """A table: ``header``, then ``rows`` of as many cells; ``note`` stands beneath."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Figures by what they are: pairs of name and value; ``large`` for the headline."""

    pairs: tuple[tuple[str, str], ...]
    large: bool = False


@dataclass(frozen=True)
class Points:
    """Sentences that stand each on its own; ``warning`` for those a reader must not miss."""

    sentences: tuple[str, ...]
    warning: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture: the content of a .png file, and what it shows."""

    png: bytes
    caption: str


Item = Table | Facts | Points | Picture


@dataclass(frozen=True)
class Section:
    """A part of a report with its title; empty items are left out by :meth:`of`."""

    title: str
    items: tuple[Item, ...]

    @classmethod
    def of(cls, title: str, items: Sequence[Item | None]) -> Section:
        """Return the section of those ``items`` that hold something."""
        return cls(title, tuple(item for item in items if item is not None and _holds(item)))


@dataclass(frozen=True)
class Page:
    """A report: its title, what it is about in one line, and its sections."""

    title: str
    about: str
    sections: tuple[Section, ...]


def shown(value: float | None, unit: str = "", digits: int = 3) -> str:
    """Return ``value`` for people: about ``digits`` significant ones, a real minus, its unit; ``-`` for none."""
    if value is None or value != value:
        return "-"
    size = abs(value)
    places = 0 if size >= 10 ** (digits - 1) else digits - 1 if size < 1 else digits - len(str(int(size)))
    text = f"{value:.{max(places, 0)}f}".replace("-", "\N{MINUS SIGN}")
    return f"{text} {unit}".rstrip()


def _holds(item: Item) -> bool:
    content = {Table: "rows", Facts: "pairs", Points: "sentences", Picture: "png"}[type(item)]
    return bool(getattr(item, content))
