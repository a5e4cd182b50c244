"""Labelled cases to learn a segmentation from: declared, found, read, on one grid, with one set of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from genesis3d.config import Config
from genesis3d.data.checks import checked_channels, checked_spacing
from genesis3d.data.splits import SplitSettings
from genesis3d.data.targets_found import Found, TargetCase, find_targets
from genesis3d.errors import GenesisError, ScanError
from genesis3d.events import keep_running
from genesis3d.intensity import INTENSITIES, Intensity, common_intensity
from genesis3d.labels import BACKGROUND, IGNORE, LabelClass

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from genesis3d.data.cases import Case
    from genesis3d.data.class_table import ClassTable
    from genesis3d.data.labelling import Labelled
    from genesis3d.events import Control
    from genesis3d.intensity import Scale
    from genesis3d.volume import Volume

__all__ = ["Found", "LabelledCases", "TargetCase", "TargetData", "Unlabelled", "find_targets", "labelled_case",
           "load_targets"]  # fmt: skip

Unlabelled = Literal["background", "slices", "ignore"]
Vector = tuple[float, float, float]
NO_BACKGROUND = (
    "no voxel is labelled as background: a network that never sees any finds the structure everywhere; paint some as a "
    "class named background, or let unpainted voxels on painted slices count as background"
)


class TargetData(Config):
    """Which scans, which labels, and what the labels mean."""

    images: tuple[str, ...] = Field(
        (), description="scans or folders of them; one folder that holds images/ and labels/ needs nothing else"
    )
    labels: tuple[str, ...] = Field(
        (), description="label files in the order of the images, or folders of files called like the images"
    )
    dataset: str | None = Field(
        None, description="dataset.json of the Medical Segmentation Decathlon or of nnU-Net (raw), or its folder"
    )
    label_suffix: str = Field(
        "", max_length=40, description="what the name of a label file has after that of its image, such as _lesion"
    )
    channels: tuple[str, ...] = Field(
        (), description="ends of the names of registered files that are the channels of one case, such as _0000, _0001"
    )
    classes: tuple[LabelClass, ...] = Field(
        (), description="what is to be learnt; empty: every value found in the labels"
    )
    unlabelled: Unlabelled = Field(
        "background",
        description="what value 0 means: background; background on the slices on which anything is painted, elsewhere "
        "not labelled; not labelled anywhere (then the background is painted, too, as a class of that name)",
    )
    ignore: int | None = Field(None, ge=1, le=65535, description="value that means not labelled; empty: none does")
    intensity: Annotated[Intensity, *INTENSITIES.field()] | None = Field(
        None,
        description="how scans are mapped to [0, 1]; empty: by modality (CT: fixed window in HU, else percentiles)",
    )
    spacing: Vector | None = Field(
        None, description="spacing (z, y, x) in mm that scans and labels are resampled to; empty: each keeps its own"
    )
    split: SplitSettings = Field(SplitSettings(), description="what is held out, and how many labels are used")

    @field_validator("images", "labels", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("spacing")
    @classmethod
    def _spacing(cls, value: Vector | None) -> Vector | None:
        return checked_spacing(value)

    @field_validator("channels")
    @classmethod
    def _channels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return checked_channels(value)

    @model_validator(mode="after")
    def _consistent(self) -> TargetData:
        if self.dataset is not None and (self.images or self.labels):
            raise ValueError("expected a dataset, or images and labels, got both")
        values = [c.value for c in self.classes]
        names = [c.name.lower() for c in self.classes]
        if len(set(values)) < len(values) or len(set(names)) < len(names):
            raise ValueError("classes: expected different values and different names")
        if self.ignore is not None and self.ignore in values:
            raise ValueError(f"expected value {self.ignore} to be a class or to mean not labelled, got both")
        return self


@dataclass(frozen=True, eq=False)
class LabelledCases:
    """Scans and their labels in memory; the first five run in parallel.

    Attributes
    ----------
    cases : where each comes from; names are unique
    volumes : canonical, (C, D, H, W), values as stored (several channels: each mapped to [0, 1])
    scales : the map of each to [0, 1]
    labels : (1, D, H, W) uint8 on the volume's grid: class indices, 0 background, 255 not labelled
    patients : 16 hex digits each, by which splits go
    intensity : what mapped them all (``auto`` where that went by modality)
    classes : of each index, background first
    working_spacing : spacing (z, y, x) in mm all were resampled to; None: each has its own
    warnings : sentences to be said
    """

    cases: Sequence[Case]
    volumes: Sequence[Volume]
    scales: Sequence[Scale]
    labels: Sequence[Volume]
    patients: Sequence[str]
    intensity: Intensity
    classes: tuple[LabelClass, ...]
    working_spacing: Vector | None = None
    warnings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def nbytes(self) -> int:
        """Memory of voxels and labels, in bytes."""
        return sum(volume.data.nbytes for volume in (*self.volumes, *self.labels))

    def subset(self, indices: Iterable[int]) -> LabelledCases:
        """Return the cases at ``indices``, in that order; classes and warnings stay."""
        chosen = list(indices)
        return replace(
            self,
            cases=[self.cases[i] for i in chosen],
            volumes=[self.volumes[i] for i in chosen],
            scales=[self.scales[i] for i in chosen],
            labels=[self.labels[i] for i in chosen],
            patients=[self.patients[i] for i in chosen],
        )


def load_targets(data: TargetData, found: Found | None = None, control: Control = keep_running) -> LabelledCases | None:
    """Read the cases of ``data`` (``found``: as :func:`find_targets` gave them), or None when told to stop.

    A case that cannot be read, whose labels lie elsewhere or are no labels, or on which nothing is labelled, is left
    out and named in ``warnings``.

    Raises
    ------
    ConfigError
        When ``data`` names nothing, or one file as image and labels.
    ScanError
        When no labelled case remains, or when they leave the machine almost no memory.
    """
    from genesis3d.data.class_table import ClassTable
    from genesis3d.data.labelling import labelled, read_target
    from genesis3d.data.loading import require_room

    found = find_targets(data) if found is None else found
    table = ClassTable(data.classes, found.known, data.ignore if data.ignore is not None else found.ignore)
    kept: list[Labelled] = []
    warnings = list(found.skipped)
    for target in found:
        if control() == "stop":
            return None
        try:
            volumes, values, said = read_target(target, found.modality)
            one = labelled(volumes, values, said, table, data, name=target.name)
            _require_channels(kept, one)
        except (GenesisError, OSError, MemoryError) as error:
            warnings.append(f"{target.name} is left out: {error or 'it does not fit into memory'}")
            continue
        kept.append(replace(one, case=replace(target.scans[0], name=target.name), patient=target.patient))
        warnings += one.notes
        require_room(sum(k.volume.data.nbytes + k.labels.data.nbytes for k in kept), len(kept))
    return _together(kept, table, data, warnings)


def labelled_case(
    volume: Volume,
    labels: Volume,
    data: TargetData | None = None,
    *,
    axis: int | None = None,
) -> LabelledCases:
    """Return a scan and its labels in memory, such as two layers, as one labelled case.

    Parameters
    ----------
    volume : the scan, as read or canonical
    labels : of any integer type, truth values, or floating point that holds whole numbers; values of classes
    data : classes, what 0 means, intensity, spacing; its paths are not looked at
    axis : of the canonical scan, across whose slices was painted; None: found from the labels

    Raises
    ------
    ScanError
        When the labels are no labels, lie elsewhere than the scan, or mark nothing.
    """
    from genesis3d.data.cases import case_of
    from genesis3d.data.class_table import ClassTable
    from genesis3d.data.labelling import labelled
    from genesis3d.data.splits import patient_of

    data = data or TargetData()
    table = ClassTable(data.classes, (), data.ignore)
    case = case_of(volume)
    one = labelled([volume.canonical()], labels, (), table, data, name=volume.name, axis=axis)
    patient = patient_of(case.name, "", data.split, {})
    return _together([replace(one, case=case, patient=patient)], table, data, list(one.notes))


def _require_channels(kept: Sequence[Labelled], one: Labelled) -> None:
    if kept and kept[0].volume.channels != one.volume.channels:
        expected = f"{kept[0].volume.channels} channel(s) as {kept[0].volume.name}"
        raise ScanError(f"expected {expected}, got {one.volume.channels}")


def _together(kept: list[Labelled], table: ClassTable, data: TargetData, warnings: list[str]) -> LabelledCases:
    from genesis3d.data.preparation import without_paths

    if not kept:
        raise ScanError(f"expected at least one labelled scan; {'; '.join(warnings[:3]) or 'none was given'}")
    classes, order = table.classes()
    marks = set().union(*(one.marks for one in kept))
    if not marks - {BACKGROUND, IGNORE}:
        names = ", ".join(one.volume.name for one in kept[:3])
        raise ScanError(f"{names}: expected at least one labelled voxel of a structure, got none; paint it first")
    if BACKGROUND not in marks:
        warnings = [*warnings, NO_BACKGROUND]
    return LabelledCases(
        cases=[one.case for one in kept if one.case is not None],
        volumes=[one.volume for one in kept],
        scales=[one.scale for one in kept],
        labels=[_ordered(one.labels, order) for one in kept],
        patients=[one.patient for one in kept],
        intensity=common_intensity([one.intensity for one in kept]),
        classes=classes,
        working_spacing=data.spacing,
        # they end in a run's events, where no folder of the user's may stand
        warnings=tuple(without_paths(sentence) for sentence in warnings),
    )


def _ordered(labels: Volume, order: NDArray[np.uint8]) -> Volume:
    return labels if bool((order[1:] > order[:-1]).all()) else labels.with_data(order[labels.data])
