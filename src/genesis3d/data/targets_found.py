"""Images and the label files that belong to them, found by their names; no voxel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.data.cases import Case, find_cases
from genesis3d.data.channels import grouped
from genesis3d.data.matching import apart, label_files, matched, numbered, stem_of
from genesis3d.data.splits import patient_of, read_patients
from genesis3d.errors import ConfigError, ScanError

if TYPE_CHECKING:
    from genesis3d.data.targets import TargetData
    from genesis3d.labels import LabelClass

__all__ = ["Found", "TargetCase", "checked", "find_targets", "found_in"]

FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))


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
    at = {stem_of(Path(label)): label for label in labels}
    stems = [stem_of(Path(image)) for image in images]
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
    files = list(label_files(labels))
    scans = find_cases([Path(p).expanduser() for p in images])
    said = list(scans.skipped)
    cases, files, suffix = apart(list(scans), files, data.label_suffix)
    channels = data.channels or numbered(cases, files)
    groups, incomplete = grouped(cases, channels)
    said += incomplete
    chosen = matched(groups, files, suffix)
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
