"""What a model picker lists: the library, the runs, and files opened before; and a card in a few words or in full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ModelError
from genesis3d.networks.describe import card_rows, scans_line
from genesis3d.networks.library import SUFFIX, Library
from genesis3d.networks.model_file import model_path, read_card
from genesis3d.training.rundir import list_runs

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard

__all__ = ["Entry", "card_page", "describe_card", "list_entries", "model_name", "purpose_of",
           "suggested_name"]  # fmt: skip

LINK = "#5c8df6"  # reads on dark and on light
SHIPPED, OWN, RUNS, FILES = "Ready to use", "Your library", "Runs", "Files"


@dataclass(frozen=True)
class Entry:
    """One model offered: ``key`` is what is remembered of it, a library name or a path."""

    label: str
    path: Path
    section: str
    key: str

    @property
    def removable(self) -> bool:
        """Whether it is a library model of the user's."""
        return self.section == OWN


def list_entries(runs: Path, files: Sequence[str], purposes: Sequence[str] | None = None) -> list[Entry]:
    """Return the models of the library, the runs in ``runs`` that have weights, and those of ``files`` still there.

    With ``purposes`` (restoration, segmentation, ...) those made for another are left out.
    """
    entries = _all_entries(runs, files)
    return entries if purposes is None else [each for each in entries if purpose_of(each.path) in (*purposes, None)]


def purpose_of(path: Path) -> str | None:
    """Return what the model of a file or run is for; None when it cannot be read."""
    try:
        file = model_path(path)
        state = file.stat()
    except (OSError, ModelError):
        return None
    return _card_purpose(file, state.st_mtime_ns, state.st_size)


def _all_entries(runs: Path, files: Sequence[str]) -> list[Entry]:
    found = []
    for name, path, shipped in Library().files():
        label = name if purpose_of(path) is not None else f"{name} (cannot be read)"
        found.append(Entry(label, path, SHIPPED if shipped else OWN, name))
    found += [Entry(run.path.name, run.path, RUNS, str(run.path)) for run in list_runs(runs) if _has_weights(run.path)]
    known = {entry.path for entry in found}
    opened = [Path(name) for name in files]
    return found + [Entry(model_name(p), p, FILES, str(p)) for p in opened if p not in known and p.exists()]


def model_name(path: Path) -> str:
    """Return what layers and lists call the model: the run's folder or the file, without its suffix."""
    return path.name.removesuffix(SUFFIX)


def suggested_name(path: Path) -> str:
    """Return a name for the library made of that of a run or file."""
    stem = re.sub(r"\.(safetensors|pt|pth|h5|hdf5|onnx|tar)$", "", path.name, flags=re.I)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:80]


def describe_card(card: ModelCard) -> str:
    """Return a model's card in two or three short lines."""
    network, size = card.network, card.network.parameters()
    width = getattr(network, "width", None)
    facts = [f"{network.name}{f', width {width}' if width else ''}, {size / 1e6:.1f} M parameters"]
    if card.step is not None:
        facts.append(f"{card.step:,} steps")
    if "ratio" in card.metrics and card.metrics.get("measured_at_step", card.step) == card.step:
        facts.append(f"error {card.metrics['ratio']:.2f} of a constant's")
    if "dice" in card.metrics:
        facts.append(f"Dice {card.metrics['dice']:.2f} on held-out scans")
    names = ", ".join(each.name for each in card.classes[1:])
    finds = f"finds {names}" if names else ""
    licence = card.licence if len(card.licence) <= 60 else f"{card.licence[:59].rstrip()}…"
    return "\n".join(line for line in (finds, " · ".join(facts), scans_line(card), licence) if line)


def card_page(card: ModelCard, path: Path) -> str:
    """Return the whole card as rich text: a bold label over each of its texts."""
    rows = [*card_rows(card), ("File", str(path))]
    return "".join(f"<p style='margin: 0 0 5px 0'><b>{label}</b><br>{_html(text)}</p>" for label, text in rows)


def _html(text: str) -> str:
    link = rf"<a href='\1' style='color: {LINK}'>\1</a>"
    return re.sub(r"(https?://[^\s<>()]+[^\s<>().,;])", link, escape(text)).replace("\n", "<br>")


@lru_cache(maxsize=512)
def _card_purpose(path: Path, _changed: int, _size: int) -> str | None:
    """The purpose in a file's card: asked of each version of a file once, for the list is read every few seconds."""
    try:
        return read_card(path).purpose
    except ModelError:
        return None


def _has_weights(run: Path) -> bool:
    return any((run / "checkpoints" / name).is_file() for name in ("best.safetensors", "last.safetensors"))
