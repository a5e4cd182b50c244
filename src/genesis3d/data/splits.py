"""Which labelled cases are trained on and which are held out: by patient, by fold, by file, or a slab of one case."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import Field, model_validator

from genesis3d.config import Config
from genesis3d.errors import ConfigError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from genesis3d.data.classified import ClassifiedCases
    from genesis3d.data.slabs import Slab
    from genesis3d.data.targets import LabelledCases

    Cases: TypeAlias = LabelledCases | ClassifiedCases
    C = TypeVar("C", LabelledCases, ClassifiedCases)

__all__ = ["Split", "SplitSettings", "patient_of", "read_patients", "read_split", "split", "write_split"]

NAMED = 50  # cases held out that are named one by one
NOTHING = "nothing is held out: no figure tells how well the network does on what it has not seen"


class SplitSettings(Config):
    """What is held out, and how many of the remaining labels are used."""

    hold_out: float = Field(
        0.2, ge=0, le=0.9, description="share of the patients held out, at least one; of a single case, a slab of it"
    )
    names: tuple[str, ...] = Field((), description="cases to hold out, by name, instead of a share")
    folds: int | None = Field(None, ge=2, le=100, description="folds of a cross-validation, instead of a share")
    fold: int = Field(0, ge=0, description="which of the folds is held out, from 0")
    file: str | None = Field(
        None, description='JSON file that names the cases: {"train": [...], "validate": [...]}, or a list of such'
    )
    fraction: float = Field(1.0, gt=0, le=1, description="share of the training labels that are used, at least one")
    count: int | None = Field(None, ge=1, description="number of training labels that are used, instead of a share")
    seed: int = Field(0, ge=0, description="seed of the draw of held-out patients and of used labels")
    separator: str = Field(
        "", max_length=8, description="what ends the patient's part of a case name; empty: each case is a patient"
    )
    patients: str | None = Field(None, description="CSV file with the columns name and patient")

    @model_validator(mode="after")
    def _one_way(self) -> SplitSettings:
        given = [name for name in ("names", "folds", "file") if getattr(self, name)]
        if len(given) > 1 and given != ["folds", "file"]:
            raise ValueError(f"expected one of names, folds and file, got {' and '.join(given)}")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"expected a fold from 0 to {self.folds - 1}, got {self.fold}")
        return self


@dataclass(frozen=True)
class Split:
    """Indices of the cases on each side.

    Attributes
    ----------
    training, held_out : indices, in order; of a single case both are ``[0]`` and ``slab`` tells them apart, and
        ``held_out`` is empty when nothing could be
    how : what is held out, in words
    warning : a sentence to be said, such as that nothing is held out
    slab : which slices of a single case are held out
    """

    training: list[int]
    held_out: list[int]
    how: str
    warning: str = ""
    slab: Slab | None = None
    names: dict[str, list[str]] = field(default_factory=dict)

    def parts(self, cases: C) -> tuple[C, C]:
        """Return the cases to train on and those held out.

        Of a single case both hold the whole scan, and each has 255 (unlabelled) where the labels are the other's.
        """
        from genesis3d.data.targets import LabelledCases

        if self.slab is not None and isinstance(cases, LabelledCases):
            return self.slab.without(cases), self.slab.only(cases)
        return cases.subset(self.training), cases.subset(self.held_out)


def split(cases: Cases, settings: SplitSettings) -> Split:
    """Split labelled or classified ``cases`` as ``settings`` say.

    A patient is never on both sides, except where names or a file say so.

    Raises
    ------
    ConfigError
        For a name that no case has, or when no case would be left to train on.
    """
    from genesis3d.data.targets import LabelledCases

    missing = 0
    if settings.file:
        held, rest, missing = _of_file(cases, settings)
    elif settings.names:
        held = _named(cases, settings)
        rest = [i for i in range(len(cases)) if i not in set(held)]
    elif len(cases) == 1 and isinstance(cases, LabelledCases):
        return _slab(cases, settings)
    else:
        held = _drawn(cases.patients, settings)
        rest = [i for i in range(len(cases)) if i not in set(held)]
    if not rest:
        raise ConfigError(f"split: expected fewer cases held out than there are ({len(cases)}), got {len(held)}")
    used = _used(rest, settings)
    how, warning = _words(cases, held, rest, used), "" if held else NOTHING
    if missing:
        name = Path(str(settings.file)).name
        warning = f"{missing} cases that {name} names are not among those found; {warning}".rstrip("; ")
    names = {"train": [cases.cases[i].name for i in used], "validate": [cases.cases[i].name for i in held]}
    return Split(used, held, how, warning, None, names)


def read_split(path: str | Path, fold: int = 0) -> tuple[list[str], list[str]]:
    """Return the names to train on and those to hold out of a JSON file.

    The file holds ``{"train": [...], "validate": [...]}`` (or ``"val"``), or a list of such, one a fold, as nnU-Net's
    ``splits_final.json``.

    Raises
    ------
    ConfigError
        When it cannot be read, is no such file, or names a case on both sides.
    """
    try:
        content = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(f"{path}: expected a JSON file of a split, got {' '.join(str(error).split())}") from error
    if isinstance(content, list):
        if not 0 <= fold < len(content):
            raise ConfigError(f"{path}: expected a fold from 0 to {len(content) - 1}, got {fold}")
        content = content[fold]
    both_sides = content if isinstance(content, dict) else {}
    sides: list[Any] = [both_sides.get("train"), both_sides.get("validate", both_sides.get("val"))]
    if not all(isinstance(side, list) and all(isinstance(n, str) for n in side) for side in sides):
        raise ConfigError(f'{path}: expected {{"train": [names], "validate": [names]}}, or a list of such')
    both = set(sides[0]) & set(sides[1])
    if both:
        raise ConfigError(f"{path}: expected each case on one side, got {sorted(both)[0]} on both")
    return sides[0], sides[1]


def write_split(path: str | Path, split: Split) -> None:
    """Write the names of ``split`` as a file that :func:`read_split` reads."""
    from genesis3d.files import write_atomic

    write_atomic(Path(path), json.dumps(split.names, indent=1).encode() + b"\n")


def read_patients(path: str | Path | None) -> dict[str, str]:
    """Return the patient of each case named in a CSV file with the columns name and patient; raises ConfigError."""
    import csv

    if path is None:
        return {}
    try:
        with Path(path).expanduser().open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: expected a CSV file of patients, got {' '.join(str(error).split())}") from error
    if not rows or not {"name", "patient"} <= rows[0].keys():
        raise ConfigError(f"{path}: expected a CSV file with the columns name and patient")
    return {str(row["name"]): str(row["patient"]) for row in rows}


def patient_of(name: str, folder: str, settings: SplitSettings, known: Mapping[str, str]) -> str:
    """Return the patient of a case as 16 hex digits, which tell two patients apart and nothing else.

    ``known`` says it; else the name before the separator; else the first ``folder`` below the one given, if any; else
    the name.
    """
    if name in known:
        patient = known[name]
    elif settings.separator and settings.separator in name:
        patient = name.partition(settings.separator)[0]
    else:
        patient = folder or name
    return blake2b(f"napari-genesis|{patient}".encode(), digest_size=8).hexdigest()


def _of_file(cases: Cases, settings: SplitSettings) -> tuple[list[int], list[int], int]:
    """Return held-out and training cases, and how many named ones are not there (they could not be read)."""
    index = {case.name: i for i, case in enumerate(cases.cases)}
    sides = [[_bare(name) for name in side] for side in read_split(str(settings.file), settings.fold)]
    train, held = ([index[name] for name in side if name in index] for side in sides)
    if not train:
        raise ConfigError(f"{settings.file}: none of its {len(sides[0])} training cases is among those found")
    return sorted(set(held)), sorted(set(train)), sum(name not in index for side in sides for name in side)


def _named(cases: Cases, settings: SplitSettings) -> list[int]:
    index = {case.name: i for i, case in enumerate(cases.cases)}
    unknown = [name for name in settings.names if name not in index]
    if unknown:
        raise ConfigError(f"split.names: expected one of {', '.join(list(index)[:NAMED])}, got {unknown[0]!r}")
    return sorted({index[name] for name in settings.names})


def _bare(name: str) -> str:
    return re.sub(r"(\.nii(\.gz)?|\.nrrd|\.mha|\.mhd|\.zip)$", "", name)


def _drawn(patients: Sequence[str], settings: SplitSettings) -> list[int]:
    """Return the cases of the patients that a draw holds out."""
    known = list(dict.fromkeys(patients))
    order = [known[i] for i in (Address(settings.seed) / "split").generator().permutation(len(known))]
    if settings.folds is not None:
        if settings.folds > len(known):
            raise ConfigError(f"split.folds: expected at most one a patient ({len(known)}), got {settings.folds}")
        chosen = set(order[settings.fold :: settings.folds])
    elif settings.hold_out == 0 or len(known) == 1:
        chosen = set()
    else:
        chosen = set(order[: max(1, min(round(settings.hold_out * len(known)), len(known) - 1))])
    return [i for i, patient in enumerate(patients) if patient in chosen]


def _used(rest: list[int], settings: SplitSettings) -> list[int]:
    """Return the training cases whose labels are used; a smaller share is a part of a larger one."""
    count = settings.count if settings.count is not None else max(1, round(settings.fraction * len(rest)))
    if count > len(rest):
        raise ConfigError(f"split.count: expected at most the {len(rest)} training cases there are, got {count}")
    order = (Address(settings.seed) / "labels").generator().permutation(len(rest))
    return sorted(rest[i] for i in order[:count])


def _words(cases: Cases, held: list[int], rest: list[int], used: list[int]) -> str:
    names = ", ".join(cases.cases[i].name for i in held[:NAMED])
    more = f" and {len(held) - NAMED} more" if len(held) > NAMED else ""
    how = f"{len(held)} of {len(cases)} cases: {names}{more}" if held else "nothing"
    return f"{how}; {len(used)} of {len(rest)} training labels are used" if len(used) < len(rest) else how


def _slab(cases: LabelledCases, settings: SplitSettings) -> Split:
    from genesis3d.data.slabs import find_slab

    name = cases.cases[0].name
    names = {"train": [name], "validate": [name]}
    if settings.folds is not None:
        raise ConfigError(f"split.folds: expected at least {settings.folds} patients, got the single case {name}")
    slab = find_slab(cases.labels[0], settings.hold_out) if settings.hold_out else None
    if slab is None:
        why = f"{name} is too small, or labelled on too few slices, to hold any out; " if settings.hold_out else ""
        return Split([0], [], "nothing", why + NOTHING, None, names | {"validate": []})
    return Split([0], [0], f"{slab.words()} of {name}", "", slab, names)
