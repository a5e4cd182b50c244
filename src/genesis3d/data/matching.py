"""Which label file belongs to which image: told by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.data.channels import Group

__all__ = ["LabelFile", "apart", "label_files", "matched", "numbered", "stem_of"]

CHANNEL = re.compile(r"_\d{4}$")
SEPARATORS = "_-. "
LABELS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")


@dataclass(frozen=True)
class LabelFile:
    """A file that may hold labels, and its name without suffix."""

    path: Path
    stem: str


def label_files(paths: Sequence[str]) -> Iterable[LabelFile]:
    """Yield the files of labels among and below ``paths``; of DICOM, segmentations and RTSTRUCTs alone."""
    for given in paths:
        path = Path(given).expanduser()
        if path.is_file():
            yield LabelFile(path, stem_of(path))
        elif path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
                if file.name.lower().endswith(LABELS) and file.stat().st_size and not _is_slice(file):
                    yield LabelFile(file, stem_of(file))
        else:
            raise ConfigError(f"labels: {given}: no such file or folder")


def apart(cases: list[Case], files: list[LabelFile], suffix: str) -> tuple[list[Case], list[LabelFile], str]:
    """Tell images from labels where both lie in one folder: by the end of their names."""
    shared = {Path(case.path).resolve() for case in cases if case.path} & {file.path.resolve() for file in files}
    if not shared:
        return cases, files, suffix
    stems = {case.name for case in cases}
    ends = [suffix] if suffix else sorted(_ends(stems))
    if len(ends) != 1:
        told = f"they end in {', '.join(ends)}" if ends else "no name continues another"
        raise ConfigError(f"labels: the images' folder holds them, too: expected label_suffix to tell them; {told}")
    return (
        [case for case in cases if not case.name.endswith(ends[0])],
        [file for file in files if file.stem.endswith(ends[0])],
        ends[0],
    )


def _ends(stems: set[str]) -> set[str]:
    """Return by what names continue other names, from a separator on."""
    found = set()
    for stem in stems:
        for at in (i for i, letter in enumerate(stem) if i and letter in SEPARATORS):
            if stem[:at] in stems:
                found.add(stem[at:])
    return found


def numbered(cases: list[Case], files: list[LabelFile]) -> tuple[str, ...]:
    """Return the ends _0000, _0001, ... where every image has one, and no labels do."""
    if not all(CHANNEL.search(case.name) for case in cases):
        return ()
    if {case.name for case in cases} & {file.stem for file in files}:
        return ()
    return tuple(sorted({case.name[-5:] for case in cases}))


def matched(groups: Sequence[Group], files: list[LabelFile], suffix: str) -> dict[int, list[LabelFile]]:
    """Give each label file to the image it is called like: exactly (but for the suffix), else the longest beginning.

    The folder of a DICOM file counts as its name, too.
    """
    index: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        index[group.name].append(i)
    exact: dict[int, list[LabelFile]] = defaultdict(list)
    loose: dict[int, list[LabelFile]] = defaultdict(list)
    for file in files:
        for stem in (file.stem, file.path.parent.name) if file.path.suffix.lower() == ".dcm" else (file.stem,):
            name = stem.removesuffix(suffix)
            begun = _begun(stem, index) if not suffix else _continued(name, index)
            if name in index or begun:
                for i in _same_folder(index[name if name in index else begun], groups, file):
                    (exact if name in index else loose)[i].append(file)
                break
    return loose | exact


def _same_folder(found: list[int], groups: Sequence[Group], file: LabelFile) -> list[int]:
    """Of images called alike, return the one whose folder is called like that of the labels."""
    if len(found) == 1:
        return found
    return [i for i in found if Path(groups[i].scans[0].path or "").parent.name == file.path.parent.name]


def _begun(stem: str, names: Mapping[str, object]) -> str:
    """Return the longest of ``names`` that ``stem`` continues from a separator on, or nothing."""
    ends = (i for i in range(len(stem) - 1, 0, -1) if stem[i] in SEPARATORS)
    return next((stem[:i] for i in ends if stem[:i] in names), "")


def _continued(stem: str, names: Mapping[str, object]) -> str:
    """Return the one of ``names`` that continues ``stem`` from a separator on; nothing when there are several."""
    found = [name for name in names if name.startswith(stem) and name[len(stem) :][:1] in tuple(SEPARATORS)]
    return found[0] if len(found) == 1 else ""


def _is_slice(file: Path) -> bool:
    from genesis3d.io.segmentation import is_segmentation

    return file.suffix.lower() == ".dcm" and not is_segmentation(file)


def stem_of(path: Path) -> str:
    """Return the file's name without the suffix of an image or DICOM file."""
    suffix = next((s for s in sorted(LABELS, key=len, reverse=True) if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]
