"""Scans, or boxes in scans, of which each belongs to one class: from a table, or from a folder a class."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from genesis3d.config import Config
from genesis3d.data.cases import Case, find_cases
from genesis3d.data.splits import SplitSettings, patient_of, read_patients
from genesis3d.errors import ConfigError, GenesisError, ScanError
from genesis3d.events import keep_running
from genesis3d.intensity import INTENSITIES, Intensity, common_intensity, default_intensity
from genesis3d.labels import LabelClass, named

if TYPE_CHECKING:
    from genesis3d.events import Control
    from genesis3d.intensity import Scale
    from genesis3d.volume import Volume

__all__ = ["ClassifiedCases", "ClassifiedData", "find_classified", "load_classified"]

Triple = tuple[int, int, int]
Vector = tuple[float, float, float]
STARTS = ("start_d", "start_h", "start_w")


class ClassifiedData(Config):
    """Which scans or boxes, and the class of each."""

    table: str | None = Field(
        None,
        description="CSV file with the columns path and class, for boxes start_d, start_h, start_w (first voxel of "
        "the canonical scan), if you like patient; paths count from its folder",
    )
    folder: str | None = Field(None, description="folder that holds a folder of scans for each class")
    box: Triple | None = Field(None, description="size (D, H, W) in voxels of the table's boxes; empty: whole scans")
    intensity: Annotated[Intensity, *INTENSITIES.field()] | None = Field(
        None,
        description="how scans are mapped to [0, 1]; empty: by modality (CT: fixed window in HU, else percentiles)",
    )
    spacing: Vector | None = Field(
        None, description="spacing (z, y, x) in mm that whole scans are resampled to; empty: each keeps its own"
    )
    split: SplitSettings = Field(SplitSettings(), description="what is held out, and how many labels are used")

    @model_validator(mode="after")
    def _one_source(self) -> ClassifiedData:
        if self.table is not None and self.folder is not None:
            raise ValueError("expected a table or a folder, got both")
        if self.box is not None and (self.folder is not None or self.spacing is not None or min(self.box) < 1):
            raise ValueError("expected a positive size of boxes, of a table, without another spacing")
        return self


@dataclass(frozen=True, eq=False)
class ClassifiedCases:
    """Scans or boxes in memory, in parallel, as :class:`LabelledCases`; ``targets`` are indices of ``classes``."""

    cases: Sequence[Case]
    volumes: Sequence[Volume]
    scales: Sequence[Scale]
    targets: Sequence[int]
    patients: Sequence[str]
    intensity: Intensity
    classes: tuple[LabelClass, ...]
    working_spacing: Vector | None = None
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.cases)

    def subset(self, indices: Iterable[int]) -> ClassifiedCases:
        """Return the cases at ``indices``, in that order; classes and warnings stay."""
        chosen = list(indices)
        return replace(
            self,
            cases=[self.cases[i] for i in chosen],
            volumes=[self.volumes[i] for i in chosen],
            scales=[self.scales[i] for i in chosen],
            targets=[self.targets[i] for i in chosen],
            patients=[self.patients[i] for i in chosen],
        )


@dataclass(frozen=True)
class Classified:
    """A scan, or the box in it that begins at ``start``, and the name of its class."""

    case: Case
    name: str
    start: Triple | None = None
    patient: str = ""


class FoundClassified(list[Classified]):
    """What was found; ``skipped`` says what was passed over."""

    def __init__(self, cases: Iterable[Classified] = (), skipped: Iterable[str] = ()) -> None:
        super().__init__(cases)
        self.skipped: list[str] = list(skipped)


def find_classified(data: ClassifiedData) -> FoundClassified:
    """Return what ``data`` names, from names and headers alone; raises ConfigError when that is nothing."""
    if data.table is not None:
        return _of_table(Path(data.table).expanduser(), data)
    if data.folder is not None:
        return _of_folder(Path(data.folder).expanduser(), data)
    raise ConfigError("data: expected a table or a folder of classes, got neither")


def load_classified(
    data: ClassifiedData, found: FoundClassified | None = None, control: Control = keep_running
) -> ClassifiedCases | None:
    """Read what ``data`` names, each scan once, or None when told to stop; boxes are views of their scan.

    What cannot be read is left out and named in ``warnings``.

    Raises
    ------
    ConfigError
        When fewer than two classes are named.
    ScanError
        When fewer than two classes remain.
    """
    found = find_classified(data) if found is None else found
    names = _ordered({one.name for one in found})
    if len(names) < 2:
        raise ConfigError(f"data: expected at least two classes, got {', '.join(names) or 'none'}")
    kept: list[tuple[Classified, Volume, Scale, Intensity]] = []
    warnings = list(found.skipped)
    read: tuple[str, Volume, Scale, Intensity] | None = None
    for one in sorted(found, key=lambda item: item.case.key):
        if control() == "stop":
            return None
        try:
            if read is None or read[0] != one.case.key:
                read = (one.case.key, *_read(one.case, data, kept))
            kept.append((one, _box(read[1], one, data.box), *read[2:]))
        except (GenesisError, OSError, MemoryError) as error:
            warnings.append(f"{one.case.name} is left out: {error or 'it does not fit into memory'}")
    if len({one.name for one, *_ in kept}) < 2:
        raise ScanError(f"expected readable scans of at least two classes; {'; '.join(warnings[:3])}")
    return _together(kept, names, data, warnings)


def _of_table(path: Path, data: ClassifiedData) -> FoundClassified:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: expected a CSV file, got {' '.join(str(error).split())}") from error
    if not rows or not {"path", "class", *(STARTS if data.box else ())} <= rows[0].keys():
        wanted = ", ".join(("path", "class", *(STARTS if data.box else ())))
        raise ConfigError(f"{path}: expected a CSV file with the columns {wanted}")
    found = FoundClassified()
    known = read_patients(data.split.patients)
    scans: dict[str, Case | None] = {}
    for number, row in enumerate(rows, start=2):
        given = str(row["path"])
        if given not in scans:
            scans[given] = _scan(path.parent / given, found.skipped)
        case = scans[given]
        if case is not None:
            said = str(row.get("patient") or "") or given
            patient = patient_of(case.name, said, data.split, known)
            found.append(Classified(case, str(row["class"]), _start(row, data, f"{path}, line {number}"), patient))
    return found


def _scan(path: Path, skipped: list[str]) -> Case | None:
    try:
        return find_cases(path)[0]
    except ScanError as error:
        skipped.append(str(error))
        return None


def _start(row: dict[str, str], data: ClassifiedData, where: str) -> Triple | None:
    if data.box is None:
        return None
    try:
        d, h, w = (int(row[name]) for name in STARTS)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: expected whole numbers in {', '.join(STARTS)}") from error
    return d, h, w


def _of_folder(folder: Path, data: ClassifiedData) -> FoundClassified:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: expected a folder of classes, found none")
    found = FoundClassified()
    known = read_patients(data.split.patients)
    for of_class in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        try:
            cases = find_cases(of_class)
        except ScanError as error:
            found.skipped.append(str(error))
            continue
        found.skipped += cases.skipped
        for case in cases:
            found.append(Classified(case, of_class.name, None, patient_of(case.name, "", data.split, known)))
    return found


def _ordered(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def _read(
    case: Case, data: ClassifiedData, kept: Sequence[tuple[Classified, Volume, Scale, Intensity]]
) -> tuple[Volume, Scale, Intensity]:
    from genesis3d.data.loading import require_room

    volume = case.load()
    used = data.intensity or default_intensity(volume)
    scale = used.fit(volume)
    if data.spacing is not None:
        from genesis3d.io.itk_filters.resample import resampled

        volume = resampled(volume, data.spacing)
    if kept and kept[0][1].channels != volume.channels:
        raise ScanError(f"expected {kept[0][1].channels} channel(s) as {kept[0][0].case.name}, got {volume.channels}")
    require_room(sum(item[1].data.nbytes for item in kept), len(kept) + 1)
    return volume, scale, used


def _box(volume: Volume, one: Classified, box: Triple | None) -> Volume:
    return volume if box is None or one.start is None else volume.crop(one.start, box)


def _together(
    kept: Sequence[tuple[Classified, Volume, Scale, Intensity]],
    names: list[str],
    data: ClassifiedData,
    warnings: list[str],
) -> ClassifiedCases:
    from genesis3d.data.preparation import without_paths

    cases = []
    for one, *_ in kept:
        place = "" if one.start is None else f" {' '.join(map(str, one.start))}"
        cases.append(replace(one.case, name=f"{one.case.name}{place}"))
    return ClassifiedCases(
        cases=cases,
        volumes=[volume for _, volume, _, _ in kept],
        scales=[scale for _, _, scale, _ in kept],
        targets=[names.index(one.name) for one, *_ in kept],
        patients=[one.patient for one, *_ in kept],
        intensity=common_intensity([used for *_, used in kept]),
        classes=tuple(named(index, name) for index, name in enumerate(names)),
        working_spacing=data.spacing,
        warnings=tuple(without_paths(sentence) for sentence in warnings),
    )
