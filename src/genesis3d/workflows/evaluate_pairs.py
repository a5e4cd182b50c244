"""Which predicted label file belongs to which reference, by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from genesis3d.data.cases import SUFFIXES
from genesis3d.errors import ConfigError, ScanError

__all__ = ["ENDINGS", "LabelPair", "label_pairs", "owner", "stem"]

ENDINGS = tuple(sorted((*(suffix for suffix in SUFFIXES if suffix != ".zip"), ".dcm"), key=len, reverse=True))
SEPARATORS = "_-. "


@dataclass(frozen=True)
class LabelPair:
    """A predicted and a reference label file; ``name`` is that of the reference without its ending."""

    name: str
    prediction: Path
    reference: Path


def label_pairs(predictions: str | Path, references: str | Path) -> tuple[list[LabelPair], list[str]]:
    """Pair two files, or the files of two folders by their names.

    A prediction belongs to the reference called alike but for the ending; else to the one whose name it begins with,
    before one of ``_ - .`` or a blank (``case-1_seg.nii.gz`` to ``case-1.nii``).

    Returns
    -------
    the pairs in order of names, and a sentence for each reference without a prediction and the other way round.

    Raises
    ------
    ScanError
        When one is not there, or no pair is found.
    ConfigError
        For a file on one side and a folder on the other, or two files of one name.
    """
    first, second = Path(predictions), Path(references)
    for path in (first, second):
        if not path.exists():
            raise ScanError(f"{path}: expected a label file or a folder of such, found nothing there")
    if first.is_dir() != second.is_dir():
        raise ConfigError(f"expected two files or two folders, got {first.name} and {second.name}")
    if not first.is_dir():
        return [LabelPair(stem(second), first, second)], []
    ours, theirs = _files(first), _files(second)
    owners = {name: owner(name, theirs) for name in ours}
    pairs, said = [], []
    for name, reference in theirs.items():
        found = name if name in ours else next((ours_ for ours_ in ours if owners[ours_] == name), None)
        if found is None:
            said.append(f"{name}: no prediction is called so; the case counts nowhere")
        else:
            pairs.append(LabelPair(name, ours[found], reference))
    said += [f"{name}: a prediction without a reference is passed over" for name in _spare(ours, pairs)]
    if not pairs:
        raise ScanError(
            f"{first}: expected predictions called as the references ({_some(theirs)}), got {_some(ours) or 'none'}"
        )
    return pairs, said


def _spare(ours: dict[str, Path], pairs: list[LabelPair]) -> list[str]:
    used = {pair.prediction for pair in pairs}
    return [name for name, path in ours.items() if path not in used]


def _files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.lower().endswith(ENDINGS) or path.name.startswith(".") or not path.is_file():
            continue
        name = stem(path)
        if name in found:
            raise ConfigError(f"{folder}: expected files of different names, got {found[name].name} and {path.name}")
        found[name] = path
    return found


def owner(name: str, references: Collection[str]) -> str:
    """Return the reference that a prediction called ``name`` belongs to, the longest that fits; empty: none."""
    if name in references:
        return name
    ends = (end for end in range(len(name) - 1, 0, -1) if name[end] in SEPARATORS)
    return next((name[:end] for end in ends if name[:end] in references), "")


def stem(path: Path) -> str:
    """Return the name of a label file without its ending."""
    ending = next((one for one in ENDINGS if path.name.lower().endswith(one)), "")
    return path.name[: len(path.name) - len(ending)]


def _some(names: Iterable[str]) -> str:
    shown = list(names)
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
