"""Images and the label files that belong to them, found by their names; no voxel is read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.data.cases import Case, find_cases
from genesis3d.data.channels import Group, grouped
from genesis3d.data.splits import patient_of, read_patients
from genesis3d.errors import ConfigError, ScanError

if TYPE_CHECKING:
    from genesis3d.data.targets import TargetData
    from genesis3d.labels import LabelClass

__all__ = ["Found", "TargetCase", "checked", "find_targets", "found_in"]

FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))
CHANNEL = re.compile(r"_\d{4}$")
SEPARATORS = "_-. "
LABELS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")


@dataclass(frozen=True)
class TargetCase:
    """A scan and its labels.

    Attributes
    ----------
    name, key : as of :class:`Case`; the name is unique among those found
    scans : one a channel
    labels : the file (of DICOM, or a folder of one) that holds the labels
    patient : 16 hex digits by which splits go
    components : values a voxel of the one scan, which become channels (4-D files of MSD)
    """

    name: str
    key: str
    scans: tuple[Case, ...]
    labels: str
    patient: str = ""
    components: int = 1


class Found(list[TargetCase]):
    """The labelled cases; ``skipped`` says what was passed over, the rest what the data set says of its labels."""

    def __init__(self, cases: Iterable[TargetCase] = (), skipped: Iterable[str] = ()) -> None:
        super().__init__(cases)
        self.skipped: list[str] = list(skipped)
        self.known: tuple[LabelClass, ...] = ()
        self.ignore: int | None = None
        self.modality: str | None = None


@dataclass(frozen=True)
class _LabelFile:
    path: Path
    stem: str


@dataclass(frozen=True)
class _Pair:
    name: str
    scans: tuple[Case, ...]
    labels: Path


def find_targets(data: TargetData) -> Found:
    """Return the labelled cases that ``data`` names, in order, from names and headers alone.

    Raises
    ------
    ConfigError
        When nothing is named, or one file is to be both image and labels.
    ScanError
        When no image with labels is found: one sentence saying what there is.
    """
    if data.dataset is not None:
        from genesis3d.data.datasets import described

        known = described(Path(data.dataset).expanduser(), data)
        if known is not None:
            return checked(known)
    images, labels = _places(data)
    return checked(found_in(images, labels, data))


def found_in(images: Sequence[str], labels: Sequence[str], data: TargetData) -> Found:
    """Return the cases of ``images`` whose labels are among ``labels``: files or folders."""
    if _explicit(images) and _explicit(labels) and len(images) == len(labels) and not data.channels:
        pairs, said = _in_parallel(images, labels)
    else:
        pairs, said = _by_name(images, labels, data)
    roots = [Path(p).expanduser().resolve() for p in images]
    known = read_patients(data.split.patients)
    found = Found(skipped=said)
    for name, pair in zip(_unique(pairs), pairs, strict=True):
        patient = patient_of(name, _subfolder(pair.scans[0], roots), data.split, known)
        found.append(TargetCase(name, pair.scans[0].key, pair.scans, str(pair.labels), patient))
    return found


def checked(found: Found) -> Found:
    """Return ``found``; ConfigError for an image that is to be its own labels, ScanError when it is empty."""
    for target in found:
        for scan in target.scans:
            if scan.path is not None and Path(scan.path).resolve() == Path(target.labels).resolve():
                raise ConfigError(f"{target.labels}: expected an image and its labels, got one file for both")
    if not found:
        raise ScanError(f"expected at least one image with labels; {'; '.join(found.skipped[:3]) or 'none was found'}")
    return found


def _places(data: TargetData) -> tuple[Sequence[str], Sequence[str]]:
    """Return where images and where labels lie."""
    images = data.images or ((data.dataset,) if data.dataset else ())
    if not images:
        raise ConfigError("data: expected images and labels, or a dataset, got neither")
    if data.labels:
        return images, data.labels
    if len(images) == 1:
        root = Path(images[0]).expanduser()
        for first, second in FOLDERS:
            if (root / first).is_dir() and (root / second).is_dir():
                return (str(root / first),), (str(root / second),)
        if root.is_dir():
            return images, images
    raise ConfigError(
        "data: expected labels for the images: folders or files, or one folder with images/ and labels/ in it"
    )


def _explicit(paths: Sequence[str]) -> bool:
    return all(not Path(p).expanduser().is_dir() for p in paths)


def _in_parallel(images: Sequence[str], labels: Sequence[str]) -> tuple[list[_Pair], list[str]]:
    """Pair two lists of files: by name where the names are the same, else in their order."""
    said: list[str] = []
    at = {_stem(Path(label)): label for label in labels}
    stems = [_stem(Path(image)) for image in images]
    same = len(at) == len(labels) and set(at) == set(stems)
    pairs: list[_Pair] = []
    for image, label in zip(images, [at[stem] for stem in stems] if same else labels, strict=True):
        try:
            case = find_cases(Path(image).expanduser())[0]
        except ScanError as error:
            said.append(str(error))
            continue
        if not Path(label).expanduser().is_file():
            said.append(f"{case.name} is left out: its labels {label} are not there")
            continue
        pairs.append(_Pair(case.name, (case,), Path(label).expanduser()))
    return pairs, said


def _by_name(images: Sequence[str], labels: Sequence[str], data: TargetData) -> tuple[list[_Pair], list[str]]:
    files = list(_label_files(labels))
    scans = find_cases([Path(p).expanduser() for p in images])
    said = list(scans.skipped)
    cases, files, suffix = _apart(list(scans), files, data.label_suffix)
    channels = data.channels or _numbered(cases, files)
    groups, incomplete = grouped(cases, channels)
    said += incomplete
    chosen = _matched(groups, files, suffix)
    if len(groups) == len(files) == 1:
        chosen = {0: [files[0]]}
    pairs: list[_Pair] = []
    for index, group in enumerate(groups):
        mine = chosen.get(index, [])
        if len(mine) == 1:
            pairs.append(_Pair(group.name, group.scans, mine[0].path))
        elif mine:
            several = ", ".join(file.path.name for file in mine[:4])
            said.append(
                f"{group.name} is left out: {len(mine)} files could be its labels ({several}); say label_suffix"
            )
        else:
            said.append(f"{group.name} is left out: no labels are called like it")
    return pairs, said


def _label_files(paths: Sequence[str]) -> Iterable[_LabelFile]:
    for given in paths:
        path = Path(given).expanduser()
        if path.is_file():
            yield _LabelFile(path, _stem(path))
        elif path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(".")):
                if file.name.lower().endswith(LABELS) and file.stat().st_size and not _is_slice(file):
                    yield _LabelFile(file, _stem(file))
        else:
            raise ConfigError(f"labels: {given}: no such file or folder")


def _apart(cases: list[Case], files: list[_LabelFile], suffix: str) -> tuple[list[Case], list[_LabelFile], str]:
    """Tell images from labels where both lie in one folder: by the end of their names."""
    shared = {case.path for case in cases} & {str(file.path) for file in files}
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


def _numbered(cases: list[Case], files: list[_LabelFile]) -> tuple[str, ...]:
    """Return the ends _0000, _0001, ... where every image has one, and no labels do."""
    if not all(CHANNEL.search(case.name) for case in cases):
        return ()
    if {case.name for case in cases} & {file.stem for file in files}:
        return ()
    return tuple(sorted({case.name[-5:] for case in cases}))


def _matched(groups: Sequence[Group], files: list[_LabelFile], suffix: str) -> dict[int, list[_LabelFile]]:
    """Give each label file to the image it is called like: exactly (but for the suffix), else the longest beginning.

    The folder of a DICOM file counts as its name, too.
    """
    index: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        index[group.name].append(i)
    exact: dict[int, list[_LabelFile]] = defaultdict(list)
    loose: dict[int, list[_LabelFile]] = defaultdict(list)
    for file in files:
        for stem in (file.stem, file.path.parent.name) if file.path.suffix.lower() == ".dcm" else (file.stem,):
            name = stem.removesuffix(suffix)
            begun = _begun(stem, index) if not suffix else _continued(name, index)
            if name in index or begun:
                for i in _same_folder(index[name if name in index else begun], groups, file):
                    (exact if name in index else loose)[i].append(file)
                break
    return loose | exact


def _same_folder(found: list[int], groups: Sequence[Group], file: _LabelFile) -> list[int]:
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


def _stem(path: Path) -> str:
    suffix = next((s for s in sorted(LABELS, key=len, reverse=True) if path.name.lower().endswith(s)), "")
    return path.name[: len(path.name) - len(suffix)]


def _unique(pairs: Sequence[_Pair]) -> list[str]:
    """Return a name for each case: with its folder, and then with a number, where two are called alike."""
    names = [pair.name for pair in pairs]
    folders = [Path(pair.scans[0].path or "").parent.name for pair in pairs]
    count = Counter(names)
    names = [f"{folder}_{name}" if count[name] > 1 else name for folder, name in zip(folders, names, strict=True)]
    count = Counter(names)
    return [f"{name}_{i + 1}" if count[name] > 1 else name for i, name in enumerate(names)]


def _subfolder(scan: Case, roots: Sequence[Path]) -> str:
    """Return the first folder below a root on the way to ``scan``; of a scan in a list of files, nothing."""
    path = Path(scan.path or "").resolve()
    for root in roots:
        if path != root and path.is_relative_to(root):
            steps = path.relative_to(root).parts
            return str(steps[0]) if len(steps) > 1 else ""
    return ""
